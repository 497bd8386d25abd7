//! The one owner of the standard error: the bar or its plain stand-in, the log, and the summary at the end.
//!
//! A thread draws the bar, or says in a log how the run goes; all other lines go past it, each in one write (see
//! [`terminal`]). What nobody reads is no failure.

mod again;
mod announce;
mod bar;
mod layout;
mod log;
mod summary;
mod tally;
#[cfg(test)]
mod tests;

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub use self::{announce::RunInfo, tally::Tally};
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

/// Between two lines of a log on how the run goes.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
/// What takes so long is said in a log.
const PLAIN_FIRST: Duration = Duration::from_secs(5);
/// How often the bar is drawn anew.
const TICK: Duration = Duration::from_millis(120);

/// Shows how a run goes, and what it came to.
pub struct Progress {
    handle: ProgressHandle,
    verbosity: Verbosity,
    ticker: Option<Ticker>,
}

/// What other threads may ask of a [`Progress`]. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ProgressHandle {
    tally: Arc<Mutex<Tally>>,
    /// What is going on, and since when; none between two stages.
    stage: Arc<Mutex<Option<(Stage, Instant)>>>,
    quiet: bool,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Listing,
    Looking,
    Loading,
    Reading,
}

impl Progress {
    /// Takes over the standard error. `stdout_is_shown` says that records scroll by on the same terminal, where a bar
    /// would only be in the way.
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

    /// Sends the program's log past the bar; `RUST_LOG` chooses what is shown, else the verbosity.
    pub fn take_log(&self) {
        log::install(self.verbosity);
    }

    /// For other threads: how the run goes, and that it was asked to end.
    #[must_use]
    pub fn handle(&self) -> ProgressHandle {
        self.handle.clone()
    }

    /// The first line of a run.
    pub fn announce(&self, info: &RunInfo) {
        self.note(info);
    }

    /// Sets what there is to read: `documents`, and of each the pages of `selection` or all.
    pub fn expect(&mut self, documents: usize, selection: Option<PageSelection>) {
        *self.tally() = Tally::new(documents, selection);
    }

    /// Shows that documents are looked for while `list` runs.
    pub fn while_listing<T>(&self, list: impl FnOnce() -> T) -> T {
        self.during(Stage::Listing, list)
    }

    /// Shows that pages which are not read yet are looked for while `look` runs.
    pub fn while_looking<T>(&self, look: impl FnOnce() -> T) -> T {
        self.during(Stage::Looking, look)
    }

    /// Shows that the engine is being loaded while `load` runs.
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

    /// The first page is about to be asked for.
    pub fn start(&mut self) {
        self.tally().started = Some(Instant::now());
        self.handle.enter(Some(Stage::Reading));
    }

    /// What has been counted so far.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.handle.tally)
    }

    /// Follows how many documents and pages need not be read.
    pub fn count_skipped(&self, skipped: &Arc<SkipCounts>) {
        self.tally().skipped = Some(Arc::clone(skipped));
    }

    /// Counts a page that has been written.
    pub fn page_done(&mut self, record: &Record) {
        let mut tally = self.tally();
        tally.add(record);
        if self.verbosity >= Verbosity::Pages {
            let line = summary::page_line(&tally, record, terminal::has_colours());
            drop(tally);
            terminal::log(&line);
        }
    }

    /// Says what was found in the output and done to it.
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
                "{output} ended in {bytes} bytes of an unfinished line, which are cut off"
            ));
        }
        if !opened.index.is_empty() {
            let pages = opened.index.len();
            self.note(format_args!(
                "going on with {output}, which has {pages} pages"
            ));
        }
    }

    /// Takes the bar away and shows what the run came to; if it was asked to be quiet, only what failed.
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
            shown += "interrupted; the same command goes on from here\n";
        }
        if !shown.is_empty() {
            terminal::print(&shown);
        }
    }

    /// Writes a line to the log, unless it was asked to be quiet.
    pub fn note(&self, text: impl Display) {
        if self.verbosity > Verbosity::Quiet {
            terminal::log_line(text);
        }
    }

    /// Says what a command came to, unless it was asked to be quiet.
    pub fn report(&self, text: impl Display) {
        if self.verbosity > Verbosity::Quiet {
            terminal::print_line(text);
        }
    }
}

impl ProgressHandle {
    /// Says at once that `signal` was heard and what another one does, unless it was asked to be quiet.
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

    /// How the run goes, in one line.
    #[must_use]
    pub fn status_line(&self) -> String {
        let stage = *lock(&self.stage);
        match stage {
            Some((Stage::Reading, _)) | None => lock(&self.tally).status_line(),
            Some((stage, since)) => stage.waiting(since.elapsed()),
        }
    }

    /// Prints how the run goes.
    pub fn print_status(&self) {
        terminal::log_line(self.status_line());
    }

    fn enter(&self, stage: Option<Stage>) {
        *lock(&self.stage) = stage.map(|stage| (stage, Instant::now()));
    }

    /// Draws the bar as it is now.
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
            Some((stage, since)) => bar::waiting(stage.what(), since.elapsed(), width, tick),
        };
        terminal::set_status(&line);
    }
}

impl Stage {
    fn what(self) -> &'static str {
        match self {
            Self::Listing => "looking for documents",
            Self::Looking => "looking for what is not read yet",
            Self::Loading => "loading the model",
            Self::Reading => "reading",
        }
    }

    fn waiting(self, since: Duration) -> String {
        format!("{} ({})", self.what(), words::human(since))
    }
}

/// A panic elsewhere leaves the counters usable.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws the bar, or writes a line to the log now and then, until it is dropped.
struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(handle: ProgressHandle, has_bar: bool) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let timed_out = move |wait| stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout);
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
            stop: Some(stop),
            thread: thread.ok(),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        terminal::clear_status();
    }
}

/// Reports each stage that takes long, soon and then at every interval.
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
