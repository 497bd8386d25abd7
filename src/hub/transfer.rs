//! The download of one file: shown while it runs, continued when it breaks, given up when it stalls.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use hf_hub::{
    Repo,
    api::{Progress, sync::Api},
};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use super::{FetchProgress, failure::Failure};

/// How often a broken download is tried again without a byte gained.
const RETRIES: u32 = 4;
/// Between two lines of [`FetchProgress::Plain`] on one file.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Downloads files of one commit.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) api: Api,
    pub(super) repo: Repo,
    /// How long to wait for a byte.
    pub(super) patience: Duration,
    pub(super) progress: FetchProgress,
}

impl Transfer {
    /// Brings `file` into the cache. A connection that breaks is taken up again, as long as that gains something.
    pub(super) fn download(&self, file: &str) -> Result<(), Failure> {
        let mut failures = 0;
        loop {
            let mut meter = Meter::new(self.progress, file);
            let Err(failure) = self.attempt(file, &mut meter) else {
                return Ok(());
            };
            if meter.received > 0 {
                failures = 0;
            }
            if !failure.may_pass() || failures == RETRIES {
                return Err(failure);
            }
            let pause = Duration::from_secs(1 << failures);
            failures += 1;
            tracing::warn!("{file}: {failure}; continuing in {} s", pause.as_secs());
            thread::sleep(pause);
        }
    }

    /// One download, in a thread of its own: `hf-hub` sets no time limit and panics on some odd answers.
    /// A thread that stalls is left behind, with its lock; only the end of the process frees both.
    fn attempt(&self, file: &str, meter: &mut Meter) -> Result<(), Failure> {
        let (events, received) = mpsc::channel();
        let (repo, name) = (self.api.repo(self.repo.clone()), file.to_owned());
        let reporter = Reporter {
            events,
            total: None,
        };
        let worker = thread::spawn(move || repo.download_with_progress(&name, reporter));
        loop {
            match received.recv_timeout(self.patience) {
                Ok(Event::Start { total, at }) => meter.start(total, at),
                Ok(Event::Bytes(bytes)) => meter.advance(bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(Failure::Stalled(self.patience)),
            }
        }
        match worker.join() {
            Ok(result) => Ok(result.map(drop)?),
            Err(_) => Err(Failure::Answer("a redirect to nowhere".to_owned())),
        }
    }
}

/// What the downloading thread tells.
#[derive(Debug)]
enum Event {
    /// The body begins: the file's size, and the bytes of it that are here already.
    Start { total: u64, at: u64 },
    /// So many bytes more.
    Bytes(u64),
}

/// Turns `hf-hub`'s calls into [`Event`]s: its first update is the position that the download starts from.
#[derive(Debug)]
struct Reporter {
    events: Sender<Event>,
    /// The size, until the first update.
    total: Option<u64>,
}

impl Progress for Reporter {
    fn init(&mut self, size: usize, _file: &str) {
        self.total = Some(size as u64);
    }

    fn update(&mut self, size: usize) {
        let size = size as u64;
        // Nobody listens any more after a stall.
        let _ = self.events.send(match self.total.take() {
            Some(total) => Event::Start { total, at: size },
            None => Event::Bytes(size),
        });
    }

    fn finish(&mut self) {}
}

/// Shows how far a download is. The bar is hidden unless it is asked for.
#[derive(Debug)]
struct Meter {
    progress: FetchProgress,
    bar: ProgressBar,
    /// Bytes that came in this attempt.
    received: u64,
    /// When the last line was written.
    line: Instant,
}

impl Meter {
    fn new(progress: FetchProgress, file: &str) -> Self {
        let bar = match progress {
            FetchProgress::Bar => ProgressBar::no_length(),
            FetchProgress::Plain | FetchProgress::Off => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
        );
        Self {
            progress,
            bar: bar
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(file.to_owned()),
            received: 0,
            line: Instant::now(),
        }
    }

    fn start(&mut self, total: u64, at: u64) {
        self.bar.set_length(total);
        self.bar.set_position(at);
        // The bytes of an earlier run are not this one's speed.
        self.bar.reset_eta();
        if self.progress == FetchProgress::Plain {
            let (file, total) = (self.bar.message(), DecimalBytes(total));
            self.progress.say(&match at {
                0 => format!("fetching {file} ({total})"),
                at => format!(
                    "fetching {file} ({total}, continuing at {})",
                    DecimalBytes(at)
                ),
            });
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.received += bytes;
        self.bar.inc(bytes);
        if self.progress == FetchProgress::Plain && self.line.elapsed() >= LINE_EVERY {
            self.line = Instant::now();
            self.progress.say(&format!(
                "fetching {}: {} of {}",
                self.bar.message(),
                DecimalBytes(self.bar.position()),
                DecimalBytes(self.bar.length().unwrap_or_default()),
            ));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // The line stays, as whole as it got.
        self.bar.abandon();
    }
}
