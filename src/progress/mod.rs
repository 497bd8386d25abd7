//! The one owner of the standard error: the bar or its plain stand-in, the log, and the summary at the end.

mod summary;
mod tally;

use std::{
    fmt::Display,
    io::{self, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::EnvFilter;

pub use self::tally::Tally;
use crate::{
    config::Verbosity,
    discover::Ignored,
    exit::Exit,
    journal::{Opened, Target},
    options::ProgressChoice,
    page_selection::PageSelection,
    record::Record,
};

const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
/// How often what spins is drawn anew.
const TICK: Duration = Duration::from_millis(120);
/// Parts that the bar counts for each document.
const PARTS: f64 = 1000.0;

/// Shows how a run goes, and what it came to.
pub struct Progress {
    tally: Arc<Mutex<Tally>>,
    /// Hidden where no bar is wanted; all other output goes through its `suspend`.
    bar: ProgressBar,
    plain: bool,
    heartbeat: Option<Sender<()>>,
    verbosity: Verbosity,
}

impl Progress {
    /// Takes over the standard error. `stdout_is_shown` says that records scroll by on the same terminal, where a bar
    /// would only be in the way.
    #[must_use]
    pub fn new(choice: ProgressChoice, verbosity: Verbosity, stdout_is_shown: bool) -> Self {
        let wanted = verbosity > Verbosity::Quiet && choice != ProgressChoice::Off;
        let target = match choice {
            ProgressChoice::Bar => ProgressDrawTarget::stderr(),
            ProgressChoice::Auto if !stdout_is_shown => ProgressDrawTarget::stderr(),
            _ => ProgressDrawTarget::hidden(),
        };
        let has_bar = wanted && !target.is_hidden();
        let bar = if has_bar {
            ProgressBar::with_draw_target(None, target)
        } else {
            ProgressBar::hidden()
        };
        Self {
            tally: Arc::default(),
            bar,
            plain: wanted && !has_bar,
            heartbeat: None,
            verbosity,
        }
    }

    /// Sends the program's log past the bar; `RUST_LOG` chooses what is shown, else the verbosity.
    pub fn take_log(&self) {
        let level = match self.verbosity {
            Verbosity::Quiet => "error",
            Verbosity::Normal => "warn",
            Verbosity::Pages => "omnidocs=info,warn",
            Verbosity::Debug => "omnidocs=debug,info",
        };
        let bar = self.bar.clone();
        let log = tracing_subscriber::fmt()
            .with_env_filter(
                EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level)),
            )
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .with_writer(move || PastBar(bar.clone()));
        // A log that was set up before stays as it is.
        let _ = log.try_init();
    }

    /// Sets what there is to read: `documents`, and of each the pages of `selection` or all.
    pub fn expect(&mut self, documents: usize, selection: Option<PageSelection>) {
        *self.tally() = Tally::new(documents, selection);
    }

    /// Shows that pages which are not read yet are looked for while `look` runs.
    pub fn while_looking<T>(&self, look: impl FnOnce() -> T) -> T {
        self.spin(style(
            "{spinner} {elapsed} looking for what is not read yet",
        ));
        look()
    }

    /// Shows that the engine is being loaded while `load` runs.
    pub fn while_loading<T>(&mut self, load: impl FnOnce() -> T) -> T {
        self.spin(style("{spinner} {elapsed} loading the model"));
        let started = Instant::now();
        let loaded = load();
        self.tally().loading = started.elapsed();
        loaded
    }

    fn spin(&self, style: ProgressStyle) {
        self.bar.set_style(style);
        self.bar.reset_elapsed();
        self.bar.enable_steady_tick(TICK);
    }

    /// The first page is about to be asked for.
    pub fn start(&mut self) {
        let mut tally = self.tally();
        tally.started = Some(Instant::now());
        self.bar.set_length((tally.documents as f64 * PARTS) as u64);
        drop(tally);
        self.spin(style("{spinner} {elapsed} [{bar:24}] {wide_msg}").progress_chars("━╸─"));
        self.show_state();
        if self.plain {
            self.heartbeat = Some(start_heartbeat(
                Arc::clone(&self.tally),
                PLAIN_INTERVAL,
                |state| {
                    let _ = writeln!(io::stderr(), "{state}");
                },
            ));
        }
    }

    /// What has been counted so far.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// Counts a page that has been written.
    pub fn page_done(&mut self, record: &Record) {
        self.tally().add(record);
        self.show_state();
        if self.verbosity >= Verbosity::Pages {
            self.say(summary::page_line(record));
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

    /// Takes the bar away and shows what the run came to.
    pub fn finish(mut self, ignored: &Ignored, output: &Target, exit: Exit) {
        self.heartbeat = None;
        self.bar.finish_and_clear();
        self.tally().interrupted = matches!(exit, Exit::Interrupted(_));
        if self.verbosity > Verbosity::Quiet {
            let summary = self.tally().summary(ignored, output);
            self.say(summary.trim_end());
            if let (Exit::Interrupted(_), Target::File(_)) = (exit, output) {
                self.say("interrupted; the same command goes on from here");
            }
        }
    }

    fn show_state(&self) {
        if !self.bar.is_hidden() {
            let tally = self.tally();
            self.bar
                .set_position((tally.documents_read().1 * PARTS) as u64);
            self.bar.set_message(tally.state());
        }
    }

    /// Tells something on the standard error, unless it was asked to be quiet.
    pub fn note(&self, text: impl Display) {
        if self.verbosity > Verbosity::Quiet {
            self.say(text);
        }
    }

    fn say(&self, text: impl Display) {
        // A closed standard error must not end the run.
        let _ = writeln!(PastBar(self.bar.clone()), "{text}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A panic elsewhere leaves the counters usable.
fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells how the run goes at every interval, until the sender is dropped.
fn start_heartbeat(
    tally: Arc<Mutex<Tally>>,
    interval: Duration,
    mut tell: impl FnMut(String) + Send + 'static,
) -> Sender<()> {
    let (stop, stopped) = mpsc::channel::<()>();
    thread::spawn(move || {
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            let state = lock(&tally).state();
            tell(state);
        }
    });
    stop
}

/// The standard error, with the bar out of the way.
struct PastBar(ProgressBar);

impl Write for PastBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .suspend(|| io::stderr().write_all(bytes))
            .map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_tells_the_state_until_it_is_stopped() {
        let (told, lines) = mpsc::channel();
        let stop = start_heartbeat(Arc::default(), Duration::from_millis(1), move |line| {
            let _ = told.send(line);
        });
        assert_eq!(lines.recv().unwrap(), "0 pages done · 0/0 documents");
        drop(stop);
        // The thread ends, and its end of the channel with it.
        assert!(lines.into_iter().count() < 1_000_000);
    }
}
