//! What a run has come to: counted as it goes, told at its end.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::HumanCount;

use crate::{
    discover::Ignored,
    document::PageSelection,
    journal::Target,
    record::{Record, Status},
};

/// How many failures the summary tells.
const FAILURES_SHOWN: usize = 20;

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
    /// Documents that a page has been taken from, and the path of the latest.
    documents_met: usize,
    latest: PathBuf,
    /// Documents finished, in fractions of their pages.
    documents_done: f64,
    ok: usize,
    failed: usize,
    blank: usize,
    words: usize,
    /// Milliseconds of each page that was read.
    page_times: Vec<u32>,
    prepare: Duration,
    prefill: Duration,
    decode: Duration,
    failures: Vec<Failure>,
    failures_told: usize,
}

/// Pages of one file that failed one after the other for the same reason.
#[derive(Debug)]
struct Failure {
    path: String,
    first_page: u32,
    pages: usize,
    reason: String,
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

    /// A page of the document at `path` leaves preparation. Documents come one after the other.
    pub fn meet(&mut self, path: &Path) {
        if self.documents_met == 0 || self.latest != path {
            self.documents_met += 1;
            self.latest = path.to_owned();
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
        let reason = record
            .error
            .as_ref()
            .map(|error| error.message.as_str())
            .unwrap_or_default();
        if let Some(last) = self.failures.last_mut()
            && (last.path.as_str(), last.reason.as_str()) == (record.path.as_str(), reason)
        {
            last.pages += 1;
        } else if self.failures.len() < FAILURES_SHOWN {
            self.failures.push(Failure {
                path: record.path.clone(),
                first_page: record.page,
                pages: 1,
                reason: reason.to_owned(),
            });
        } else {
            return;
        }
        self.failures_told += 1;
    }

    /// Pages that ended in a failure.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Documents finished, with the part of those at work.
    #[must_use]
    pub fn documents_done(&self) -> f64 {
        // Ten tenths of a document are one, whatever floats say.
        let done = self.documents_done + 1e-6;
        done.min(self.documents as f64)
    }

    /// One line on how the run goes: pages, documents, pace, time left.
    #[must_use]
    pub fn state(&self) -> String {
        self.state_after(self.elapsed())
    }

    fn state_after(&self, elapsed: Duration) -> String {
        let done = self.documents_done();
        let mut line = format!("{} done", counted(self.pages(), "page", "pages"));
        if self.failed > 0 {
            let _ = write!(line, " ({} failed)", HumanCount(self.failed as u64));
        }
        let _ = write!(
            line,
            " · {}/{} documents",
            HumanCount(done as u64),
            HumanCount(self.documents as u64)
        );
        if self.pages() > 0 && !elapsed.is_zero() {
            let left = elapsed.mul_f64((self.documents as f64 - done).max(0.0) / done.max(1e-9));
            let _ = write!(line, " · {} · {} left", self.pace(elapsed), human(left));
        }
        line
    }

    /// What the run came to, as lines for a person.
    #[must_use]
    pub fn summary(&self, ignored: &Ignored, output: &Target) -> String {
        self.summary_after(self.elapsed(), ignored, output)
    }

    fn summary_after(&self, elapsed: Duration, ignored: &Ignored, output: &Target) -> String {
        let mut text = String::new();
        let mut line = |label: &str, content: String| {
            let _ = writeln!(text, "{label:<10}{content}");
        };
        let mut documents = counted(self.documents, "document", "documents");
        match self.documents.saturating_sub(self.documents_met) {
            0 => {}
            more => {
                documents += &format!(
                    ", {} without any of the pages asked for",
                    HumanCount(more as u64)
                )
            }
        }
        line("read", documents);
        let mut pages = format!(
            "{} ok, {} failed",
            HumanCount(self.ok as u64),
            HumanCount(self.failed as u64)
        );
        if self.blank > 0 {
            pages += &format!(", {} blank", HumanCount(self.blank as u64));
        }
        line(
            "pages",
            format!("{pages}; {}", counted(self.words, "word", "words")),
        );
        if self.pages() > 0 {
            let mut pace = self.pace(elapsed);
            if let (Some(median), Some(p95)) = (self.page_time(0.5), self.page_time(0.95)) {
                pace += &format!(
                    "; {} a page (median), {} (95th percentile)",
                    human(median),
                    human(p95)
                );
            }
            line("pace", pace);
        }
        let parts = [
            (self.loading, "loading the model"),
            (self.prefill, "prefill"),
            (self.decode, "decode"),
            (self.waiting, "waiting for pages"),
            (self.prepare, "preparing them on other threads"),
        ];
        let parts = parts.iter().filter(|(time, _)| !time.is_zero());
        let parts: Vec<_> = parts
            .map(|&(time, what)| format!("{} {what}", human(time)))
            .collect();
        line(
            "time",
            format!("{}: {}", human(self.loading + elapsed), parts.join(", ")),
        );
        if !ignored.0.is_empty() {
            line("ignored", ignored.to_string());
        }
        for Failure {
            path,
            first_page,
            pages,
            reason,
        } in &self.failures
        {
            let place = match (first_page, pages) {
                (0, _) => String::new(),
                (page, 1) => format!(", page {page}"),
                (page, pages) => format!(", page {page} and {} more", pages - 1),
            };
            line("failed", format!("{path}{place}: {reason}"));
        }
        if self.failed > self.failures_told {
            line(
                "",
                format!(
                    "… and {} more; they are in {output}",
                    HumanCount((self.failed - self.failures_told) as u64)
                ),
            );
        }
        text
    }

    fn pages(&self) -> usize {
        self.ok + self.failed + self.blank
    }

    fn elapsed(&self) -> Duration {
        self.started
            .map(|started| started.elapsed())
            .unwrap_or_default()
    }

    fn pace(&self, elapsed: Duration) -> String {
        let pages = self.pages() as f64 / elapsed.as_secs_f64().max(1e-9);
        if pages >= 10.0 {
            format!("{pages:.0} pages/s")
        } else {
            format!("{pages:.2} pages/s")
        }
    }

    /// The time that the fraction `part` of the pages did not exceed (nearest rank).
    fn page_time(&self, part: f64) -> Option<Duration> {
        let rank = (self.page_times.len() as f64 * part).ceil() as usize;
        let mut times = self.page_times.clone();
        let index = rank.max(1) - 1;
        (index < times.len())
            .then(|| Duration::from_millis(u64::from(*times.select_nth_unstable(index).1)))
    }
}

/// The line of one page for `--verbose`.
#[must_use]
pub fn page_line(record: &Record) -> String {
    let Record {
        path, page, status, ..
    } = record;
    let place = if *page == 0 {
        path.clone()
    } else {
        format!("{path}, page {page}")
    };
    let took = human(Duration::from_millis(record.timings_ms.total));
    match (&record.error, status) {
        (Some(error), _) => format!("failed    {place}: {error}"),
        (None, Status::Blank) => format!("blank     {place}: {took}"),
        (None, _) => format!(
            "ok        {place}: {}, {took}",
            counted(record.word_count, "word", "words")
        ),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!(
        "{} {}",
        HumanCount(count as u64),
        if count == 1 { one } else { many }
    )
}

/// `0.19 s`, `12.3 s`, `4m 12s`, `3h 05m`.
fn human(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = seconds.round() as u64;
    match seconds {
        ..9.995 => format!("{seconds:.2} s"),
        ..59.95 => format!("{seconds:.1} s"),
        ..3599.5 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}
