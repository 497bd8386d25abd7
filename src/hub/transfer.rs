//! The download of one file: shows progress, resumes when the connection breaks, gives up when it stalls.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use hf_hub::{
    Repo,
    api::{Progress, sync::Api},
};
use indicatif::DecimalBytes;

use super::{failure::Failure, progress::FetchProgress};
use crate::{
    terminal::{self, printable},
    words::human,
};

/// Maximum number of retries without progress.
const RETRIES: u32 = 4;
/// Interval of the lines of [`FetchProgress::Plain`].
const LINE_EVERY: Duration = Duration::from_secs(30);
/// Interval of redrawing [`FetchProgress::Bar`].
const DRAW_EVERY: Duration = Duration::from_millis(120);

/// Downloads files of one commit.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) api: Api,
    pub(super) repo: Repo,
    /// Timeout without data.
    pub(super) patience: Duration,
    pub(super) progress: FetchProgress,
}

impl Transfer {
    /// Fetches `file` into the cache. Resumes a broken connection as long as there is progress.
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

    /// One download, in a separate thread: `hf-hub` has no timeout and panics on some odd answers. A stalled thread is
    /// abandoned with its lock; both end with the process.
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
            Err(_) => Err(Failure::Answer("a redirect without a location".to_owned())),
        }
    }
}

/// Events of the downloading thread.
#[derive(Debug)]
enum Event {
    /// The body starts: the file's size, and the bytes present already.
    Start { total: u64, at: u64 },
    /// This many bytes arrived.
    Bytes(u64),
}

/// Turns `hf-hub`'s calls into [`Event`]s. Its first update is the position from which the download starts.
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

/// Shows the progress of a download.
#[derive(Debug)]
struct Meter {
    progress: FetchProgress,
    file: String,
    /// Bytes: total, present, and present at the start.
    total: u64,
    at: u64,
    began_at: u64,
    began: Instant,
    /// Bytes received in this attempt.
    received: u64,
    /// When progress was last shown.
    shown: Instant,
}

impl Meter {
    fn new(progress: FetchProgress, file: &str) -> Self {
        Self {
            progress,
            file: file.to_owned(),
            total: 0,
            at: 0,
            began_at: 0,
            began: Instant::now(),
            received: 0,
            shown: Instant::now(),
        }
    }

    fn start(&mut self, total: u64, at: u64) {
        // The bytes of an earlier run are not this one's speed.
        (self.total, self.at, self.began_at, self.began) = (total, at, at, Instant::now());
        match self.progress {
            FetchProgress::Off => {}
            FetchProgress::Bar => self.draw(),
            FetchProgress::Plain => {
                let from = match at {
                    0 => String::new(),
                    at => format!(", continuing at {}", DecimalBytes(at)),
                };
                let (file, total) = (&self.file, DecimalBytes(total));
                terminal::log_line(format_args!("fetching {file} ({total}{from})"));
            }
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.received += bytes;
        self.at += bytes;
        let every = match self.progress {
            FetchProgress::Off => return,
            FetchProgress::Bar => DRAW_EVERY,
            FetchProgress::Plain => LINE_EVERY,
        };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        match self.progress {
            FetchProgress::Bar => self.draw(),
            _ => terminal::log_line(format_args!(
                "fetching {}: {} of {}",
                self.file,
                DecimalBytes(self.at),
                DecimalBytes(self.total)
            )),
        }
    }

    fn draw(&self) {
        let percent = self.at as f64 / self.total.max(1) as f64 * 100.0;
        let speed = (self.at - self.began_at) as f64 / self.began.elapsed().as_secs_f64().max(0.1);
        let left = (self.total.saturating_sub(self.at)) as f64 / speed.max(1.0);
        let line = format!(
            "{percent:3.0}% · {} left · {}/{} · {}/s · fetching {}",
            human(Duration::from_secs_f64(left)),
            DecimalBytes(self.at),
            DecimalBytes(self.total),
            DecimalBytes(speed as u64),
            printable(&self.file)
        );
        let width = terminal::width() - 1;
        terminal::set_status(&console::truncate_str(&line, width, "…"));
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.progress == FetchProgress::Bar {
            terminal::clear_status();
            // A line stays, as whole as the file got.
            if self.total > 0 {
                let (file, at, total) =
                    (&self.file, DecimalBytes(self.at), DecimalBytes(self.total));
                terminal::log_line(format_args!("fetched {file}: {at} of {total}"));
            }
        }
    }
}
