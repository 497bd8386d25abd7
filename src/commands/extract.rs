//! `omnidocs extract`: every page of the inputs, one record each.

use std::{
    io::{self, IsTerminal, Write},
    iter,
    sync::Arc,
};

use anyhow::Result;
use serde_json::{Value, json};

use super::engine_spec::EngineToBe;
use crate::{
    cancel::Interrupt,
    cli,
    config::{Assigned, Settings},
    discover::discover,
    exit::Exit,
    journal::{self, Closed, Journal, OutputSettings, Resume, Target},
    page::{Needs, PixelBudget, Preparation, Source},
    prepare::{self, Raster, worker_pool::this_program},
    progress::Progress,
    run,
};

/// Runs the command. Whatever can be known to be wrong is found before a model is loaded.
pub fn run(typed: cli::Extract) -> Result<Exit> {
    let settings = Settings::new(typed)?;
    let records_on_terminal = settings.output == Target::Stdout && io::stdout().is_terminal();
    let mut progress = Progress::new(settings.progress, settings.verbosity, records_on_terminal);
    progress.take_log();
    if let Some(Assigned { shard, by }) = &settings.shard {
        progress.note(format_args!("shard {shard}, by {by}"));
    }
    let found = discover(&settings.inputs)?;
    progress.expect(found.sources.len(), settings.pages.clone());
    settings.output.check()?;

    let interrupt = Interrupt::default();
    let engine = EngineToBe::new(&settings, &interrupt)?;
    let budget = settings.pixel_budget(&engine.limits)?;
    let output_settings = output_settings(&settings, &engine, budget);
    let preparation = prepare::Settings {
        raster: Raster {
            dpi: settings.dpi,
            budget,
        },
        selection: settings.pages.clone(),
        needs: engine.needs,
        draft: engine.draft.clone(),
        workers: settings.workers,
        prefetch: settings.prefetch,
        retries: settings.retries,
        page_timeout: settings.page_timeout,
        program: this_program()?,
    };
    if settings.dry_run {
        let recorded = journal::peek(&settings.output, output_settings, settings.restart)?;
        let resume = Resume::peek(&settings.output, recorded, settings.retry_failed);
        let resume = resume.of_shard(settings.shard());
        return dry_run(found.sources, preparation, resume, &progress);
    }
    let (mut journal, opened) = Journal::open(&settings.output, output_settings, settings.restart)?;
    progress.opened(&opened, &settings.output);
    let resume = Resume::new(&settings.output, opened.recorded, settings.retry_failed);
    let resume = resume.of_shard(settings.shard());
    let mut pages = prepare::pages_except(found.sources, preparation, Box::new(resume))?;
    // Where all is done, no model is loaded for nothing.
    if progress.while_looking(|| pages.any()) {
        // Pages are prepared meanwhile.
        let mut engine = progress.while_loading(|| engine.load())?;
        // Not before there are pages to finish: until then a signal may end the program as it always does.
        interrupt.install()?;
        let ended = run::run(
            &mut iter::from_fn(|| pages.next_unless(&|| interrupt.signal().is_some())),
            engine.as_mut(),
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
        progress.tally().shares = engine.shares();
    }
    if interrupt.signal().is_none() {
        journal.finish()?;
    }
    let exit = match interrupt.signal() {
        Some(signal) => Exit::Interrupted(signal),
        None if progress.tally().failed() > 0 => Exit::SomeFailed,
        None => Exit::Ok,
    };
    progress.tally().done_before = (pages.done_documents() as usize, pages.done_pages() as usize);
    progress.tally().copies = pages.copies() as usize;
    progress.tally().elsewhere = pages.elsewhere() as usize;
    progress.finish(&found.ignored, &settings.output, exit);
    Ok(exit)
}

/// Lists the documents that would be read on the standard output, with the number of pages, and reads none.
fn dry_run(
    sources: Vec<Source>,
    preparation: prepare::Settings,
    resume: Resume,
    progress: &Progress,
) -> Result<Exit> {
    let nothing = Needs {
        pixels: false,
        text: false,
    };
    let preparation = prepare::Settings {
        needs: nothing,
        ..preparation
    };
    let mut found = prepare::pages_except(sources, preparation, Box::new(resume))?;
    let mut pages = found.by_ref().peekable();
    let (mut documents, mut all) = (0, 0);
    while let Some(first) = pages.next() {
        let document = first.page.document;
        let same = |next: &Preparation| Arc::ptr_eq(&next.page.document, &document);
        let mut count = 1;
        while pages.next_if(same).is_some() {
            count += 1;
        }
        documents += 1;
        let path = document.path.display();
        let line = match first.result {
            Err(error) if first.page.number == 0 => format!("{path}: can't be read: {error}"),
            _ => {
                all += count;
                format!(
                    "{path}: {count} of {} pages",
                    document.page_count.unwrap_or(0)
                )
            }
        };
        if writeln!(io::stdout(), "{line}").is_err() {
            // `| head` has seen enough.
            break;
        }
    }
    let elsewhere = match found.elsewhere() {
        0 => String::new(),
        count => format!("; {count} documents are in other shards"),
    };
    progress.note(format_args!(
        "would read {all} pages of {documents} documents{elsewhere}"
    ));
    Ok(Exit::Ok)
}

/// Everything that changes what the records of this run say.
///
/// Not how much trouble is taken over a page that fails: that may be more in the next run.
fn output_settings(
    settings: &Settings,
    engine: &EngineToBe,
    budget: PixelBudget,
) -> OutputSettings {
    let mut named = OutputSettings::new();
    let mut set = |name: &str, value: Value| named.insert(name.to_owned(), value);
    set("engine", engine.name.into());
    set("format", json!(settings.format));
    if !settings.shard().is_whole() {
        set(journal::SHARD, settings.shard().to_string().into());
    }
    if let Some(program) = &engine.program {
        set("program", program.as_str().into());
    }
    if engine.reads_pixels {
        set("min_pixels", budget.min_pixels.into());
        set("max_pixels", budget.max_pixels.into());
        set("dpi", settings.dpi.into());
    }
    if let Some(model) = &engine.model {
        set("model", model.name.as_str().into());
        if let Some(files) = &model.files {
            set("weights", files.weights.as_str().into());
            set("dtype", files.dtype.into());
        }
        set("prompt", settings.prompt.as_str().into());
        set("max_new_tokens", settings.max_new_tokens.into());
        set("temperature", settings.temperature.into());
        set("seed", settings.seed.into());
    }
    named
}
