//! `omnidocs extract`: every page of the inputs, one record each.

use std::io::{self, IsTerminal};

use anyhow::Result;

use crate::{
    cli,
    config::{EngineChoice, Settings},
    discover::discover,
    document::Needs,
    engine::{Engine, text_layer::TextLayer},
    exit::Exit,
    journal::{Closed, Journal, Target},
    prepare::{self, PixelBudget},
    progress::Progress,
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
            EngineChoice::Qwen => anyhow::bail!("--engine qwen is not wired yet"),
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
}
