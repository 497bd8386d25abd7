//! `omnidocs extract`: every page of the inputs, one record each.

use std::io::{self, IsTerminal};

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    cli,
    config::{CPU_MODEL, CUDA_MODEL, EngineChoice, ProgressChoice, Settings, Verbosity},
    discover::discover,
    document::Needs,
    engine::{
        Engine,
        qwen::{Hardware, QwenEngine, Task},
        text_layer::TextLayer,
    },
    exit::Exit,
    hub::{self, FetchProgress},
    journal::{Closed, Journal, OutputSettings, Resume, Target},
    prepare::{self, resize::PixelBudget},
    progress::Progress,
    qwen_vl::{self, generate::Sampling},
    record::RunFacts,
    run,
    signal::Interrupt,
};

/// Runs the command. Whatever can be known to be wrong is found before a model is loaded.
pub fn run(typed: cli::Extract) -> Result<Exit> {
    let settings = Settings::new(typed)?;
    let records_on_terminal = settings.output == Target::Stdout && io::stdout().is_terminal();
    let mut progress = Progress::new(settings.progress, settings.verbosity, records_on_terminal);
    progress.take_log();
    let found = discover(&settings.inputs)?;
    progress.expect(found.sources.len(), settings.pages.clone());
    settings.output.check()?;

    let engine = EngineToBe::new(&settings)?;
    let budget = settings.pixel_budget(&engine.limits)?;
    let output_settings = output_settings(&settings, &engine, budget);
    let (mut journal, opened) = Journal::open(&settings.output, output_settings, settings.restart)?;
    progress.opened(&opened, &settings.output);
    let preparation = prepare::Settings {
        dpi: settings.dpi,
        budget,
        selection: settings.pages.clone(),
        needs: engine.needs,
        workers: settings.workers,
        prefetch: settings.prefetch,
    };
    let resume = Resume::new(opened.recorded, settings.retry_failed);
    // Pages are prepared while the model is loaded.
    let mut pages = prepare::pages_except(found.sources, preparation, Box::new(resume))?;
    let mut engine = progress.while_loading(engine.load)?;
    let facts = RunFacts {
        engine: engine.name(),
        model: engine.model().map(str::to_owned),
        output_format: settings.format,
    };
    // Not before there are pages to finish: until then a signal may end the program as it always does.
    let interrupt = Interrupt::install()?;
    let ended = run::run(
        &mut pages,
        engine.as_mut(),
        facts,
        &mut journal,
        &mut progress,
        &interrupt,
    );
    match ended {
        Ok(()) => {}
        // `| head` has seen enough.
        Err(error) if error.is::<Closed>() => return Ok(Exit::Ok),
        Err(error) => return Err(error),
    }
    let exit = match interrupt.signal() {
        Some(signal) => Exit::Interrupted(signal),
        None if progress.tally().failed() > 0 => Exit::SomeFailed,
        None => Exit::Ok,
    };
    progress.tally().done_before = (pages.done_documents() as usize, pages.done_pages() as usize);
    progress.finish(&found.ignored, &settings.output, exit);
    Ok(exit)
}

/// Everything that changes what the records of this run say.
fn output_settings(
    settings: &Settings,
    engine: &EngineToBe,
    budget: PixelBudget,
) -> OutputSettings {
    let mut named = OutputSettings::new();
    let mut set = |name: &str, value: Value| named.insert(name.to_owned(), value);
    set("engine", engine.name.into());
    set("format", json!(settings.format));
    if let Some(model) = &engine.model {
        set("model", model.name.as_str().into());
        set("weights", model.weights.as_str().into());
        set("dtype", model.dtype.into());
        set("prompt", settings.prompt.as_str().into());
        set("min_pixels", budget.min_pixels.into());
        set("max_pixels", budget.max_pixels.into());
        set("dpi", settings.dpi.into());
        set("max_new_tokens", settings.max_new_tokens.into());
        set("temperature", settings.temperature.into());
        set("seed", settings.seed.into());
    }
    named
}

/// What must be known of an engine before it is there.
struct EngineToBe {
    name: &'static str,
    /// None for an engine without one.
    model: Option<ModelFacts>,
    needs: Needs,
    /// The model's own limits.
    limits: PixelBudget,
    load: Box<dyn FnOnce() -> Result<Box<dyn Engine>>>,
}

/// What makes a model's answers its own.
struct ModelFacts {
    /// As the user named it.
    name: String,
    /// Differs where the files differ.
    weights: String,
    dtype: &'static str,
}

impl EngineToBe {
    fn new(settings: &Settings) -> Result<Self> {
        match settings.engine {
            EngineChoice::Qwen => Self::qwen(settings),
            EngineChoice::TextLayer => Ok(Self {
                name: TextLayer::NAME,
                model: None,
                needs: TextLayer::NEEDS,
                // Looked at by nobody; those of published models.
                limits: PixelBudget {
                    factor: 32,
                    min_pixels: 65_536,
                    max_pixels: 16_777_216,
                },
                load: Box::new(|| Ok(Box::new(TextLayer))),
            }),
        }
    }

    /// Finds the model's files, fetching them if need be; the weights are not read yet.
    fn qwen(settings: &Settings) -> Result<Self> {
        let hardware = Hardware::open(settings.device, settings.dtype)?;
        let name = settings.model.clone().unwrap_or_else(|| {
            let default = if hardware.is_cuda() {
                CUDA_MODEL
            } else {
                CPU_MODEL
            };
            default.to_owned()
        });
        let folder = hub::model_folder(&name, fetch_progress(settings))?;
        let task = Task {
            prompt: settings.prompt.clone(),
            sampling: Sampling {
                max_new_tokens: settings.max_new_tokens,
                temperature: settings.temperature,
                seed: settings.seed,
            },
        };
        let limits = qwen_vl::config::pixel_budget(&folder)?;
        let model = ModelFacts {
            name: name.clone(),
            weights: qwen_vl::weights::fingerprint(&folder)?,
            dtype: hardware.dtype(),
        };
        Ok(Self {
            name: QwenEngine::NAME,
            model: Some(model),
            needs: QwenEngine::NEEDS,
            limits,
            load: Box::new(move || {
                Ok(Box::new(QwenEngine::load(name, &folder, &hardware, &task)?))
            }),
        })
    }
}

fn fetch_progress(settings: &Settings) -> FetchProgress {
    match settings.progress {
        _ if settings.verbosity == Verbosity::Quiet => FetchProgress::Off,
        ProgressChoice::Auto => FetchProgress::auto(),
        ProgressChoice::Bar => FetchProgress::Bar,
        ProgressChoice::Plain => FetchProgress::Plain,
        ProgressChoice::Off => FetchProgress::Off,
    }
}
