//! The objects of `--progress json`: what each of them has.

use serde::Serialize;

use super::{
    announce::RunInfo,
    gpus::GpuUse,
    tally::{Numbers, Tally},
};
use crate::{
    error::PageError,
    exit::Exit,
    journal::Target,
    page::Warning,
    record::{Record, Status as PageStatus, spelled},
    terminal::printable_path,
};

/// `start`: what runs, on what.
#[derive(Serialize)]
pub(super) struct Start<'a> {
    version: &'static str,
    engine: &'a str,
    model: Option<&'a str>,
    dtype: Option<&'a str>,
    devices: &'a [&'a str],
    threads: Option<usize>,
    instructions: Option<&'a str>,
    documents: usize,
    /// `-` for stdout.
    output: String,
}

impl<'a> Start<'a> {
    pub(super) fn new(info: &'a RunInfo) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            engine: info.engine,
            model: info.model,
            dtype: info.dtype,
            devices: &info.devices,
            threads: info.cpu.map(|cpu| cpu.0),
            instructions: info.cpu.map(|cpu| cpu.1),
            documents: info.documents,
            output: output_name(info.output),
        }
    }
}

fn output_name(output: &Target) -> String {
    match output {
        Target::Stdout => "-".to_owned(),
        Target::File(path) => path.to_string_lossy().into_owned(),
    }
}

/// How far the run is, in `page` and `status`.
#[derive(Serialize)]
struct Counts {
    pages_done: usize,
    /// Pages of the documents that were opened so far.
    pages_known: usize,
    /// Whether documents are still to be opened.
    more_pages: bool,
    /// Pages that failed in this run.
    pages_failed: usize,
}

impl Counts {
    fn new(numbers: &Numbers) -> Self {
        Self {
            pages_done: numbers.done,
            pages_known: numbers.known,
            more_pages: numbers.more,
            pages_failed: numbers.failed,
        }
    }
}

/// `page`: a page whose record is written.
#[derive(Serialize)]
pub(super) struct Written<'a> {
    path: &'a str,
    page: u32,
    last_page: Option<u32>,
    status: PageStatus,
    skip_reason: Option<&'a str>,
    error: Option<&'a PageError>,
    copy_of: Option<&'a str>,
    words: usize,
    seconds: f64,
    warnings: &'a [Warning],
    #[serde(flatten)]
    done: Counts,
}

impl<'a> Written<'a> {
    pub(super) fn new(record: &'a Record, tally: &Tally) -> Self {
        Self {
            path: &record.path,
            page: record.page,
            last_page: record.last_page,
            status: record.status,
            skip_reason: record.skip_reason.as_deref(),
            error: record.error.as_ref(),
            copy_of: record.copy_of.as_deref(),
            words: record.word_count,
            seconds: record.timings_ms.total as f64 / 1000.0,
            warnings: &record.warnings,
            done: Counts::new(&tally.numbers_after(tally.elapsed())),
        }
    }
}

/// A GPU, in `status` and `summary`.
#[derive(Serialize)]
struct Gpu<'a> {
    device: &'a str,
    /// Percent: in `status` now, in `summary` on average.
    utilization: Option<u32>,
    memory_used: u64,
    memory_free: u64,
}

fn gpus(all: &[GpuUse], is_mean: bool) -> Vec<Gpu<'_>> {
    let gpu = |gpu: &'_ GpuUse| {
        let load = gpu.latest?;
        Some((
            load,
            if is_mean {
                gpu.mean()
            } else {
                load.utilization
            },
        ))
    };
    let shown = all.iter().filter_map(|used| {
        let (load, utilization) = gpu(used)?;
        Some(Gpu {
            device: &used.device,
            utilization,
            memory_used: load.memory_used,
            memory_free: load.memory_free,
        })
    });
    shown.collect()
}

/// `status`: how far the run is. A status with a message alone is a sentence for people.
#[derive(Serialize)]
pub(super) struct Status<'a> {
    /// The line for people.
    message: String,
    stage: Option<&'static str>,
    percent: f64,
    #[serde(flatten)]
    done: Counts,
    documents_done: usize,
    documents: usize,
    pages_per_second: Option<f64>,
    seconds_left: Option<f64>,
    /// The document of the latest page.
    document: Option<String>,
    gpus: Vec<Gpu<'a>>,
}

