//! What a run has come to so far, in numbers.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    journal::{Before, FailedBefore},
    page::{DeviceStats, Warning},
    page_selection::PageSelection,
    record::{Record, Status},
};

/// How many failures the summary tells.
pub(super) const FAILURES_SHOWN: usize = 20;

/// The counters of a run. They grow by four bytes a page and by no more than a few kilobytes in all else.
#[derive(Debug, Default)]
pub struct Tally {
    /// Documents found.
    pub documents: usize,
    /// Pages chosen in each document; all if none.
    pub selection: Option<PageSelection>,
    /// Time spent on loading the model.
    pub loading: Duration,
    /// When the first page was asked for.
    pub started: Option<Instant>,
    /// Time in which the engine had no page.
    pub waiting: Duration,
    /// Documents of which earlier runs have done all pages.
    pub done_documents: usize,
    /// How the pages ended that earlier runs have done.
    pub before: Before,
    /// The first of them that failed.
    pub failures_before: Vec<FailedBefore>,
    /// Documents that have the same bytes as others.
    pub copies: usize,
    /// Documents that are in other shards.
    pub elsewhere: usize,
    /// What each device has done, if there are several.
    pub shares: Vec<DeviceStats>,
    /// Whether the run was asked to end before its time.
    pub interrupted: bool,
    /// Documents that a page has been taken from, and the path of the latest.
    pub(super) documents_met: usize,
    latest: PathBuf,
    /// Documents that have given no page, so far as is known.
    passed_over: u64,
    /// Pages by what a reader should know of them.
    pub(super) warnings: BTreeMap<Warning, usize>,
    /// Documents finished, in fractions of their pages.
    documents_done: f64,
    pub(super) ok: usize,
    pub(super) failed: usize,
    pub(super) blank: usize,
    pub(super) words: usize,
    /// Milliseconds of each page that was read.
    pub(super) page_times: Vec<u32>,
    pub(super) prepare: Duration,
    pub(super) prefill: Duration,
    pub(super) decode: Duration,
    pub(super) failures: Vec<Failure>,
    pub(super) failures_told: usize,
}

/// Pages of one file that failed one after the other for the same reason.
#[derive(Debug)]
pub(super) struct Failure {
    pub path: String,
    pub first_page: u32,
    pub pages: usize,
    pub reason: String,
}

impl Tally {
    /// Counts nothing yet, of `documents` documents.
    #[must_use]
    pub fn new(documents: usize, selection: Option<PageSelection>) -> Self {
        Self {
            documents,
            selection,
            ..Self::default()
        }
    }

    /// A page of the document at `path` leaves preparation, `passed_over` documents having given none. Documents come one
    /// after the other.
    pub fn document_started(&mut self, path: &Path, passed_over: u64) {
        self.passed_over = self.passed_over.max(passed_over);
        if self.documents_met == 0 || self.latest != path {
            self.documents_met += 1;
            path.clone_into(&mut self.latest);
        }
    }

    /// Counts one finished page.
    pub fn add(&mut self, record: &Record) {
        let pages = match (record.page, &self.selection, record.page_count) {
            (0, ..) | (_, _, None) => 1,
            (_, None, Some(pages)) => pages,
            (_, Some(selection), Some(pages)) => selection.count(pages),
        };
        self.documents_done += 1.0 / f64::from(pages.max(1));
        self.words += record.word_count;
        for &warning in &record.warnings {
            *self.warnings.entry(warning).or_default() += 1;
        }
        self.prepare += Duration::from_millis(record.timings_ms.prepare);
        self.prefill += Duration::from_millis(record.timings_ms.prefill);
        self.decode += Duration::from_millis(record.timings_ms.decode);
        match record.status {
            Status::Ok => self.ok += 1,
            Status::Blank => self.blank += 1,
            Status::Failed => {
                self.failed += 1;
                self.add_failure(record);
                return;
            }
        }
        self.page_times
            .push(u32::try_from(record.timings_ms.total).unwrap_or(u32::MAX));
    }

    fn add_failure(&mut self, record: &Record) {
        let error = record.error.as_ref();
        let reason = error.map_or("", |error| error.message.as_str());
        if add_failure(&mut self.failures, &record.path, record.page, reason) {
            self.failures_told += 1;
        }
    }

    /// The failures of earlier runs, and how many pages they are of.
    pub(super) fn told_before(&self) -> (Vec<Failure>, usize) {
        let mut failures = Vec::new();
        let told = self.failures_before.iter().filter(|failed| {
            add_failure(&mut failures, &failed.path, failed.page, &failed.message)
        });
        let told = told.count();
        (failures, told)
    }

    /// Pages that ended in a failure.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Documents finished in this run, with the part of those at work, and all that are behind it.
    pub(super) fn documents_read(&self) -> (f64, f64) {
        // Ten tenths of a document are one, whatever floats say.
        let read = self.documents_done + 1e-6;
        let behind = read + self.passed_over as f64;
        (read, behind.min(self.documents as f64))
    }

    /// Pages that are done, however they ended.
    pub(super) fn pages(&self) -> usize {
        self.ok + self.failed + self.blank
    }

    /// Time since the first page was asked for.
    pub(super) fn elapsed(&self) -> Duration {
        self.started
            .map(|started| started.elapsed())
            .unwrap_or_default()
    }

    /// The time that the fraction `part` of the pages did not exceed (nearest rank).
    pub(super) fn page_time(&self, part: f64) -> Option<Duration> {
        let rank = (self.page_times.len() as f64 * part).ceil() as usize;
        let mut times = self.page_times.clone();
        let index = rank.max(1) - 1;
        (index < times.len())
            .then(|| Duration::from_millis(u64::from(*times.select_nth_unstable(index).1)))
    }
}

/// Adds a failed page to those of the same file and reason, unless that makes too many.
fn add_failure(failures: &mut Vec<Failure>, path: &str, page: u32, reason: &str) -> bool {
    if let Some(last) = failures.last_mut()
        && (last.path.as_str(), last.reason.as_str()) == (path, reason)
    {
        last.pages += 1;
        return true;
    }
    let has_room = failures.len() < FAILURES_SHOWN;
    if has_room {
        failures.push(Failure {
            path: path.to_owned(),
            first_page: page,
            pages: 1,
            reason: reason.to_owned(),
        });
    }
    has_room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_times_are_nearest_ranks() {
        let mut tally = Tally::new(1, None);
        assert_eq!(tally.page_time(0.5), None);
        tally.page_times = (1..=100).rev().collect();
        assert_eq!(tally.page_time(0.5), Some(Duration::from_millis(50)));
        assert_eq!(tally.page_time(0.95), Some(Duration::from_millis(95)));
        tally.page_times = vec![7];
        assert_eq!(tally.page_time(0.95), Some(Duration::from_millis(7)));
    }
}
