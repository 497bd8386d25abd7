//! The counters of a run.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::gpus::{GpuUse, format_idle};
use crate::{
    journal::{Before, FailedBefore},
    page::{DeviceStats, PageRef, Warning},
    page_selection::PageSelection,
    prepare::SkipCounts,
    record::{Record, Status},
};

/// Maximum number of failures in the summary.
pub(super) const FAILURES_SHOWN: usize = 20;
/// Maximum number of pages named per warning.
const WARNED_SHOWN: usize = 5;

/// The counters of a run. They grow by four bytes per page, and by a few kilobytes in total otherwise.
#[derive(Debug, Default)]
pub struct Tally {
    /// Documents found.
    pub documents: usize,
    /// Pages selected in each document; all if `None`.
    pub selection: Option<PageSelection>,
    /// Time spent loading the model.
    pub loading: Duration,
    /// When the first page was requested.
    pub started: Option<Instant>,
    /// Time that the engine waited for pages.
    pub waiting: Duration,
    /// Documents that earlier runs have done in full, and pages that they have done.
    pub done_before: (usize, usize),
    /// The live counts of these during the run.
    pub(super) skipped: Option<Arc<SkipCounts>>,
    /// Counts of the pages that earlier runs have done; known at the end.
    pub before: Before,
    /// The first failures among them.
    pub failures_before: Vec<FailedBefore>,
    /// Documents that are copies of others.
    pub copies: usize,
    /// Documents that are in other shards.
    pub elsewhere: usize,
    /// Statistics per device, if there are several.
    pub device_stats: Vec<DeviceStats>,
    /// Pages that are decoded together.
    pub(super) batch_size: usize,
    /// The GPUs that pages are read on.
    pub(super) gpus: Vec<GpuUse>,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// Documents that have yielded a page, and the path of the latest.
    pub(super) documents_met: usize,
    pub(super) latest: PathBuf,
    /// Pages yielded so far.
    pub(super) taken: usize,
    /// Pages to read in the documents that have yielded a page.
    known: usize,
    /// Pages to read in the latest document, and those yielded so far.
    latest_known: usize,
    latest_taken: usize,
    /// Documents known to yield no page.
    passed_over: u64,
    /// Pages by warning.
    pub(super) warnings: BTreeMap<Warning, Warned>,
    /// Pages that did not fail whose record was copied from another path.
    pub(super) copied: usize,
    /// Pages by the engine that answered or failed last.
    pub(super) by_engine: BTreeMap<String, usize>,
    pub(super) ok: usize,
    pub(super) failed: usize,
    pub(super) blank: usize,
    /// Pages that were skipped, by the reason.
    pub(super) skips: BTreeMap<String, usize>,
    pub(super) words: usize,
    pub(super) tokens: usize,
    /// Milliseconds per page read.
    pub(super) page_times: Vec<u32>,
    pub(super) prepare: Duration,
    pub(super) prefill: Duration,
    pub(super) decode: Duration,
    pub(super) failures: Vec<Failure>,
    pub(super) failures_shown: usize,
}

/// Consecutive pages of one file that failed for the same reason.
#[derive(Debug)]
pub(super) struct Failure {
    pub path: String,
    pub first_page: u32,
    pub pages: usize,
    pub reason: String,
}

/// Pages with the same warning.
#[derive(Debug, Default)]
pub(super) struct Warned {
    pub pages: usize,
    /// The first few, by path and number.
    pub first: Vec<(String, u32)>,
}

/// How far a run is, in numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// The part that is done, 0 to 1.
    pub fraction: f64,
    /// Pages done, now and before.
    pub done: usize,
    /// Pages known so far.
    pub known: usize,
    /// Whether there may be more.
    pub more: bool,
    /// Pages that failed in this run.
    pub failed: usize,
    /// Pages read per second, without failures and copies; `None` before the first.
    pub pages_per_second: Option<f64>,
    /// Time left; `None` before the first page is read: failures alone say nothing of how long a page takes.
    pub left: Option<Duration>,
}

impl Tally {
    /// Empty counters for `documents` documents.
    #[must_use]
    pub fn new(documents: usize, selection: Option<PageSelection>) -> Self {
        Self {
            documents,
            selection,
            ..Self::default()
        }
    }

