//! The one owner of stderr: the bar or plain progress lines, the log, and the summary.
//!
//! A thread draws the bar or logs progress. All other lines are printed past it, each in one write (see [`terminal`]).
//! A closed stderr is not an error.

mod announce;
mod bar;
mod events;
mod gpu_watch;
mod gpus;
mod handle;
mod log;
mod next;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod ticker;

use std::{
    fmt::Display,
    sync::{Arc, MutexGuard, atomic::AtomicUsize},
    time::Instant,
};

pub use self::{announce::RunInfo, handle::ProgressHandle, tally::Tally};
use self::{
    gpus::GpuUse,
    handle::{Stage, lock},
    ticker::{Shown, Ticker},
};
use crate::{
    discover::Ignored,
    exit::Exit,
    journal::{Opened, Target},
    options::{ProgressChoice, Verbosity},
    page_selection::PageSelection,
    prepare::SkipCounts,
    record::Record,
    terminal, words,
};

/// Shows the progress and the summary of a run.
pub struct Progress {
    handle: ProgressHandle,
    verbosity: Verbosity,
    ticker: Option<Ticker>,
}

impl Progress {
    /// Takes over stderr. `stdout_is_shown`: records scroll by on the same terminal, where a bar would be in the way.
    #[must_use]
    pub fn new(choice: ProgressChoice, verbosity: Verbosity, stdout_is_shown: bool) -> Self {
        let is_quiet = verbosity == Verbosity::Quiet;
        let shown = match choice {
            ProgressChoice::Off => Shown::Nothing,
            ProgressChoice::Json => Shown::Objects,
            ProgressChoice::Bar if terminal::can_redraw() => Shown::Bar,
            ProgressChoice::Auto if terminal::can_redraw() && !stdout_is_shown => Shown::Bar,
            ProgressChoice::Auto | ProgressChoice::Bar | ProgressChoice::Plain => Shown::Lines,
        };
        let handle = ProgressHandle {
            quiet: is_quiet,
            ..ProgressHandle::default()
        };
        let ticker = (!is_quiet).then(|| Ticker::start(handle.clone(), shown));
        Self {
            handle,
            verbosity,
            ticker,
        }
    }

    /// Prints the log past the bar. `RUST_LOG` sets the level, else the verbosity.
    pub fn take_log(&self) {
        log::install(self.verbosity);
    }

    /// A handle for other threads.
    #[must_use]
    pub fn handle(&self) -> ProgressHandle {
        self.handle.clone()
    }

    /// Prints the first line of a run, and watches its GPUs from now on.
    pub fn announce(&self, info: &RunInfo) {
        let gpus = info.devices.iter().filter(|name| name.starts_with("cuda"));
        let gpus = gpus.map(|name| GpuUse::new(name)).collect();
        let mut tally = self.tally();
        (tally.gpus, tally.batch_size) = (gpus, info.batch_size);
        drop(tally);
        if !terminal::speaks_in_objects() {
            self.note(info);
        } else if self.verbosity > Verbosity::Quiet {
            terminal::print_object("start", &events::Start::new(info));
        }
    }

    /// Sets the number of documents, and the pages selected in each (all if `None`).
    pub fn expect(&mut self, documents: usize, selection: Option<PageSelection>) {
        *self.tally() = Tally::new(documents, selection);
    }

    /// Shows the stage of listing documents while `list` runs, which counts what it finds.
    pub fn while_listing<T>(&self, list: impl FnOnce(&AtomicUsize) -> T) -> T {
        self.during(Stage::Listing, || list(&self.handle.listed))
    }

    /// Shows the stage of looking for unread pages while `look` runs.
    pub fn while_looking<T>(&self, look: impl FnOnce() -> T) -> T {
        self.during(Stage::Looking, look)
    }

    /// Shows the stage of loading the engine while `load` runs.
    pub fn while_loading<T>(&mut self, load: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let loaded = self.during(Stage::Loading, load);
        self.tally().loading = started.elapsed();
        loaded
    }

