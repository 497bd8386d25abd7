//! The download of one file: shows progress, resumes when the connection breaks, gives up when it stalls.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use hf_hub::{CacheRepo, Repo};
use indicatif::DecimalBytes;
use sha2::{Digest, Sha256};
use ureq::{
    Body,
    http::{
        Response, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG},
    },
};

use super::{
    failure::Failure,
    progress::FetchProgress,
    request::{Follow, Requests, location},
};
use crate::{
    backoff::Backoff,
    cancel::Cancel,
    model_files::is_plain,
    terminal::{self, printable},
    words::human,
};

/// Maximum number of retries without progress.
const RETRIES: u32 = 4;
/// The pause before the first of them.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Bytes are written in pieces of this size.
const PIECE: usize = 1 << 16;
/// Interval of the lines of [`FetchProgress::Plain`].
const LINE_EVERY: Duration = Duration::from_secs(30);
/// Interval of redrawing [`FetchProgress::Bar`].
const DRAW_EVERY: Duration = Duration::from_millis(120);

/// Downloads files of one commit.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) requests: Requests,
    /// `https://huggingface.co` or a mirror, without a trailing slash.
    pub(super) endpoint: String,
    pub(super) repo: Repo,
    pub(super) cache: CacheRepo,
    pub(super) progress: FetchProgress,
    pub(super) cancel: Cancel,
}

/// Where a file's bytes are.
struct Place {
    /// The name of its blob in the cache.
    tag: String,
    url: String,
}

impl Transfer {
    /// Fetches `file` into the cache, and returns its blob. Resumes a broken connection as long as there is progress.
    pub(super) fn download(&self, file: &str) -> Result<PathBuf, Failure> {
        let (mut failures, mut backoff) = (0, Backoff::starting_with(FIRST_PAUSE));
        loop {
            let mut meter = Meter::new(self.progress, file);
            let failure = match self.attempt(file, &mut meter) {
                Ok(blob) => return Ok(blob),
                Err(failure) => failure,
            };
            if meter.received > 0 {
                (failures, backoff) = (0, Backoff::starting_with(FIRST_PAUSE));
            }
            drop(meter);
            if !failure.may_pass() || failures == RETRIES {
                return Err(failure);
            }
            failures += 1;
            let pause = backoff.pause();
            tracing::warn!("{file}: {failure}; continuing in {} s", pause.as_secs());
            if self.cancel.sleep(pause).is_err() {
                return Err(Failure::Cancelled);
            }
        }
    }

    fn attempt(&self, file: &str, meter: &mut Meter) -> Result<PathBuf, Failure> {
        let (id, revision) = (self.repo.url(), self.repo.url_revision());
        let url = format!("{}/{id}/resolve/{revision}/{file}", self.endpoint);
        let place = self.find(&url)?;
        let blob = self.cache.blob_path(&place.tag);
        let folder = blob.parent().unwrap_or(&blob);
        fs::create_dir_all(folder).map_err(Failure::Disk)?;
        let _lock = lock(&blob.with_extension("lock"))?;
        let part = blob.with_extension("part");
        let is_resumed = part.metadata().is_ok_and(|part| part.len() > 0);
        self.fetch(&place.url, &part, meter)?;
        if is_resumed && !is_whole(&part, &place.tag).map_err(Failure::Disk)? {
            fs::remove_file(&part).map_err(Failure::Disk)?;
            return Err(Failure::Network(
                "what was here of it is damaged; it is fetched anew".to_owned(),
            ));
        }
        fs::rename(&part, &blob).map_err(Failure::Disk)?;
        Ok(blob)
    }

    /// Asks the hub where a file is. It names large files itself and then redirects to where they are.
    fn find(&self, url: &str) -> Result<Place, Failure> {
        let first_byte = Some("bytes=0-0");
        let response = self.requests.get(url, first_byte, Follow::Relative, None)?;
        let tag = header(&response, "x-linked-etag").or_else(|| header(&response, ETAG.as_str()));
        let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        let tag = tag.filter(|tag| is_plain(tag));
        Ok(Place {
            url: if response.status().is_redirection() {
                location(url, &response)?
            } else {
                url.to_owned()
            },
            tag: tag.ok_or_else(|| Failure::Answer("a file without an ETag".to_owned()))?,
        })
    }

    /// Fetches what is missing of a file.
    fn fetch(&self, url: &str, part: &Path, meter: &mut Meter) -> Result<(), Failure> {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .open(part)
            .map_err(Failure::Disk)?;
        let mut at = file.metadata().map_err(Failure::Disk)?.len();
        let response =
            match self
                .requests
                .get(url, Some(&format!("bytes={at}-")), Follow::All, None)
            {
                // All of it is here, or more: then it is fetched anew.
                Err(Failure::Status(416)) => {
                    file.set_len(0).map_err(Failure::Disk)?;
                    at = 0;
                    self.requests.get(url, None, Follow::All, None)?
                }
                response => response?,
            };
        if response.status() != StatusCode::PARTIAL_CONTENT && at > 0 {
            file.set_len(0).map_err(Failure::Disk)?;
            at = 0;
        }
        let total = total(&response, at);
        meter.start(total.unwrap_or(at), at);
        let mut body = response.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        loop {
            if self.cancel.reason().is_some() {
                return Err(Failure::Cancelled);
            }
            let read = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::of_body(error, self.requests.patience)),
            };
            file.write_all(&piece[..read]).map_err(Failure::Disk)?;
            at += read as u64;
            meter.advance(read as u64);
        }
        match total {
            Some(total) if at < total => Err(Failure::Network(format!(
                "the connection ended after {at} of {total} bytes"
            ))),
            _ => file.sync_data().map_err(Failure::Disk),
        }
    }
}

/// Whether a file is what its tag says, as far as that is a checksum. A power cut can leave zeros in a part of a download.
pub(super) fn is_whole(path: &Path, tag: &str) -> io::Result<bool> {
    if tag.len() != 64 || !tag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(true);
    }
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(format!("{:x}", hash.finalize()) == tag.to_ascii_lowercase())
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The size of the whole file, of which the answer has what follows `at`.
fn total(response: &Response<Body>, at: u64) -> Option<u64> {
    let range = header(response, CONTENT_RANGE.as_str()).and_then(|range| range.rsplit_once('/'));
    let rest = || {
        header(response, CONTENT_LENGTH.as_str())?
            .parse::<u64>()
            .ok()
    };
    range
        .and_then(|(_, total)| total.parse().ok())
        .or_else(|| rest()?.checked_add(at))
}

/// Takes the lock that the hub's own tools take too.
fn lock(path: &Path) -> Result<File, Failure> {
    let file = File::create(path).map_err(Failure::Disk)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Busy(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(Failure::Disk(error)),
    }
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
