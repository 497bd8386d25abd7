//! The output: one line per page, and the only record of what is done.
//!
//! A journal file is locked while its run lives; the operating system's lock ends with the process. Opening it cuts off
//! an unfinished last line, removes what a power cut left between whole lines, and indexes its pages. Each record is one write. Syncs are spaced so that they cost less
//! than 1 % of the time. Standard output, a pipe or a device is a journal that can't be resumed.

mod differences;
mod hashes;
mod index;
mod key;
mod line;
mod lock;
mod lock_file;
mod locked;
mod merge;
mod meta;
mod originals;
mod paths;
mod place;
mod resume;
mod scan;
mod snapshot;
mod storage;
mod target;
mod totals;

use std::{
    fmt,
    fs::File,
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

pub use self::{
    index::{Entry, Index},
    key::PageKey,
    line::PageState,
    locked::Locked,
    merge::{Document, Gaps, Merge, SettingsDisagree},
    meta::{MAX_NEW_TOKENS, Meta, OutputSettings, Run, SHARD, SettingsDiffer},
    place::put_whole,
    resume::{Before, FailedBefore, Resume, Resumed, Retry},
    scan::NotAnOutput,
    snapshot::{RunState, Snapshot},
    target::Target,
    totals::Totals,
};
use self::{
    line::{Newer, begins_like_a_record},
    lock::{back_up, lock},
    lock_file::LockFile,
    originals::Originals,
    place::resolve,
    scan::Extent,
    storage::{Storage, Stream, open_stream},
};
use crate::{options::LockChoice, page::Source, record::Record};

/// The reader of the output has closed it: `omnidocs … | head`.
#[derive(Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the output was closed")
    }
}

impl std::error::Error for Closed {}

/// Maximum number of bytes that a power cut is taken to have damaged: those written since a sync.
const MAX_UNSYNCED: u64 = 64 << 20;

/// How to open an output.
#[derive(Debug, Clone, Copy, Default)]
pub struct Opening {
    /// Start over, and back up the old output.
    pub restart: bool,
    /// Pages to read again.
    pub retry: Retry,
    /// The kind of lock.
    pub lock: LockChoice,
}

/// The index that a run with `settings` would find in the output, without changing it.
///
/// # Errors
/// [`SettingsDiffer`], a broken line, or a file that is not an output.
pub fn read_only(target: &Target, settings: OutputSettings, opening: Opening) -> Result<Index> {
    let Target::File(path) = target else {
        return Ok(Index::default());
    };
    if !path.is_file() {
        return Ok(Index::default());
    }
    let mut file =
        File::open(path).with_context(|| format!("cannot read --output {}", path.display()))?;
    if opening.restart {
        require_output(path, &mut file)?;
        return Ok(Index::default());
    }
    Ok(read(path, &mut file, &Meta::new(settings), opening.retry)?.0)
}

/// Reads a journal that must have the settings of `meta`.
fn read(path: &Path, file: &mut File, meta: &Meta, retry: Retry) -> Result<(Index, Extent)> {
    let (shown, place) = (path.display(), resolve(path));
    let foreign = || format!("--output {shown} is not an omnidocs output; nothing was changed");
    let (index, extent) = match Index::read(file) {
        Ok(found) => found,
        Err(error) if error.is::<NotAnOutput>() => bail!(foreign()),
        Err(error) => {
            if let Some(newer) = error.downcast_ref::<Newer>() {
                bail!("{shown} {newer}");
            }
            return Err(error.context(format!(
                "{shown} is damaged; repair or delete that line, or start over with --restart"
            )));
        }
    };
    let there = Meta::read(&place)?;
    let has_zeros = extent.zeros || !extent.holes.is_empty();
    if index.is_empty() && has_zeros && there.is_none() {
        bail!(foreign());
    }
    if !index.is_empty() {
        let there = there.with_context(|| {
            let beside = Meta::path(&place);
            format!(
                "{shown} has records, but {}, which holds their settings, is missing; \
                 restore it, name another --output, or start over with --restart",
                beside.display()
            )
        })?;
        meta.require_same(path, &there.settings, retry)?;
    }
    Ok((index, extent))
}

