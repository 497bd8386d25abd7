//! Guesses at what the model will read, where a page has no text layer to take them from: what Tesseract reads.
//!
//! It reads a page as soon as it is prepared, while the model reads earlier pages. A failure costs only the page's
//! draft.

use std::{
    sync::{Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use crate::{
    cancel::Cancel,
    clock,
    error::{ErrorKind, PageError, Stage, guard},
    page::{PageText, PreparedPage},
    tesseract::Tesseract,
};

/// A text layer with at least this many letters and digits is the page's text; with fewer it may be a stamp on a scan.
const MIN_LETTERS: usize = 16;
/// Maximum time for a draft, far above what a page of small print takes.
const MAX_TIME: Duration = Duration::from_secs(60);
/// After this many consecutive failures the run makes no more of these drafts.
const MAX_FAILURES: u32 = 3;

/// Reads pages with Tesseract, for drafts.
#[derive(Debug)]
pub(super) struct Drafts {
    tesseract: Tesseract,
    /// Cancelled when no more pages are needed.
    cancel: Cancel,
    /// Held for reading as long as a program runs.
    running: RwLock<()>,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    in_a_row: u32,
    /// Kinds of failure that were logged already.
    reported: Vec<ErrorKind>,
}

impl Drafts {
    pub(super) fn new(tesseract: Tesseract, cancel: Cancel) -> Self {
        Self {
            tesseract,
            cancel,
            running: RwLock::default(),
            failures: Mutex::default(),
        }
    }

    /// What Tesseract reads on `page` before the deadline, if there is anything to read that its text layer does not say.
    pub(super) fn of(&self, page: &PreparedPage, deadline: Instant) -> Option<String> {
        if page.blank || page.text.as_ref().is_some_and(says_enough) || self.are_given_up() {
            return None;
        }
        let image = page.pixels.as_deref()?;
        let deadline = deadline.min(clock::now() + MAX_TIME);
        let stopped = || self.cancel.reason().is_some();
        let _running = self.running.read();
        if stopped() {
            return None;
        }
        let read = guard(Stage::Engine, "the thread that runs tesseract", || {
            self.tesseract.read(image, &self.cancel.until(deadline))
        });
        if stopped() {
            return None;
        }
        let late = || PageError::new(ErrorKind::Timeout, Stage::Engine, "tesseract took too long");
        self.count(read.and_then(|text| text.ok_or_else(late)))
    }

    /// Waits until no program runs any more; short once cancelled.
    pub(super) fn end(&self) {
        drop(self.running.write());
    }

    fn are_given_up(&self) -> bool {
        self.failures().in_a_row >= MAX_FAILURES
    }

    /// Says a failure of each kind once.
    fn count(&self, read: Result<String, PageError>) -> Option<String> {
        let mut failures = self.failures();
        let error = match read {
            Ok(text) => {
                failures.in_a_row = 0;
                return Some(text);
            }
            Err(error) => error,
        };
        failures.in_a_row += 1;
        if failures.in_a_row == MAX_FAILURES {
            tracing::warn!(
                "--draft tesseract: {error}, {MAX_FAILURES} times in a row; no more drafts from it in this run"
            );
        } else if !failures.reported.contains(&error.kind) {
            tracing::warn!(
                "--draft tesseract: {error}; the page is read without a draft (reported once)"
            );
            failures.reported.push(error.kind);
        }
        None
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn says_enough(text: &PageText) -> bool {
    let letters = text.text.chars().filter(|c| c.is_alphanumeric());
    letters.take(MIN_LETTERS).count() == MIN_LETTERS
}