    /// Counts a page that leaves preparation; `passed_over` documents have yielded none. Documents come in order, and
    /// so do the pages of a document.
    pub fn document_started(&mut self, page: &PageRef, passed_over: u64) {
        let pages = self.selected(page.number, page.last_number);
        self.passed_over = self.passed_over.max(passed_over);
        if let Some(skipped) = &self.skipped {
            let counts = (skipped.done_documents(), skipped.done_pages());
            self.done_before = (counts.0 as usize, counts.1 as usize);
        }
        if self.documents_met == 0 || self.latest != page.document.path {
            self.documents_met += 1;
            page.document.path.clone_into(&mut self.latest);
            // What an earlier run has done of the document before this one is known by now.
            self.known = self.known - self.latest_known + self.latest_taken;
            self.latest_known = self.pages_from(page);
            self.known += self.latest_known;
            self.latest_taken = 0;
        }
        self.taken += pages;
        self.latest_taken += pages;
    }

    /// The number of selected pages from `first` to `last`, at least 1.
    fn selected(&self, first: u32, last: Option<u32>) -> usize {
        let last = last.unwrap_or(first).max(first);
        let pages = match &self.selection {
            Some(selection) if first > 0 => selection.count(last) - selection.count(first - 1),
            _ => last - first + 1,
        };
        pages.max(1) as usize
    }

    /// The number of selected pages of its document, from this one on.
    fn pages_from(&self, page: &PageRef) -> usize {
        match page.number {
            0 => 1,
            number => self.selected(number, page.document.page_count),
        }
    }

    /// Counts one finished page.
    pub fn add(&mut self, record: &Record) {
        let pages = self.selected(record.page, record.last_page);
        let is_copy = record.copy_of.is_some();
        self.words += record.word_count;
        if !is_copy {
            self.tokens += record.completion_tokens.unwrap_or(0);
        }
        for &warning in &record.warnings {
            let warned = self.warnings.entry(warning).or_default();
            warned.pages += 1;
            if warned.first.len() < WARNED_SHOWN {
                warned.first.push((record.path.clone(), record.page));
            }
        }
        if !is_copy && record.status != Status::Skipped {
            *self.by_engine.entry(record.engine.clone()).or_default() += pages;
        }
        self.prepare += Duration::from_millis(record.timings_ms.prepare);
        self.prefill += Duration::from_millis(record.timings_ms.prefill);
        self.decode += Duration::from_millis(record.timings_ms.decode);
        match record.status {
            Status::Ok => self.ok += pages,
            Status::Blank => self.blank += pages,
            Status::Skipped => {
                let reason = record.skip_reason.clone().unwrap_or_default();
                *self.skips.entry(reason).or_default() += pages;
                return;
            }
            Status::Failed => {
                self.failed += pages;
                self.add_failure(record, pages);
                return;
            }
        }
        if is_copy {
            self.copied += pages;
        } else {
            self.page_times
                .push(u32::try_from(record.timings_ms.total).unwrap_or(u32::MAX));
        }
    }

    fn add_failure(&mut self, record: &Record, pages: usize) {
        let error = record.error.as_ref();
        let reason = error.map_or("", |error| error.message.as_str());
        let (path, first) = (&record.path, record.page);
        if add_failure(&mut self.failures, path, first, pages, reason) {
            self.failures_shown += pages;
        }
    }

    /// The failures of earlier runs, and their number of pages.
    pub(super) fn failures_before(&self) -> (Vec<Failure>, usize) {
        let mut failures = Vec::new();
        let mut shown = 0;
        for failed in &self.failures_before {
            let pages = self.selected(failed.page, failed.last_page);
            let (path, first) = (&failed.path, failed.page);
            if add_failure(&mut failures, path, first, pages, &failed.message) {
                shown += pages;
            }
        }
        (failures, shown)
    }