/// Removes lines with zeros; the whole lines behind them stay.
fn remove_holes(path: &Path, file: &mut File, extent: &Extent) -> Result<()> {
    let shown = path.display();
    let Some(first) = extent.holes.first() else {
        return Ok(());
    };
    let start = first.place.start;
    if extent.end - start > MAX_UNSYNCED {
        bail!(
            "{shown} is damaged: line {} has zeros, too far from the end for a power cut; repair or delete that line, \
             or start over with --restart",
            first.line
        );
    }
    let mut remove = || {
        let mut rest = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.take(extent.end - start).read_to_end(&mut rest)?;
        for hole in extent.holes.iter().rev() {
            rest.drain((hole.place.start - start) as usize..(hole.place.end - start) as usize);
        }
        file.set_len(start)?;
        file.write_all(&rest)?;
        file.sync_data()
    };
    remove().with_context(|| format!("cannot remove what a power cut left in {shown}"))
}

/// Fails unless the file to back up is an output, or empty.
fn require_output(path: &Path, file: &mut File) -> Result<()> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(1 << 16).read_to_end(&mut head)?;
    let first = head.trim_ascii_start();
    let first = first.split_inclusive(|&byte| byte == b'\n').next();
    let is_one = match first {
        None => head.is_empty(),
        Some([0, ..]) => Meta::read(&resolve(path))?.is_some(),
        Some(line) => begins_like_a_record(line),
    };
    if !is_one {
        bail!(
            "--output {} is not an omnidocs output; name another file",
            path.display()
        );
    }
    Ok(())
}

/// The open output of a run.
pub struct Journal {
    target: Target,
    /// `None` for a stream.
    kept: Option<Kept>,
    storage: Box<dyn Storage>,
    originals: Originals,
    /// Where the last complete line ends.
    end: u64,
    next_sync: Instant,
    synced: bool,
    /// Why writing has stopped.
    broken: Option<String>,
}

/// State of a journal that is a file.
struct Kept {
    /// The file's path, links resolved.
    path: PathBuf,
    meta: Meta,
    /// Held until the journal is dropped.
    _lock: Option<LockFile>,
}

/// What opening a journal found.
#[derive(Debug, Default)]
pub struct Opened {
    /// The pages that have a record.
    pub index: Arc<Index>,
    /// Length in bytes of the unfinished line that was cut off.
    pub torn: u64,
    /// Number of lines with zeros, which a power cut had left and which were removed.
    pub holes: usize,
    /// The backup of a restart.
    pub kept_as: Option<PathBuf>,
}

impl Journal {
    /// Opens the output for records made with `settings`. A restart backs up an existing file first; otherwise its
    /// records are indexed so that the run resumes.
    ///
    /// # Errors
    /// [`Locked`], [`SettingsDiffer`], a broken line, or a file that can't be created or is not an output.
    pub fn open(
        target: &Target,
        settings: OutputSettings,
        opening: Opening,
    ) -> Result<(Self, Opened)> {
        target.check()?;
        let stream: Box<dyn Storage> = match target {
            Target::Stdout => Box::new(Stream(io::stdout().lock())),
            Target::File(path) if target.is_stream() => Box::new(Stream(open_stream(path)?)),
            Target::File(path) => return Self::open_file(target, path, settings, opening),
        };
        Ok((Self::new(target, None, stream, 0), Opened::default()))
    }

    fn open_file(
        target: &Target,
        path: &Path,
        settings: OutputSettings,
        opening: Opening,
    ) -> Result<(Self, Opened)> {
        let place = resolve(path);
        let (mut file, held) = lock(&place, opening.lock)?;
        let mut opened = Opened::default();
        if opening.restart && file.metadata()?.len() > 0 {
            require_output(path, &mut file)?;
            opened.kept_as = Some(back_up(&place)?);
            // The old one stays locked until the new one is.
            file = match held {
                Some(_) => lock::open(&place)?,
                None => lock(&place, opening.lock)?.0,
            };
        }
        let mut meta = Meta::new(settings);
        let (mut index, mut extent) = read(path, &mut file, &meta, opening.retry)?;
        if !extent.holes.is_empty() {
            opened.holes = extent.holes.len();
            remove_holes(path, &mut file, &extent)?;
            (index, extent) = read(path, &mut file, &meta, opening.retry)?;
        }
        meta.run.begins_at = Some(extent.end);
        meta.write(&place)?;
        if extent.torn > 0 {
            let cut = file.set_len(extent.end).and_then(|()| file.sync_data());
            cut.with_context(|| {
                format!(
                    "cannot cut off the unfinished last line of {}",
                    path.display()
                )
            })?;
        }
        (opened.index, opened.torn) = (Arc::new(index), extent.torn);
        let kept = Kept {
            path: place,
            meta,
            _lock: held,
        };
        let mut journal = Self::new(target, Some(kept), Box::new(file), extent.end);
        journal.originals = Originals::of(&opened.index);
        Ok((journal, opened))
    }

