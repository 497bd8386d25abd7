//! The state of a run as other threads see it: its stage and its counters, as a line or as an object.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{bar, events, tally::Tally};
use crate::{terminal, words};

/// A handle on a [`Progress`](super::Progress) for other threads. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ProgressHandle {
    pub(super) tally: Arc<Mutex<Tally>>,
    /// The current stage and its start; `None` between stages.
    pub(super) stage: Arc<Mutex<Option<(Stage, Instant)>>>,
    /// Documents found so far.
    pub(super) listed: Arc<AtomicUsize>,
    pub(super) quiet: bool,
}

/// The stages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Listing,
    Looking,
    Loading,
    Reading,
}

impl ProgressHandle {
    /// Reports at once that `signal` was received and what a second one does, unless `--quiet`.
    pub fn interrupted(&self, signal: u8) {
        if self.quiet {
            return;
        }
        terminal::log_line(self.format_interruption(signal));
    }

    pub(super) fn format_interruption(&self, signal: u8) -> String {
        const SIGINT: u8 = 2;
        let (what, another) = match signal {
            SIGINT => ("interrupted", "press Ctrl-C again to stop now"),
            _ => ("asked to end", "a second signal stops at once"),
        };
        let doing = match lock(&self.tally).in_hand() {
            pages if self.is_reading() && pages > 0 => {
                format!("finishing the pages in hand ({pages})")
            }
            _ => "ending".to_owned(),
        };
        format!("{what}: {doing}; {another}")
    }

    /// One line of progress.
    #[must_use]
    pub fn status_line(&self) -> String {
        let stage = *lock(&self.stage);
        match stage {
            Some((Stage::Reading, _)) | None => lock(&self.tally).status_line(),
            Some((stage, since)) => {
                format!(
                    "{} ({})",
                    self.describe(stage),
                    words::human(since.elapsed())
                )
            }
        }
    }

    /// Prints one line of progress, or an object.
    pub fn print_status(&self) {
        if terminal::speaks_in_objects() {
            self.print_object();
        } else {
            terminal::log_line(self.status_line());
        }
    }

    /// Prints the progress as an object.
    pub(super) fn print_object(&self) {
        let stage = lock(&self.stage).map(|(stage, _)| stage.name());
        let message = self.status_line();
        let tally = lock(&self.tally);
        let status = events::Status::new(stage, message, &tally);
        terminal::print_object("status", &status);
    }

    pub(super) fn enter(&self, stage: Option<Stage>) {
        *lock(&self.stage) = stage.map(|stage| (stage, Instant::now()));
        if stage.is_some() && !self.quiet && terminal::speaks_in_objects() {
            self.print_object();
        }
    }

    /// Starts the clock.
    pub(super) fn start_reading(&self) {
        lock(&self.tally).started = Some(Instant::now());
        self.enter(Some(Stage::Reading));
    }

    pub(super) fn is_reading(&self) -> bool {
        matches!(*lock(&self.stage), Some((Stage::Reading, _)))
    }

    fn describe(&self, stage: Stage) -> String {
        let what = match stage {
            Stage::Listing => {
                let found = words::number(self.listed.load(Ordering::Relaxed));
                return format!("looking for documents: {found} found");
            }
            Stage::Looking => "looking for what is not read yet",
            Stage::Loading => "loading the model",
            Stage::Reading => "reading",
        };
        what.to_owned()
    }

    /// Redraws the bar.
    pub(super) fn draw(&self, tick: usize) {
        // Drawn with the lock held, so that nothing is drawn once a stage has ended.
        let stage = lock(&self.stage);
        let width = terminal::width();
        let line = match *stage {
            None => return,
            Some((Stage::Reading, _)) => {
                let tally = lock(&self.tally);
                let state = tally.state_after(tally.elapsed());
                drop(tally);
                state.fitted(width, tick, terminal::has_colours())
            }
            Some((stage, since)) => {
                bar::waiting(&self.describe(stage), since.elapsed(), width, tick)
            }
        };
        terminal::set_status(&line);
    }
}

impl Stage {
    /// Its name in objects.
    fn name(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Looking => "looking",
            Self::Loading => "loading",
            Self::Reading => "reading",
        }
    }
}

/// Ignores poisoning: a panic elsewhere leaves the counters usable.
pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