    fn during<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        self.handle.enter(Some(stage));
        let done = work();
        self.handle.enter(None);
        if self.ticker.is_some() {
            terminal::clear_status();
        }
        done
    }

    /// Starts the clock: the first page is about to be requested.
    pub fn start(&mut self) {
        self.handle.start_reading();
    }

    /// The counters.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.handle.tally)
    }

    /// Sets the live counts of skipped documents and pages.
    pub fn count_skipped(&self, skipped: &Arc<SkipCounts>) {
        self.tally().skipped = Some(Arc::clone(skipped));
    }

    /// Counts a page whose record is written.
    pub fn page_done(&self, record: &Record) {
        let mut tally = self.tally();
        tally.add(record);
        if terminal::speaks_in_objects() {
            if self.verbosity > Verbosity::Quiet {
                terminal::print_object("page", &events::Written::new(record, &tally));
            }
        } else if self.verbosity >= Verbosity::Pages {
            let line = summary::page_line(&tally, record, terminal::has_colours());
            drop(tally);
            terminal::log(&line);
        }
    }

    /// Reports what opening the output found and changed.
    pub fn opened(&self, opened: &Opened, output: &Target) {
        if let Some(kept) = &opened.kept_as {
            self.note(format_args!(
                "the old {output} is kept as {}",
                kept.display()
            ));
        }
        if opened.torn > 0 {
            let bytes = opened.torn;
            self.note(format_args!(
                "{output} ended in an unfinished line of {bytes} bytes, which is cut off"
            ));
        }
        if opened.holes > 0 {
            let lines = words::counted(opened.holes, "line", "lines");
            self.note(format_args!(
                "{output} had {lines} with zeros, as a power cut leaves them; they are removed, and those pages read again"
            ));
        }
        if !opened.index.is_empty() {
            let records = opened.index.records();
            let pages: usize = records
                .map(|record| record.pages(None).max(1) as usize)
                .sum();
            self.note(format_args!("resuming {output}, which has {pages} pages"));
        }
    }

    /// Removes the bar and prints the summary; with `--quiet` only the failures.
    pub fn finish(mut self, ignored: &Ignored, output: &Target, exit: Exit) {
        self.ticker = None;
        let mut tally = self.tally();
        tally.interrupted = matches!(exit, Exit::Interrupted(_));
        let next = match output {
            Target::File(path) if !tally.interrupted => match tally.failed() {
                0 if tally.has_text() => next::export(path),
                0 => None,
                _ => Some(next::retry()),
            },
            _ => None,
        };
        if terminal::speaks_in_objects() {
            let summary = events::Summary::new(&tally, output, exit, next.as_deref());
            terminal::print_object("summary", &summary);
            return;
        }
        let mut lines = if self.verbosity > Verbosity::Quiet {
            tally.summary(ignored, output)
        } else {
            tally.failures(output)
        };
        if let Some(next) = next.filter(|_| self.verbosity > Verbosity::Quiet) {
            let label = if tally.failed() > 0 { "again" } else { "next" };
            lines.add_whole(label, next);
        }
        drop(tally);
        let width = terminal::is_terminal().then(terminal::width);
        let mut shown = lines.render(width, terminal::has_colours());
        if let (Exit::Interrupted(_), Target::File(_)) = (exit, output)
            && self.verbosity > Verbosity::Quiet
        {
            shown += "interrupted; run the same command again to resume\n";
        }
        if !shown.is_empty() {
            terminal::print(&shown);
        }
    }

    /// Logs a line, unless `--quiet`.
    pub fn note(&self, text: impl Display) {
        if self.verbosity > Verbosity::Quiet {
            terminal::log_line(text);
        }
    }

    /// Prints the result of a command, unless `--quiet`.
    pub fn report(&self, text: impl Display) {
        if self.verbosity > Verbosity::Quiet {
            terminal::print_line(text);
        }
    }
}