    fn new(target: &Target, kept: Option<Kept>, storage: Box<dyn Storage>, end: u64) -> Self {
        Self {
            target: target.clone(),
            kept,
            storage,
            originals: Originals::default(),
            end,
            next_sync: Instant::now(),
            synced: true,
            broken: None,
        }
    }

    /// Prepares for files with the same bytes among the inputs of this run.
    pub fn expect_copies(&mut self, sources: &[Source]) {
        self.originals.expect(sources);
    }

    /// The record that another path with the same bytes has of a page, written by this run or an earlier one.
    ///
    /// # Errors
    /// The output can't be read any more.
    pub fn original(&self, page: &PageKey) -> Result<Option<Record>> {
        let found = self.originals.find(page, self.storage.file());
        found.with_context(|| format!("cannot resume {}", self.target))
    }

    /// Writes one record as one line in a single write, so that a kill tears at most this line.
    ///
    /// # Errors
    /// [`Closed`], or the file can't be written (disk full). The file still ends on a complete line. If even that
    /// fails, nothing more is written.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        self.require_whole()?;
        let line = record.to_line().context("cannot write a record as JSON")?;
        if let Err(error) = self.storage.append(&line) {
            if error.kind() == ErrorKind::BrokenPipe && self.target.is_stream() {
                return Err(Closed.into());
            }
            // The next run cuts the line off if this fails; another line behind it would be lost with it.
            if let Err(not_cut) = self.storage.cut(self.end) {
                self.broken = Some(format!(
                    "ends in half a record, which could not be cut off: {not_cut}"
                ));
            }
            return Err(self.explain(error));
        }
        let noted = self
            .originals
            .note(record, &line, self.end, self.kept.is_none());
        noted.context("cannot keep a record in a temporary file, for copies of its document; set TMPDIR to a folder with room")?;
        self.end += line.len() as u64;
        self.synced = false;
        if Instant::now() >= self.next_sync {
            self.sync()?;
        }
        Ok(())
    }

    /// Syncs all records to disk, and schedules the next automatic sync.
    ///
    /// # Errors
    /// The disk failed, or another program removed, replaced or changed the file.
    pub fn sync(&mut self) -> Result<()> {
        self.require_whole()?;
        if !self.synced {
            let begin = Instant::now();
            if let Err(error) = self.storage.sync() {
                // What was written before may be lost, and no later sync would say so.
                self.broken = Some(format!(
                    "may have lost records, as its disk failed: {error}"
                ));
                return Err(self.explain(error));
            }
            self.synced = true;
            self.next_sync = Instant::now() + pause_after(begin.elapsed());
        }
        let kept = self.kept.as_ref();
        self.broken = kept.and_then(|kept| self.storage.lost(&kept.path, self.end));
        self.require_whole()
    }

    /// Fails if the file is not reliable any more.
    fn require_whole(&self) -> Result<()> {
        match &self.broken {
            None => Ok(()),
            Some(why) => bail!(
                "{} {why}; writing has stopped. Find the cause, then run the same command again: it reads the missing pages",
                self.target
            ),
        }
    }

    /// Records in the settings file that the run reached the end of its inputs.
    ///
    /// # Errors
    /// As [`Journal::sync`], or the folder is not writable.
    pub fn finish(mut self) -> Result<()> {
        self.sync()?;
        match &mut self.kept {
            Some(Kept { path, meta, .. }) => {
                meta.finish();
                meta.write(path)
            }
            None => Ok(()),
        }
    }

    fn explain(&self, error: io::Error) -> anyhow::Error {
        let advice = match error.kind() {
            _ if self.target.is_stream() => "what was written before is complete",
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "free some space and run the same command again to resume"
            }
            _ => "fix that and run the same command again to resume",
        };
        anyhow::Error::new(error).context(format!("cannot write to {} ({advice})", self.target))
    }
}

/// The pause after a sync that took `cost`: a hundred times as long, at least a second.
fn pause_after(cost: Duration) -> Duration {
    (cost * 100).max(Duration::from_secs(1))
}

#[cfg(test)]
mod power_cuts;
#[cfg(test)]
mod tests;