impl<'a> Status<'a> {
    pub(super) fn new(stage: Option<&'static str>, message: String, tally: &'a Tally) -> Self {
        let numbers = tally.numbers_after(tally.elapsed());
        Self {
            message,
            stage,
            percent: rounded(numbers.fraction * 100.0),
            done: Counts::new(&numbers),
            documents_done: tally.documents_behind(),
            documents: tally.documents,
            pages_per_second: numbers.pages_per_second.map(rounded),
            seconds_left: numbers.left.map(|left| rounded(left.as_secs_f64())),
            document: Some(printable_path(&tally.latest)).filter(|path| !path.is_empty()),
            gpus: gpus(&tally.gpus, false),
        }
    }
}

/// To a hundredth.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Pages by how they ended.
#[derive(Serialize)]
struct Pages {
    ok: usize,
    failed: usize,
    blank: usize,
    skipped: usize,
}

#[derive(Serialize)]
struct Seconds {
    /// From the first page on.
    reading: f64,
    loading: f64,
    prefill: f64,
    decode: f64,
    waiting: f64,
    prepare: f64,
}

#[derive(Serialize)]
struct Warned<'a> {
    warning: String,
    pages: usize,
    first: Vec<Place<'a>>,
}

#[derive(Serialize)]
struct Place<'a> {
    path: &'a str,
    page: u32,
}

#[derive(Serialize)]
struct Failed<'a> {
    path: &'a str,
    page: u32,
    pages: usize,
    message: &'a str,
}

/// `summary`: the last object.
#[derive(Serialize)]
pub(super) struct Summary<'a> {
    exit_code: u8,
    error: Option<&'a str>,
    interrupted: bool,
    output: String,
    documents: usize,
    pages: Pages,
    /// Pages of earlier runs.
    before: Pages,
    /// Pages among those of this run that are copies.
    copied: usize,
    words: usize,
    tokens: usize,
    pages_per_second: Option<f64>,
    tokens_per_second: Option<f64>,
    seconds: Seconds,
    warnings: Vec<Warned<'a>>,
    /// The first failures of this run.
    failures: Vec<Failed<'a>>,
    gpus: Vec<Gpu<'a>>,
    /// The next command to type.
    next: Option<&'a str>,
}

impl<'a> Summary<'a> {
    pub(super) fn new(
        tally: &'a Tally,
        output: &Target,
        exit: Exit,
        next: Option<&'a str>,
    ) -> Self {
        let elapsed = tally.elapsed();
        let seconds = elapsed.as_secs_f64();
        let warned = tally.warnings.iter().map(|(warning, warned)| Warned {
            warning: spelled(warning),
            pages: warned.pages,
            first: warned
                .first
                .iter()
                .map(|(path, page)| Place { path, page: *page })
                .collect(),
        });
        let failures = tally.failures.iter().map(|failure| Failed {
            path: &failure.path,
            page: failure.first_page,
            pages: failure.pages,
            message: &failure.reason,
        });
        let tokens = tally.tokens;
        Self {
            exit_code: exit.code(),
            error: None,
            interrupted: tally.interrupted,
            output: output_name(output),
            documents: tally.documents,
            pages: Pages {
                ok: tally.ok,
                failed: tally.failed,
                blank: tally.blank,
                skipped: tally.skipped_pages(),
            },
            before: Pages {
                ok: tally.before.ok,
                failed: tally.before.failed,
                blank: tally.before.blank,
                skipped: tally.before.skipped,
            },
            copied: tally.copied,
            words: tally.words,
            tokens,
            pages_per_second: tally.numbers_after(elapsed).pages_per_second.map(rounded),
            tokens_per_second: (tokens > 0 && seconds > 0.0)
                .then(|| rounded(tokens as f64 / seconds)),
            seconds: Seconds {
                reading: rounded(seconds),
                loading: rounded(tally.loading.as_secs_f64()),
                prefill: rounded(tally.prefill.as_secs_f64()),
                decode: rounded(tally.decode.as_secs_f64()),
                waiting: rounded(tally.waiting.as_secs_f64()),
                prepare: rounded(tally.prepare.as_secs_f64()),
            },
            warnings: warned.collect(),
            failures: failures.collect(),
            gpus: gpus(&tally.gpus, true),
            next,
        }
    }
}
