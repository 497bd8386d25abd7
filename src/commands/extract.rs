//! `omnidocs extract`: one record for every page of the inputs.

use anyhow::Result;

use super::{auto_rotate, dry_run, engine_spec::EngineSpecs};
use crate::{
    cancel::Cancel,
    cli::{self, environment::unknown_variables},
    config::{Assigned, Settings},
    discover::discover,
    exit::Exit,
    gpu,
    journal::{self, Before, Closed, Journal, Opening, OutputSettings, Resume, Target},
    launch, limits,
    options::{DeviceChoice, EngineChoice, SplitChoice},
    page::PixelBudget,
    prepare::{self, DecoderChoice, Raster, SkipCounts},
    progress::{Progress, RunInfo},
    run,
    signals::{Heard, SignalHandlers},
    terminal,
};

/// Runs the command. Checks everything it can before loading a model.
pub fn run(typed: cli::Extract) -> Result<Exit> {
    let settings = Settings::new(typed)?;
    let records_on_terminal = settings.output == Target::Stdout && terminal::stdout_may_be_shown();
    let mut progress = Progress::new(settings.progress, settings.verbosity, records_on_terminal);
    progress.take_log();
    for sentence in unknown_variables() {
        tracing::warn!("{sentence}");
    }
    if let Some(sentence) = settings.output.misnamed() {
        tracing::warn!("{sentence}");
    }
    // Before anything is waited for: a process with the number 1 has no other way to end.
    let cancel = Cancel::default();
    let shown = progress.handle();
    let signals = SignalHandlers::install(&cancel, move |heard| match heard {
        Heard::Ending(signal) => shown.interrupted(signal),
        Heard::Status => shown.print_status(),
    })?;
    limits::start_threads(settings.threads)?;
    if let Some(Assigned { shard, by }) = &settings.shard {
        progress.note(format_args!("shard {shard}, by {by}"));
    }
    let found = progress.while_listing(|found_so_far| discover(&settings.inputs, found_so_far))?;
    progress.expect(found.sources.len(), settings.pages.clone());
    settings.output.check()?;

    let engines = EngineSpecs::new(&settings, &cancel)?;
    let budget = settings.pixel_budget_within(&engines.limits(), engines.max_pixels())?;
    let preparation = preparation(&settings, &engines, budget)?;
    let mut output_settings = output_settings(&settings, &engines, &preparation);
    let opening = Opening {
        restart: settings.restart,
        retry: settings.retry,
        lock: settings.lock,
    };
    if settings.dry_run {
        let unknown = engines.unknown_settings(&settings);
        if let (Target::File(path), false) = (&settings.output, settings.restart) {
            dry_run::take_recorded(&mut output_settings, &unknown, path)?;
        }
        let index = journal::read_only(&settings.output, output_settings, opening)?;
        let resume = Resume::read_only(&settings.output, index, settings.retry);
        let resume = resume.of_shard(settings.shard());
        return dry_run::run(found.sources, preparation, resume, &progress, &cancel);
    }
    announce(
        &engines.info(found.sources.len(), &settings.output),
        &settings.device,
        &progress,
    );
    let (mut journal, opened) = Journal::open(&settings.output, output_settings, opening)?;
    progress.opened(&opened, &settings.output);
    let resume = Resume::new(&settings.output, opened.index, settings.retry);
    let resume = resume
        .of_shard(settings.shard())
        .of_pages(settings.pages.clone());
    let resumed = resume.resumed();
    journal.expect_copies(&found.sources);
    let mut pages = prepare::pages_except(found.sources, preparation, Box::new(resume), &cancel)?;
    progress.count_skipped(pages.skipped());
    // Where all is done, or copied, no model is loaded for nothing.
    let looked = progress.while_looking(|| run::copy_first(&mut pages, &mut journal, &progress));
    let has_pages = match looked {
        // `| head` has seen enough.
        Err(error) if error.is::<Closed>() => return Ok(Exit::Ok),
        looked => looked?,
    };
    if has_pages {
        // Pages are prepared meanwhile.
        let mut engine = progress.while_loading(|| engines.load(&settings, budget, &cancel))?;
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
        progress.tally().device_stats = engine.device_stats();
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
    count_before(&progress, pages.skipped(), before);
    progress.finish(&found.ignored, &settings.output, exit);
    Ok(exit)
}

/// Every setting that changes the records of this run.
fn output_settings(
    settings: &Settings,
    engines: &EngineSpecs,
    preparation: &prepare::Settings,
) -> OutputSettings {
    let mut named = engines.output_settings(settings, preparation.raster.budget);
    if !settings.shard().is_whole() {
        let shard = settings.shard().to_string();
        named.insert(journal::SHARD.to_owned(), shard.into());
    }
    // Whether Tesseract helps is up to the machine: a run must not end because it was installed, or is newer today.
    if preparation.auto_rotate.is_some() && engines.starts_with_pixels() {
        named.insert("auto_rotate".to_owned(), "on".into());
    }
    if preparation.split.is_some() && engines.starts_with_pixels() {
        named.insert("split".to_owned(), "auto".into());
    }
    named
}

/// Prints the first lines of a run.
fn announce(info: &RunInfo, device: &DeviceChoice, progress: &Progress) {
    progress.announce(info);
    if info.cpu.is_some()
        && let Some(sentence) = unused_gpu(device)
    {
        progress.note(sentence);
    }
}

/// A sentence on a GPU of this machine that this build can't use.
fn unused_gpu(device: &DeviceChoice) -> Option<String> {
    if cfg!(feature = "cuda") || *device != DeviceChoice::Auto {
        return None;
    }
    let gpus = gpu::monitor()?.gpus();
    let name = &gpus.first()?.name;
    Some(format!(
        "this machine has a GPU ({name}) that this build can't use: it is for the CPU alone; build one for CUDA with cargo \
         build --release --features cuda"
    ))
}

/// Counts what earlier runs and other shards have.
fn count_before(progress: &Progress, skipped: &SkipCounts, before: Before) {
    let mut tally = progress.tally();
    tally.done_before = (
        skipped.done_documents() as usize,
        skipped.done_pages() as usize,
    );
    tally.before = before;
    tally.copies = skipped.copies() as usize;
    tally.elsewhere = skipped.elsewhere() as usize;
}

/// How the pages are prepared for these engines.
pub(super) fn preparation(
    settings: &Settings,
    engines: &EngineSpecs,
    budget: PixelBudget,
) -> Result<prepare::Settings> {
    Ok(prepare::Settings {
        raster: Raster {
            dpi: settings.dpi,
            budget,
        },
        selection: settings.pages.clone(),
        needs: engines.needs(),
        text_first: settings.engine == EngineChoice::TextLayer,
        draft: engines.draft().cloned(),
        auto_rotate: auto_rotate::find(settings, engines.needs())?,
        split: (settings.split == SplitChoice::Auto && engines.needs().pixels).then(|| {
            let usual = engines.limits().max_pixels.min(engines.max_pixels());
            prepare::min_letters(budget.max_pixels, usual)
        }),
        passwords: settings.passwords.clone(),
        skip: settings.skip.clone(),
        workers: settings.workers,
        prefetch: settings.prefetch,
        retries: settings.retries,
        page_timeout: settings.page_timeout,
        decoder: DecoderChoice::Workers(launch::this_program()?),
    })
}
