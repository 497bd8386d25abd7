//! `omnidocs extract`: every page of the inputs, one record each.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    sync::Arc,
};

use anyhow::Result;

use super::engine_spec::EngineSpecs;
use crate::{
    cancel::Cancel,
    cli::{self, environment::unknown_variables},
    config::{Assigned, Settings},
    discover::discover,
    exit::Exit,
    journal::{self, Closed, Journal, Meta, Opening, OutputSettings, Resume, Target},
    page::{Needs, Preparation, Source},
    prepare::{self, DecoderChoice, Raster, worker_pool::this_program},
    progress::Progress,
    run,
    signals::{Heard, SignalHandlers},
    terminal::{self, printable},
};

/// Runs the command. Whatever can be known to be wrong is found before a model is loaded.
pub fn run(typed: cli::Extract) -> Result<Exit> {
    let settings = Settings::new(typed)?;
    let records_on_terminal = settings.output == Target::Stdout && terminal::stdout_may_be_shown();
    let mut progress = Progress::new(settings.progress, settings.verbosity, records_on_terminal);
    progress.take_log();
    for sentence in unknown_variables() {
        tracing::warn!("{sentence}");
    }
    // Before anything is waited for: a process with the number 1 has no other way to end.
    let cancel = Cancel::default();
    let shown = progress.handle();
    let signals = SignalHandlers::install(&cancel, move |heard| match heard {
        Heard::Ending(signal) => shown.interrupted(signal),
        Heard::Status => shown.print_status(),
    })?;
    if let Some(Assigned { shard, by }) = &settings.shard {
        progress.note(format_args!("shard {shard}, by {by}"));
    }
    let found = progress.while_listing(|| discover(&settings.inputs))?;
    progress.expect(found.sources.len(), settings.pages.clone());
    settings.output.check()?;

    let engines = EngineSpecs::new(&settings, &cancel)?;
    let budget = settings.pixel_budget(&engines.limits())?;
    let mut output_settings = engines.output_settings(&settings, budget);
    if !settings.shard().is_whole() {
        let shard = settings.shard().to_string();
        output_settings.insert(journal::SHARD.to_owned(), shard.into());
    }
    let preparation = prepare::Settings {
        raster: Raster {
            dpi: settings.dpi,
            budget,
        },
        selection: settings.pages.clone(),
        needs: engines.needs(),
        draft: engines.draft().cloned(),
        workers: settings.workers,
        prefetch: settings.prefetch,
        retries: settings.retries,
        page_timeout: settings.page_timeout,
        decoder: DecoderChoice::Workers(this_program()?),
    };
    let opening = Opening {
        restart: settings.restart,
        retry: settings.retry,
        lock: settings.lock,
    };
    if settings.dry_run {
        let unknown = engines.unknown_settings(&settings);
        if let (Target::File(path), false) = (&settings.output, settings.restart) {
            take_recorded(&mut output_settings, &unknown, path)?;
        }
        let index = journal::read_only(&settings.output, output_settings, opening)?;
        let resume = Resume::read_only(&settings.output, index, settings.retry);
        let resume = resume.of_shard(settings.shard());
        return dry_run(found.sources, preparation, resume, &progress, &cancel);
    }
    progress.announce(&engines.info(found.sources.len(), &settings.output));
    let (mut journal, opened) = Journal::open(&settings.output, output_settings, opening)?;
    progress.opened(&opened, &settings.output);
    let resume = Resume::new(&settings.output, opened.index, settings.retry);
    let resume = resume
        .of_shard(settings.shard())
        .of_pages(settings.pages.clone());
    let resumed = resume.resumed();
    let mut pages = prepare::pages_except(found.sources, preparation, Box::new(resume), &cancel)?;
    progress.count_skipped(pages.skipped());
    // Where all is done, no model is loaded for nothing.
    if progress.while_looking(|| pages.has_pages())? {
        // Pages are prepared meanwhile.
        let mut engine = progress.while_loading(|| engines.load(&settings, &cancel))?;
        signals.pages_in_hand();
        let ended = run::run(
            &mut pages,
            engine.as_mut(),
            &mut journal,
            &mut progress,
            &cancel,
        );
        match ended {
            Ok(()) => {}
            // `| head` has seen enough.
            Err(error) if error.is::<Closed>() => return Ok(Exit::Ok),
            Err(error) => return Err(error),
        }
        progress.tally().shares = engine.device_stats();
    }
    if cancel.signal().is_none() {
        journal.finish()?;
    }
    resumed.finish();
    let before = resumed.before();
    progress.tally().failures_before = before.failures(&settings.output)?;
    let exit = match cancel.signal() {
        Some(signal) => Exit::Interrupted(signal),
        None if progress.tally().failed() + before.failed > 0 => Exit::SomeFailed,
        None => Exit::Ok,
    };
    progress.tally().done_before = (
        pages.skipped().done_documents() as usize,
        pages.skipped().done_pages() as usize,
    );
    progress.tally().before = before;
    progress.tally().copies = pages.skipped().copies() as usize;
    progress.tally().elsewhere = pages.skipped().elsewhere() as usize;
    progress.finish(&found.ignored, &settings.output, exit);
    Ok(exit)
}

/// Gives the settings that are `unknown` the values that they have in the output at `path`, so that they make no difference.
fn take_recorded(settings: &mut OutputSettings, unknown: &[&str], path: &Path) -> Result<()> {
    if unknown.is_empty() {
        return Ok(());
    }
    let recorded = Meta::read(path)?.map(|meta| meta.settings);
    for &name in unknown {
        match recorded.as_ref().and_then(|recorded| recorded.get(name)) {
            Some(there) => settings.insert(name.to_owned(), there.clone()),
            None => settings.remove(name),
        };
    }
    Ok(())
}

/// Lists the documents that would be read on the standard output, with the number of pages, and reads none.
fn dry_run(
    sources: Vec<Source>,
    preparation: prepare::Settings,
    resume: Resume,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Exit> {
    let nothing = Needs {
        pixels: false,
        text: false,
    };
    let preparation = prepare::Settings {
        needs: nothing,
        ..preparation
    };
    let mut found = prepare::pages_except(sources, preparation, Box::new(resume), cancel)?;
    let mut pages = found.by_ref().peekable();
    let (mut documents, mut all) = (0, 0);
    let is_shown = io::stdout().is_terminal();
    while let Some(first) = pages.next().transpose()? {
        let document = first.page.document;
        let same = |next: &Result<Preparation>| {
            let next = next.as_ref();
            next.is_ok_and(|next| Arc::ptr_eq(&next.page.document, &document))
        };
        let mut count = 1;
        while pages.next_if(same).is_some() {
            count += 1;
        }
        documents += 1;
        let path = document.path.to_string_lossy();
        // For programs, a path is as it is.
        let path = if is_shown { printable(&path) } else { path };
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
    let elsewhere = match found.skipped().elsewhere() {
        0 => String::new(),
        count => format!("; {count} documents are in other shards"),
    };
    progress.report(format_args!(
        "would read {all} pages of {documents} documents{elsewhere}"
    ));
    Ok(Exit::Ok)
}
