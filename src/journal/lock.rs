//! Locking a journal, and backing up one that is restarted.
//!
//! The lock is the operating system's: it ends with its process. For file systems without locks, `--lock file` uses a
//! [`LockFile`].

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    lock_file::LockFile,
    locked::Locked,
    meta::Meta,
    place::{beside, folder_of, sync_folder},
};
use crate::{cancel::Cancel, options::LockChoice};

/// Opens the file and locks it until the file is closed, or the lock file dropped.
pub(super) fn lock(path: &Path, choice: LockChoice) -> Result<(File, Option<LockFile>)> {
    match choice {
        LockChoice::File => {
            let held = LockFile::take(path)?;
            let file = open(path)?;
            sync(path)?;
            Ok((file, Some(held)))
        }
        LockChoice::Os => {
            LockFile::require_none(path)?;
            Ok((until_it_is_there(path, || open_locked(path))?, None))
        }
    }
}

/// Opens a file to read or replace it, with a shared lock against writers. On file systems without locks it stays
/// unlocked: no run could have locked it either.
pub(super) fn lock_shared(path: &Path) -> Result<File> {
    LockFile::require_none(path)?;
    until_it_is_there(path, || {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        match patiently(|| file.try_lock_shared()) {
            Err(TryLockError::WouldBlock) => Err(Locked::of(path).into()),
            _ => Ok(file),
        }
    })
}

/// Whether a run is writing to the output at `path`.
pub(super) fn is_locked(path: &Path) -> bool {
    lock_shared(path).is_err_and(|error| error.is::<Locked>())
}

/// How long a killed run's lock may outlive it: a child process that is just being started holds the parent's files
/// until `exec`.
const LOCK_GRACE: Duration = Duration::from_millis(500);

/// Retries the lock for [`LOCK_GRACE`].
fn patiently(try_lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    let grace = Cancel::default().within(LOCK_GRACE);
    loop {
        match try_lock() {
            Err(TryLockError::WouldBlock) if grace.reason().is_none() => {
                let _ = grace.sleep(Duration::from_millis(10));
            }
            tried => return tried,
        }
    }
}

/// Maximum number of attempts to open a file that is replaced between opening and locking. Hitting that once is rare;
/// if it never ends, the file system reports unreliable inodes.
const OPENINGS: usize = 10;

/// Opens and locks the file, again if the path names another file by then.
fn until_it_is_there(path: &Path, open: impl Fn() -> Result<File>) -> Result<File> {
    for _ in 1..OPENINGS {
        let file = open()?;
        if is_at(&file, path) {
            return Ok(file);
        }
    }
    open()
}

/// Whether the open file is the one at this path now.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (file.metadata(), fs::metadata(path)) {
        (Ok(opened), Ok(there)) => (opened.dev(), opened.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// On other systems an open file keeps its path.
#[cfg(not(unix))]
pub(super) fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// Opens the file for appending.
pub(super) fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write to --output {}", path.display()))
}

fn open_locked(path: &Path) -> Result<File> {
    let file = open(path)?;
    match patiently(|| file.try_lock()) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Locked::of(path).into());
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| {
                format!(
                    "cannot lock --output {}: its file system has no locks; use --lock file, which creates a lock file beside it",
                    path.display()
                )
            });
        }
    }
    sync(path)?;
    Ok(file)
}

/// Syncs the folder, so that a new file survives a power cut.
fn sync(path: &Path) -> Result<()> {
    sync_folder(folder_of(path))
        .with_context(|| format!("cannot write to the folder of --output {}", path.display()))
}

/// Renames a journal and its settings to the first free of `.bak`, `.bak2`, …
pub(super) fn back_up(path: &Path) -> Result<PathBuf> {
    let suffixes = (1..=u32::MAX).map(|i| {
        if i == 1 {
            ".bak".to_owned()
        } else {
            format!(".bak{i}")
        }
    });
    let free = suffixes
        .map(|suffix| beside(path, &suffix))
        .find(|name| !name.exists());
    let kept = free.context("no free name for the backup of the old file")?;
    fs::rename(path, &kept)
        .with_context(|| format!("cannot rename {} to {}", path.display(), kept.display()))?;
    match fs::rename(Meta::path(path), Meta::path(&kept)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot rename {}", Meta::path(path).display()))
        }
        _ => Ok(kept),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{cell::Cell, io, thread};

    use super::*;

    /// Opens a file that another process replaces `times` before it can be locked; what is in the one that is locked in the
    /// end, and how often one was opened.
    fn locked_while_replaced(times: usize) -> (String, usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let put = |content: usize| {
            let new = folder.path().join("new");
            fs::write(&new, content.to_string()).unwrap();
            fs::rename(new, &path).unwrap();
        };
        put(0);
        let opened = Cell::new(0);
        let file = until_it_is_there(&path, || {
            let file = File::open(&path)?;
            opened.set(opened.get() + 1);
            if opened.get() <= times {
                put(opened.get());
            }
            Ok(file)
        });
        let content = io::read_to_string(file.unwrap()).unwrap();
        (content, opened.get())
    }

    #[test]
    fn lock_waits_for_a_killed_run_then_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let held = lock(&path, LockChoice::Os).unwrap();
        assert!(lock(&path, LockChoice::Os).err().unwrap().is::<Locked>());
        assert!(lock_shared(&path).unwrap_err().is::<Locked>());
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(LOCK_GRACE / 10);
                drop(held);
            });
            lock(&path, LockChoice::Os).unwrap();
        });
    }

    #[test]
    fn lock_is_on_the_current_file_when_replaced() {
        assert_eq!(locked_while_replaced(0), ("0".to_owned(), 1));
        assert_eq!(locked_while_replaced(2), ("2".to_owned(), 3));
        assert_eq!(locked_while_replaced(usize::MAX).1, OPENINGS);
    }
}
