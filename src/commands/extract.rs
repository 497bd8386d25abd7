//! `omnidocs extract`: every page of the inputs, one record each.

use std::io::{self, IsTerminal};

use anyhow::Result;

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
    journal::{Closed, Journal, Target},
    prepare::{self, resize::PixelBudget},
    progress::Progress,
    qwen_vl::{self, generate::Sampling},
    record::RunFacts,
    run,
};

/// Runs the command. Whatever can be known to be wrong is found before a model is loaded.
pub fn run(typed: cli::Extract) -> Result<Exit> {
    let settings = Settings::new(typed)?;
    let records_on_terminal = settings.output == Target::Stdout && io::stdout().is_terminal();
    let mut progress = Progress::new(settings.progress, settings.verbosity, records_on_terminal);
    progress.take_log();
    let found = discover(&settings.inputs)?;
    progress.expect(found.sources.len(), settings.pages.clone());
    let mut journal = Journal::create(&settings.output)?;

    let engine = EngineToBe::new(&settings)?;
    let preparation = prepare::Settings {
        dpi: settings.dpi,
        budget: settings.pixel_budget(&engine.limits)?,
        selection: settings.pages.clone(),
        needs: engine.needs,
        workers: settings.workers,
        prefetch: settings.prefetch,
    };
    // Pages are prepared while the model is loaded.
    let mut pages = prepare::pages(found.sources, preparation)?;
    let mut engine = progress.while_loading(engine.load)?;
    let facts = RunFacts {
        engine: engine.name(),
        model: engine.model().map(str::to_owned),
        output_format: settings.format,
    };
    match run::run(
        &mut pages,
        engine.as_mut(),
        facts,
        &mut journal,
        &mut progress,
    ) {
        Ok(()) => {}
        // `| head` has seen enough.
        Err(error) if error.is::<Closed>() => return Ok(Exit::Ok),
        Err(error) => return Err(error),
    }
    let exit = if progress.tally().failed() == 0 {
        Exit::Ok
    } else {
        Exit::SomeFailed
    };
    progress.finish(&found.ignored, &settings.output);
    Ok(exit)
}

/// What must be known of an engine before it is there.
struct EngineToBe {
    needs: Needs,
    /// The model's own limits.
    limits: PixelBudget,
    load: Box<dyn FnOnce() -> Result<Box<dyn Engine>>>,
}

impl EngineToBe {
    fn new(settings: &Settings) -> Result<Self> {
        match settings.engine {
            EngineChoice::Qwen => Self::qwen(settings),
            EngineChoice::TextLayer => Ok(Self {
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
        Ok(Self {
            needs: QwenEngine::NEEDS,
            limits: qwen_vl::config::pixel_budget(&folder)?,
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
