//! The status of an output: how many pages were read, what failed and why, how long pages took.

mod text;

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::histogram::Times;
use crate::{
    error::{ErrorKind, PageError},
    journal::{Document, Entry, OutputSettings, RunState, Snapshot},
    page::Warning,
    record::Status as PageStatus,
};

/// Examples of a kind of failure.
const EXAMPLES: usize = 3;

/// The status of an output, as `omnidocs status --json` prints it.
#[derive(Debug, Default, Serialize)]
pub struct Status {
    /// The output.
    pub output: String,
    /// `running`, `finished` or `interrupted`.
    pub state: &'static str,
    /// Number of documents, by path.
    pub documents: Documents,
    /// Number of pages.
    pub pages: Pages,
    /// Number of words.
    pub words: u64,
    /// Tokens that models generated.
    pub tokens: u64,
    /// Number of pages with each warning.
    pub warnings: BTreeMap<Warning, u64>,
    /// What failed, by kind.
    pub failures: Vec<Failures>,
    /// Pages that each engine answered, by name.
    pub engines: BTreeMap<String, u64>,
    /// Seconds per page that was read: the engine's time and preparation, without waiting.
    pub seconds_per_page: Option<SecondsPerPage>,
    /// Sum of all pages' times by stage, in seconds.
    pub seconds_by_stage: Stages,
    /// The last run; `None` if it is not known, as in a merged output.
    pub last_run: Option<LastRun>,
    /// The settings of the records.
    pub settings: OutputSettings,
    #[serde(skip)]
    times: Times,
}

/// Documents by how far they were read.
#[derive(Debug, Default, Serialize)]
pub struct Documents {
    /// All.
    pub total: u64,
    /// Every page has a record, and none failed.
    pub complete: u64,
    /// Some page failed, or it could not be opened.
    pub failed: u64,
    /// Some page has no record yet, and none failed.
    pub unfinished: u64,
}

/// Pages by status.
#[derive(Debug, Default, Serialize)]
pub struct Pages {
    /// Read.
    pub ok: u64,
    /// Failed; a document that could not be opened counts as one.
    pub failed: u64,
    /// Blank.
    pub blank: u64,
    /// Left out by `--skip`.
    pub skipped: u64,
    /// Pages of opened documents without a record. With `--pages` some are never read.
    pub pending: u64,
}

impl Pages {
    /// Those with a record.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.ok + self.failed + self.blank + self.skipped
    }
}

/// Failures of one kind.
#[derive(Debug, Serialize)]
pub struct Failures {
    /// The kind.
    pub kind: ErrorKind,
    /// Number of pages.
    pub pages: u64,
    /// What to do.
    pub advice: &'static str,
    /// Some of the pages.
    pub examples: Vec<Example>,
}

/// A page that failed.
#[derive(Debug, Serialize)]
pub struct Example {
    /// The document.
    pub path: String,
    /// The page; 0 for the whole document.
    pub page: u32,
    /// The message of its error.
    pub message: String,
}

/// Quantiles of the time per page, in seconds.
#[derive(Debug, Serialize)]
pub struct SecondsPerPage {
    /// Half of the pages took less.
    pub median: f64,
    /// 95 % of the pages took less.
    pub p95: f64,
    /// The slowest page.
    pub max: f64,
    /// Number of pages up to a bound in milliseconds; null: beyond the last bound.
    pub histogram: Vec<(Option<u32>, usize)>,
}

/// Seconds by stage.
#[derive(Debug, Default, Serialize)]
pub struct Stages {
    /// Opening, rendering, resizing.
    pub prepare: f64,
    /// Vision tower and prompt.
    pub prefill: f64,
    /// Generation.
    pub decode: f64,
}

/// The last run.
#[derive(Debug, Serialize)]
pub struct LastRun {
    /// Pages that it recorded.
    pub pages: u64,
    /// Its duration in seconds, up to the last record if it has not finished.
    pub seconds: u64,
    /// Its pace; none for a run of less than a second.
    pub pages_per_second: Option<f64>,
    /// Price of a million pages at this pace, if the price of an hour was given.
    pub price_per_million_pages: Option<f64>,
}

/// The fields of a failed record that the status needs.
#[derive(Deserialize)]
struct Row {
    path: String,
    page: u32,
    error: Option<PageError>,
}

