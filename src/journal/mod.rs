//! The output: one line per page, whole or not at all, and the only memory of what is done.
//!
//! A journal file is locked as long as its run lives, by the operating system, so that the lock dies with the process.
//! Opening it cuts off a line that was never finished and reads which pages it has. Every record is one write; the
//! file is synced so rarely that this costs under one part in a hundred of the time. Standard output, a pipe or a device
//! is a journal without a memory.

mod hashes;
mod lock;
mod merge;
mod meta;
mod resume;
mod scan;
mod storage;
mod target;

use std::{
    fmt,
    fs::File,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

pub use self::{
    lock::Locked,
    merge::{Gaps, Merge, SettingsDisagree},
    meta::{Meta, OutputSettings, Run, SHARD, SettingsDiffer},
    resume::Resume,
    scan::{PageKey, Recorded, Scan, scan},
    target::Target,
};
use self::{
    lock::{keep, lock},
    storage::{Storage, Stream, open_stream},
};
use crate::record::Record;

/// Whoever read the output has closed it: `omnidocs … | head`.
#[derive(Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the output was closed")
    }
}

impl std::error::Error for Closed {}

/// What a run with `settings` would find done in the output, without touching it.
///
/// # Errors
/// [`SettingsDiffer`], or a broken line.
pub fn peek(target: &Target, settings: OutputSettings, restart: bool) -> Result<Recorded> {
    match target {
        Target::File(path) if path.is_file() && !restart => {
            let mut file = File::open(path)
                .with_context(|| format!("can't read --output {}", path.display()))?;
            Ok(read(path, &mut file, &Meta::new(settings))?.recorded)
        }
        _ => Ok(Recorded::default()),
    }
}

/// Reads a journal whose records were made with the settings of `meta`.
fn read(path: &Path, file: &mut File, meta: &Meta) -> Result<Scan> {
    let found = scan(file).with_context(|| {
        format!(
            "{} is damaged; repair or remove that line, or begin anew with --restart",
            path.display()
        )
    })?;
    if !found.recorded.is_empty() {
        let there = Meta::read(path)?.with_context(|| {
            let beside = Meta::path(path);
            format!(
                "{} has records, but {} is not there to tell what they were made with; \
                 put it back, name another --output, or begin anew with --restart",
                path.display(),
                beside.display()
            )
        })?;
        meta.require_same(path, &there.settings)?;
    }
    Ok(found)
}

/// The open output of a run.
pub struct Journal {
    target: Target,
    /// None for one without a memory.
    meta: Option<Meta>,
    storage: Box<dyn Storage>,
    /// Where the last whole line ends.
    end: u64,
    next_sync: Instant,
    synced: bool,
}

/// What a journal had in it when it was opened.
#[derive(Debug, Default)]
pub struct Opened {
    /// The pages that need not be done again.
    pub recorded: Recorded,
    /// Bytes of an unfinished line that were cut off.
    pub torn: u64,
    /// Where the old file went on a restart.
    pub kept_as: Option<PathBuf>,
}

impl Journal {
    /// Opens the output for records made with `settings`. With `restart`, a file that is there is kept under another
    /// name first; without, its records are read so that the run goes on where it ended.
    ///
    /// # Errors
    /// [`Locked`], [`SettingsDiffer`], a broken line, or a file that can't be made.
    pub fn open(
        target: &Target,
        settings: OutputSettings,
        restart: bool,
    ) -> Result<(Self, Opened)> {
        target.check()?;
        let stream: Box<dyn Storage> = match target {
            Target::Stdout => Box::new(Stream(io::stdout().lock())),
            Target::File(path) if target.is_stream() => Box::new(Stream(open_stream(path)?)),
            Target::File(path) => return Self::open_file(target, path, settings, restart),
        };
        Ok((Self::new(target, None, stream, 0), Opened::default()))
    }

    fn open_file(
        target: &Target,
        path: &Path,
        settings: OutputSettings,
        restart: bool,
    ) -> Result<(Self, Opened)> {
        let mut file = lock(path)?;
        let mut opened = Opened::default();
        if restart && file.metadata()?.len() > 0 {
            opened.kept_as = Some(keep(path)?);
            file = lock(path)?;
        }
        let meta = Meta::new(settings);
        let found = read(path, &mut file, &meta)?;
        if found.torn > 0 {
            file.set_len(found.end)
                .with_context(|| format!("can't repair the end of {}", path.display()))?;
        }
        meta.write(path)?;
        (opened.recorded, opened.torn) = (found.recorded, found.torn);
        let journal = Self::new(target, Some(meta), Box::new(file), found.end);
        Ok((journal, opened))
    }

    fn new(target: &Target, meta: Option<Meta>, storage: Box<dyn Storage>, end: u64) -> Self {
        Self {
            target: target.clone(),
            meta,
            storage,
            end,
            next_sync: Instant::now(),
            synced: true,
        }
    }

