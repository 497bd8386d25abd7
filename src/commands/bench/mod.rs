//! `omnidocs bench`: reads some pages and tells how long that took.

mod figures;
mod gpu_memory;
mod pages;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicUsize,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use crossbeam_channel::Select;
use serde_json::json;

use self::{
    figures::{Figures, reset_peak_memory, table},
    gpu_memory::GpuMemory,
};
use super::{engine_spec::EngineSpecs, extract::preparation};
use crate::{
    cancel::Cancel,
    cli,
    config::Settings,
    discover::discover,
    exit::Exit,
    gpu,
    journal::{Journal, Opening, OutputSettings, Snapshot, Target},
    limits,
    options::{self, EngineChoice, FormatChoice, HeadersChoice, LockChoice, ProgressChoice},
    page::Upcoming,
    prepare::{self, Pages},
    progress::Progress,
    run,
    shard::Shard,
    signals::SignalHandlers,
    source::{Next, PageSource},
    terminal,
    views::status::Status,
};

/// Runs the command.
///
/// # Errors
/// An engine can't be loaded or can't go on, or there are no pages.
pub fn run(typed: &cli::Bench) -> Result<Exit> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let inputs = if typed.inputs.is_empty() {
        let made = folder.path().join("made.pdf");
        fs::write(&made, pages::pdf(typed.pages)).context("cannot write the pages")?;
        vec![made]
    } else {
        typed.inputs.clone()
    };
    let engines = match typed.engines[..] {
        [] => vec![EngineChoice::Qwen],
        _ => typed.engines.clone(),
    };
    let settings = engines.into_iter().enumerate().map(|(place, engine)| {
        let output = folder.path().join(format!("{place}.jsonl"));
        Settings::new(extract(typed, engine, &inputs, &output))
    });
    let settings: Vec<Settings> = settings.collect::<Result<_, _>>()?;
    let cancel = Cancel::default();
    let mut measured = Vec::new();
    let mut gpus = GpuMemory::before(gpu::monitor());
    // The pages in hand are read to their end, and the folder goes.
    SignalHandlers::install(&cancel, |_| {})?.pages_in_hand();
    limits::start_threads(typed.reader.threads)?;
    for (place, settings) in settings.iter().enumerate() {
        let progress = Progress::new(settings.progress, settings.verbosity, false);
        if place == 0 {
            progress.take_log();
        }
        measured.push(measure(
            settings,
            typed.pages,
            progress,
            &mut gpus,
            &cancel,
        )?);
        if let Some(signal) = cancel.signal() {
            return Ok(Exit::Interrupted(signal));
        }
    }
    let text = if typed.json {
        let version = env!("CARGO_PKG_VERSION");
        serde_json::to_string_pretty(&json!({"omnidocs": version, "engines": measured}))? + "\n"
    } else {
        table(&measured)
    };
    terminal::write_data(text.as_bytes())?;
    Ok(if measured.iter().any(|figures| figures.failed > 0) {
        Exit::SomeFailed
    } else {
        Exit::Ok
    })
}

/// Reads the first pages with one engine.
fn measure(
    settings: &Settings,
    pages: usize,
    mut progress: Progress,
    gpus: &mut GpuMemory,
    cancel: &Cancel,
) -> Result<Figures> {
    let found = discover(&settings.inputs, &AtomicUsize::new(0))?;
    progress.expect(found.sources.len(), None);
    let specs = EngineSpecs::new(settings, cancel)?;
    let budget = settings.pixel_budget_within(&specs.limits(), specs.max_pixels())?;
    let preparation = preparation(settings, &specs, budget)?;
    let mut figures = Figures::of_engine(&specs.info(found.sources.len(), &settings.output));
    reset_peak_memory();
    let (took, gpu_memory) = gpus.peak_during(&figures.devices, || -> Result<_> {
        let begin = Instant::now();
        let mut engine = progress.while_loading(|| specs.load(settings, budget, cancel))?;
        let load = begin.elapsed();
        let opened = Journal::open(&settings.output, OutputSettings::new(), Opening::default())?;
        let mut journal = opened.0;
        let prepared = prepare::pages(found.sources, preparation, cancel)?;
        progress.count_skipped(prepared.skipped());
        let mut first = First {
            pages: prepared,
            left: pages,
        };
        let begin = Instant::now();
        run::run(
            &mut first,
            engine.as_mut(),
            &mut journal,
            &mut progress,
            cancel,
        )?;
        let elapsed = begin.elapsed();
        journal.finish()?;
        drop(progress);
        Ok((load, elapsed))
    });
    let (load, elapsed) = took?;
    let Target::File(output) = &settings.output else {
        bail!("the records went elsewhere; this is a bug");
    };
    let status = Status::read(&Snapshot::open(output)?, None)?;
    anyhow::ensure!(
        status.documents.total > 0 || cancel.signal().is_some(),
        "there are no pages to read"
    );
    figures.measured(&status, load, elapsed);
    figures.gpu_memory_bytes = gpu_memory;
    Ok(figures)
}

/// The options of `extract` that these options stand for.
fn extract(
    typed: &cli::Bench,
    engine: EngineChoice,
    inputs: &[PathBuf],
    output: &Path,
) -> cli::Extract {
    cli::Extract {
        input: cli::InputArgs {
            skip: Vec::new(),
            inputs: inputs.to_vec(),
            files_from: None,
            include: Vec::new(),
            exclude: Vec::new(),
            pages: None,
            passwords: cli::PasswordArgs::default(),
        },
        output: cli::OutputArgs {
            output: output.to_owned(),
            format: FormatChoice::Markdown,
            tables: None,
            headers: HeadersChoice::Keep,
            raw: false,
            prompt: None,
            prompt_file: None,
        },
        model: cli::ModelArgs {
            engine,
            fallback: None,
            reader: typed.reader.clone(),
            temperature: None,
            seed: 0,
        },
        server: typed.server.clone(),
        pages: typed.size.clone(),
        run: cli::RunArgs {
            restart: false,
            retry: Vec::new(),
            retry_failed: false,
            lock: LockChoice::Os,
            dry_run: false,
            // Also inside a job array.
            shard: Some(Shard::WHOLE),
            retries: options::RETRIES,
            page_timeout: options::PAGE_TIMEOUT,
            workers: None,
            prefetch: None,
        },
        display: cli::DisplayArgs {
            progress: ProgressChoice::Auto,
            quiet: typed.quiet,
            verbose: 0,
            help: None,
        },
    }
}

/// The first pages of all.
struct First {
    pages: Pages,
    left: usize,
}

impl PageSource<Upcoming> for First {
    fn poll(&mut self) -> Result<Next<Upcoming>> {
        if self.left == 0 {
            return Ok(Next::End);
        }
        let next = self.pages.poll()?;
        if matches!(next, Next::Item(_)) {
            self.left -= 1;
        }
        Ok(next)
    }

    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        self.pages.watch(select);
    }
}