impl Status {
    /// Reads the output. Memory grows by 4 bytes a page beside the index.
    ///
    /// # Errors
    /// As [`Snapshot::each`].
    pub fn read(snapshot: &Snapshot, price_per_hour: Option<f64>) -> Result<Self> {
        let mut status = Self {
            output: snapshot.path().to_string_lossy().into_owned(),
            state: match snapshot.state() {
                RunState::Running => "running",
                RunState::Finished => "finished",
                RunState::Interrupted => "interrupted",
            },
            ..Self::default()
        };
        let documents = snapshot.documents();
        status.count_documents(&documents);
        let mut in_last_run = None;
        for entry in documents.iter().flat_map(Document::records) {
            status.count_page(entry);
            if let Some(is_new) = snapshot.is_of_last_run(entry) {
                *in_last_run.get_or_insert(0) += u64::from(is_new);
            }
        }
        let totals = snapshot.totals(&documents)?;
        (status.words, status.tokens) = (totals.words, totals.tokens);
        (status.warnings, status.engines) = (totals.warnings, totals.engines);
        let seconds = |milliseconds: u64| milliseconds as f64 / 1000.0;
        status.seconds_by_stage = Stages {
            prepare: seconds(totals.prepare),
            prefill: seconds(totals.prefill),
            decode: seconds(totals.decode),
        };
        status.times = Times::new(totals.times);
        status.seconds_per_page = seconds_per_page(&status.times);
        status.failures = failures(snapshot, &documents)?;
        status.last_run = in_last_run.and_then(|pages| last_run(snapshot, pages, price_per_hour));
        if let Some(meta) = snapshot.meta() {
            status.settings.clone_from(&meta.settings);
        }
        Ok(status)
    }

    fn count_documents(&mut self, documents: &[Document]) {
        for document in documents {
            let records = document.records();
            let failed = |entry: &&Entry| entry.state().status == PageStatus::Failed;
            let there: u32 = records.iter().map(|entry| entry.pages(None)).sum();
            let pending = document.page_count().unwrap_or(0).saturating_sub(there);
            self.documents.total += 1;
            self.pages.pending += u64::from(pending);
            if records.iter().any(|entry| failed(&entry)) {
                self.documents.failed += 1;
            } else if pending > 0 {
                self.documents.unfinished += 1;
            } else {
                self.documents.complete += 1;
            }
        }
    }

    fn count_page(&mut self, entry: &Entry) {
        match entry.state().status {
            PageStatus::Ok => self.pages.ok += 1,
            PageStatus::Blank => self.pages.blank += 1,
            PageStatus::Skipped => self.pages.skipped += 1,
            PageStatus::Failed => self.pages.failed += covered(entry),
        }
    }
}

/// The pages that a record stands for; a document that could not be opened counts as one.
fn covered(entry: &Entry) -> u64 {
    u64::from(entry.pages(None).max(1))
}

/// The failures by kind, the most frequent one first.
fn failures(snapshot: &Snapshot, documents: &[Document]) -> Result<Vec<Failures>> {
    let entries = documents.iter().flat_map(Document::records);
    let failed = entries.filter(|entry| entry.state().status == PageStatus::Failed);
    let mut kinds: BTreeMap<ErrorKind, Failures> = BTreeMap::new();
    snapshot.each_of(failed, |entry, page: Row| {
        let Some(error) = page.error else {
            return Ok(());
        };
        let failures = kinds.entry(error.kind).or_insert_with(|| Failures {
            kind: error.kind,
            pages: 0,
            advice: super::advice::advice(error.kind),
            examples: Vec::new(),
        });
        failures.pages += covered(entry);
        if failures.examples.len() < EXAMPLES {
            failures.examples.push(Example {
                path: page.path,
                page: page.page,
                message: error.message,
            });
        }
        Ok(())
    })?;
    let mut failures: Vec<_> = kinds.into_values().collect();
    failures.sort_by_key(|it| std::cmp::Reverse(it.pages));
    Ok(failures)
}

fn seconds_per_page(times: &Times) -> Option<SecondsPerPage> {
    let at = |quantile| times.quantile(quantile).map(|time| time.as_secs_f64());
    Some(SecondsPerPage {
        median: at(0.5)?,
        p95: at(0.95)?,
        max: at(1.0)?,
        histogram: times.counts(),
    })
}

fn last_run(snapshot: &Snapshot, pages: u64, price_per_hour: Option<f64>) -> Option<LastRun> {
    let run = &snapshot.meta()?.run;
    let end = run.finished().or_else(|| snapshot.modified())?;
    let seconds = end.saturating_sub(run.started());
    let pace = (seconds > 0 && pages > 0).then(|| pages as f64 / seconds as f64);
    let price = pace
        .zip(price_per_hour)
        .map(|(pace, price)| 1e6 / pace / 3600.0 * price);
    Some(LastRun {
        pages,
        seconds,
        pages_per_second: pace,
        price_per_million_pages: price,
    })
}