    /// Writes one record as one line, with a single write, so that a kill tears at most this line.
    ///
    /// # Errors
    /// [`Closed`], or the file can't be written to (a full disk): then it still ends on a whole line.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record).context("a record can't be written as JSON")?;
        line.push(b'\n');
        if let Err(error) = self.storage.append(&line) {
            if error.kind() == ErrorKind::BrokenPipe && self.target.is_stream() {
                return Err(Closed.into());
            }
            // If even this fails, the next run cuts the line off.
            let _ = self.storage.cut(self.end);
            return Err(self.explain(error));
        }
        self.end += line.len() as u64;
        self.synced = false;
        if Instant::now() >= self.next_sync {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes all records survive a power cut; puts the next automatic sync so far off that it stays cheap.
    ///
    /// # Errors
    /// The disk fails.
    pub fn sync(&mut self) -> Result<()> {
        if self.synced {
            return Ok(());
        }
        let begin = Instant::now();
        if let Err(error) = self.storage.sync() {
            return Err(self.explain(error));
        }
        self.synced = true;
        self.next_sync = Instant::now() + pause_after(begin.elapsed());
        Ok(())
    }

    /// Notes beside the file that the run has come to the end of its inputs.
    ///
    /// # Errors
    /// The folder can't be written to.
    pub fn finish(mut self) -> Result<()> {
        self.sync()?;
        match (&self.target, &mut self.meta) {
            (Target::File(path), Some(meta)) => {
                meta.finish();
                meta.write(path)
            }
            _ => Ok(()),
        }
    }

    fn explain(&self, error: io::Error) -> anyhow::Error {
        let advice = match error.kind() {
            _ if self.target.is_stream() => "what was written before has gone where it should",
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "make room and run the same command again: it goes on where it stopped"
            }
            _ => "once that is mended, run the same command again: it goes on where it stopped",
        };
        anyhow::Error::new(error).context(format!("can't write to {} ({advice})", self.target))
    }
}

/// A sync that took `cost` is not repeated before a hundred times as long has passed, nor within a second.
fn pause_after(cost: Duration) -> Duration {
    (cost * 100).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io::Write, rc::Rc};

    use super::*;
    use crate::{
        options::OutputFormat,
        page::{Document, EngineInfo, PageAnswer, PageId, PageOutcome, PageRef},
        record::PageFacts,
    };

    /// A disk that fails at one of its calls, half way through a write.
    struct Failing {
        bytes: Rc<RefCell<Vec<u8>>>,
        calls_left: usize,
        error: ErrorKind,
        /// Whether half a line can still be cut off.
        cuts: bool,
    }

    impl Failing {
        fn call(&mut self) -> io::Result<()> {
            self.calls_left = self.calls_left.checked_sub(1).ok_or(self.error)?;
            Ok(())
        }
    }

    impl Storage for Failing {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let fails = self.call();
            let written = if fails.is_ok() {
                bytes.len()
            } else {
                bytes.len() / 2
            };
            self.bytes.borrow_mut().extend(&bytes[..written]);
            fails
        }

        fn sync(&mut self) -> io::Result<()> {
            self.call()
        }

        fn cut(&mut self, length: u64) -> io::Result<()> {
            if self.cuts {
                self.bytes.borrow_mut().truncate(length as usize);
                return Ok(());
            }
            Err(self.error.into())
        }
    }

    fn record(page: u32) -> Record {
        let document = Document {
            path: "a.pdf".into(),
            size_bytes: Some(1),
            doc_id: Some("ab".repeat(32)),
            format: None,
            page_count: Some(9),
        };
        let facts = PageFacts {
            page: PageRef {
                document: document.into(),
                number: page,
            },
            size: None,
            original: None,
            prepare: Duration::ZERO,
            attempts: 1,
        };
        let outcome = PageOutcome {
            id: PageId(0),
            result: Ok(PageAnswer {
                content: "text".repeat(page as usize),
                ..PageAnswer::default()
            }),
            by: EngineInfo {
                engine: "qwen",
                model: None,
                output_format: OutputFormat::Markdown,
            },
            attempts: 1,
            size: None,
            warnings: Vec::new(),
            elapsed: Duration::ZERO,
        };
        Record::read(&facts, outcome)
    }

    /// Writes records, syncing after every second one, until the disk fails; returns how many were taken, what the run is
    /// told, and what is on the disk.
    fn write_until_it_fails(
        calls_left: usize,
        error: ErrorKind,
        cuts: bool,
    ) -> (usize, String, Vec<u8>) {
        let bytes = Rc::default();
        let disk = Failing {
            bytes: Rc::clone(&bytes),
            calls_left,
            error,
            cuts,
        };
        let mut journal = Journal::new(&Target::File("out.jsonl".into()), None, Box::new(disk), 0);
        let mut written = 0;
        let failure = loop {
            journal.next_sync =
                Instant::now() + Duration::from_secs(if written % 2 == 0 { 60 } else { 0 });
            match journal.append(&record(written + 1)) {
                Ok(()) => written += 1,
                Err(failure) => break format!("{failure:#}"),
            }
        };
        let content = bytes.borrow().clone();
        (written as usize, failure, content)
    }

    #[test]
    fn whichever_call_of_the_disk_fails_whole_lines_are_kept_and_the_run_is_told() {
        // A full disk, an input/output error, and a system that gives no reason.
        let io_error = io::Error::from_raw_os_error(5).kind();
        for error in [ErrorKind::StorageFull, io_error, ErrorKind::WriteZero] {
            for (calls_left, cuts) in (0..12).flat_map(|calls| [(calls, true), (calls, false)]) {
                let (written, failure, content) = write_until_it_fails(calls_left, error, cuts);
                assert!(
                    failure.contains("out.jsonl") && failure.contains("run the same command again"),
                    "{failure}"
                );
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&content).unwrap();
                let found = scan(&mut file).unwrap();
                assert!(!cuts || found.torn == 0, "half a line was left");
                // A sync that fails leaves its record in the file.
                assert!((written..=written + 1).contains(&found.recorded.len()));
                for line in content[..found.end as usize].split_inclusive(|&byte| byte == b'\n') {
                    serde_json::from_slice::<Record>(line).unwrap();
                }
            }
        }
    }

    #[test]
    fn syncs_cost_less_than_a_hundredth_of_the_time() {
        for cost in [0, 3, 20, 400].map(Duration::from_millis) {
            assert!(pause_after(cost) >= cost * 100 && pause_after(cost) >= Duration::from_secs(1));
        }
    }
}
