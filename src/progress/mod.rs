//! The one owner of stderr: the bar or plain progress lines, the log, and the summary.
//!
//! A thread draws the bar or logs progress. All other lines are printed past it, each in one write (see [`terminal`]).
//! A closed stderr is not an error.

mod again;
mod announce;
mod bar;
mod log;
mod summary;
mod tally;
#[cfg(test)]
mod tests;

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub use self::{announce::RunInfo, tally::Tally};
use crate::{
    cancel::{Cancel, Reason},
    discover::Ignored,
    exit::Exit,
    journal::{Opened, Target},
    options::{ProgressChoice, Verbosity},
    page_selection::PageSelection,
    prepare::SkipCounts,
    record::Record,
    terminal, words,
};

/// Interval of plain progress lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
/// Stages that take this long are logged.
const PLAIN_FIRST: Duration = Duration::from_secs(5);
/// Interval of redrawing the bar.
const TICK: Duration = Duration::from_millis(120);

/// Shows the progress and the summary of a run.
pub struct Progress {
    handle: ProgressHandle,
    verbosity: Verbosity,
    ticker: Option<Ticker>,
}

/// A handle on a [`Progress`] for other threads. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ProgressHandle {
    tally: Arc<Mutex<Tally>>,
    /// The current stage and its start; `None` between stages.
    stage: Arc<Mutex<Option<(Stage, Instant)>>>,
    /// Documents found so far.
    listed: Arc<AtomicUsize>,
    quiet: bool,
}

/// The stages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Listing,
    Looking,
    Loading,
    Reading,
}

impl Progress {
    /// Takes over stderr. `stdout_is_shown`: records scroll by on the same terminal, where a bar would be in the way.
    #[must_use]
    pub fn new(choice: ProgressChoice, verbosity: Verbosity, stdout_is_shown: bool) -> Self {
        let wanted = verbosity > Verbosity::Quiet && choice != ProgressChoice::Off;
        let has_bar = terminal::can_redraw()
            && match choice {
                ProgressChoice::Bar => true,
                ProgressChoice::Auto => !stdout_is_shown,
                ProgressChoice::Plain | ProgressChoice::Off => false,
            };
        let handle = ProgressHandle {
            quiet: verbosity == Verbosity::Quiet,
            ..ProgressHandle::default()
        };
        let ticker = wanted.then(|| Ticker::start(handle.clone(), has_bar));
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

    /// Prints the first line of a run.
    pub fn announce(&self, info: &RunInfo) {
        self.note(info);
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
        self.tally().started = Some(Instant::now());
        self.handle.enter(Some(Stage::Reading));
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
        if self.verbosity >= Verbosity::Pages {
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
        let mut lines = if self.verbosity > Verbosity::Quiet {
            tally.summary(ignored, output)
        } else {
            tally.failures(output)
        };
        if self.verbosity > Verbosity::Quiet
            && tally.failed() > 0
            && !tally.interrupted
            && !output.is_stream()
        {
            lines.add_whole("again", again::command());
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

impl ProgressHandle {
    /// Reports at once that `signal` was received and what a second one does, unless `--quiet`.
    pub fn interrupted(&self, signal: u8) {
        if self.quiet {
            return;
        }
        terminal::log_line(self.format_interruption(signal));
    }

    fn format_interruption(&self, signal: u8) -> String {
        const SIGINT: u8 = 2;
        let (what, another) = match signal {
            SIGINT => ("interrupted", "press Ctrl-C again to stop now"),
            _ => ("asked to end", "a second signal stops at once"),
        };
        let reading = matches!(*lock(&self.stage), Some((Stage::Reading, _)));
        let doing = match lock(&self.tally).in_hand() {
            pages if reading && pages > 0 => format!("finishing the pages in hand ({pages})"),
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

    /// Prints one line of progress.
    pub fn print_status(&self) {
        terminal::log_line(self.status_line());
    }

    fn enter(&self, stage: Option<Stage>) {
        *lock(&self.stage) = stage.map(|stage| (stage, Instant::now()));
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
    fn draw(&self, tick: usize) {
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

/// Ignores poisoning: a panic elsewhere leaves the counters usable.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that draws the bar, or logs progress at intervals, until dropped.
struct Ticker {
    stop: Cancel,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(handle: ProgressHandle, has_bar: bool) -> Self {
        let stop = Cancel::default();
        let stopped = stop.clone();
        let timed_out = move |wait| stopped.sleep(wait).is_ok();
        // Without a thread, a run is not shown.
        let thread = thread::Builder::new().spawn(move || {
            if has_bar {
                let mut tick = 0;
                while timed_out(TICK) {
                    handle.draw(tick);
                    tick += 1;
                }
            } else {
                report_now_and_then(&handle, timed_out, terminal::log_line);
            }
        });
        Self {
            stop,
            thread: thread.ok(),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.cancel(Reason::Stopped);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        terminal::clear_status();
    }
}

/// Reports a slow stage soon, then at every interval.
fn report_now_and_then(
    handle: &ProgressHandle,
    timed_out: impl Fn(Duration) -> bool,
    report: impl Fn(String),
) {
    let mut reported: Option<(Instant, Instant)> = None;
    while timed_out(Duration::from_millis(500)) {
        let Some((stage, since)) = *lock(&handle.stage) else {
            continue;
        };
        let now = Instant::now();
        let due = match reported {
            Some((of, last)) if of == since => last + PLAIN_INTERVAL,
            // The first pages tell more than the first seconds.
            _ if stage == Stage::Reading => since + PLAIN_INTERVAL,
            _ => since + PLAIN_FIRST,
        };
        if now >= due {
            reported = Some((since, now));
            report(handle.status_line());
        }
    }
}