    /// Failed pages, in this run or an earlier one.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failed + self.before.failed
    }

    /// Whether a page was read, in this run or an earlier one.
    pub(super) fn has_text(&self) -> bool {
        self.ok + self.before.ok > 0
    }

    /// Documents that have not come up yet.
    fn unopened(&self) -> usize {
        let known = self.documents_met as u64 + self.passed_over;
        (self.documents as u64).saturating_sub(known) as usize
    }

    /// Documents done: all but the current one and those that have not come up yet.
    pub(super) fn documents_behind(&self) -> usize {
        let at_work = usize::from(self.in_hand() > 0 || self.latest_taken < self.latest_known);
        (self.documents - self.unopened()).saturating_sub(at_work)
    }

    /// Pages done, now and before; the pages known so far, and whether there may be more.
    pub(super) fn pages_of(&self) -> (usize, usize, bool) {
        let done = self.done_before.1 + self.pages();
        let known = self.done_before.1 + self.known.max(self.pages());
        (done, known, self.unopened() > 0)
    }

    /// Estimated pages to do; unopened documents are assumed to be as long as the others.
    pub(super) fn pages_left(&self) -> f64 {
        let (done, known, _) = self.pages_of();
        let opened = self.done_before.0 + self.documents_met;
        let mean = if opened == 0 {
            1.0
        } else {
            (known as f64 / opened as f64).max(1.0)
        };
        (known - done) as f64 + mean * self.unopened() as f64
    }

    /// How far the run is after so much time.
    pub(super) fn numbers_after(&self, elapsed: Duration) -> Numbers {
        let (done, known, more) = self.pages_of();
        let (left, read) = (self.pages_left(), self.read());
        let timed = self.pages() - self.copied;
        let seconds = elapsed.as_secs_f64();
        Numbers {
            fraction: done as f64 / (done as f64 + left).max(1.0),
            done,
            known,
            more,
            failed: self.failed,
            pages_per_second: (read > 0 && seconds > 0.0).then(|| read as f64 / seconds),
            left: (read > 0)
                .then(|| Duration::try_from_secs_f64(seconds * left / timed as f64))
                .map(|left| left.unwrap_or(Duration::MAX)),
        }
    }

    /// The GPUs that idle, with the reason.
    pub(super) fn idle_gpus(&self, elapsed: Duration) -> Option<String> {
        let waiting = self.waiting.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        format_idle(&self.gpus, waiting, self.batch_size)
    }

    /// Pages in flight.
    pub(super) fn in_hand(&self) -> usize {
        self.taken.saturating_sub(self.pages())
    }

    /// Pages done, whatever their status.
    pub(super) fn pages(&self) -> usize {
        self.ok + self.failed + self.blank + self.skipped_pages()
    }

    /// Pages that were not read, as `--skip` asks.
    pub(super) fn skipped_pages(&self) -> usize {
        self.skips.values().sum()
    }

    /// Pages that were read, in this run and at their own path.
    pub(super) fn read(&self) -> usize {
        self.ok + self.blank - self.copied
    }

    /// Time since the first page was requested.
    pub(super) fn elapsed(&self) -> Duration {
        self.started
            .map(|started| started.elapsed())
            .unwrap_or_default()
    }

    /// The quantile `part` of the page times (nearest rank).
    pub(super) fn page_time(&self, part: f64) -> Option<Duration> {
        let rank = (self.page_times.len() as f64 * part).ceil() as usize;
        let mut times = self.page_times.clone();
        let index = rank.max(1) - 1;
        (index < times.len())
            .then(|| Duration::from_millis(u64::from(*times.select_nth_unstable(index).1)))
    }
}

/// Adds a failed page to the failure of the same file and reason, or a new failure up to the maximum.
fn add_failure(
    failures: &mut Vec<Failure>,
    path: &str,
    page: u32,
    pages: usize,
    reason: &str,
) -> bool {
    if let Some(last) = failures.last_mut()
        && (last.path.as_str(), last.reason.as_str()) == (path, reason)
    {
        last.pages += pages;
        return true;
    }
    let has_room = failures.len() < FAILURES_SHOWN;
    if has_room {
        failures.push(Failure {
            path: path.to_owned(),
            first_page: page,
            pages,
            reason: reason.to_owned(),
        });
    }
    has_room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_time_quantiles_are_nearest_rank() {
        let mut tally = Tally::new(1, None);
        assert_eq!(tally.page_time(0.5), None);
        tally.page_times = (1..=100).rev().collect();
        assert_eq!(tally.page_time(0.5), Some(Duration::from_millis(50)));
        assert_eq!(tally.page_time(0.95), Some(Duration::from_millis(95)));
        tally.page_times = vec![7];
        assert_eq!(tally.page_time(0.95), Some(Duration::from_millis(7)));
    }
}
