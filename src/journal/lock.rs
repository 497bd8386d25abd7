//! Who may write to a journal, and what becomes of one that is begun anew.
//!
//! The lock is the operating system's, and dies with its process. Where a file system has none, `--lock file` uses a
//! [`LockFile`].

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    lock_file::LockFile,
    locked::Locked,
    meta::Meta,
    place::{beside, folder_of, sync_folder},
};
use crate::options::LockChoice;

/// Opens the file and locks it for as long as it stays open, or as the lock file is held.
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

/// Opens a file to be read or replaced, to which nobody may write for as long as it stays open. Where files can't be locked, no
/// run has been able to do it either.
pub(super) fn lock_shared(path: &Path) -> Result<File> {
    LockFile::require_none(path)?;
    until_it_is_there(path, || {
        let file = File::open(path).with_context(|| format!("can't read {}", path.display()))?;
        match patiently(|| file.try_lock_shared()) {
            Err(TryLockError::WouldBlock) => Err(Locked::of(path).into()),
            _ => Ok(file),
        }
    })
}

/// How long the lock of a run that was killed may outlive it: the process that it was just starting holds all its files until
/// it has become another program.
const LOCK_GRACE: Duration = Duration::from_millis(500);

/// Tries to lock until a lock that is only left over must be gone.
fn patiently(try_lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    let begun = Instant::now();
    loop {
        match try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_GRACE => {
                thread::sleep(Duration::from_millis(10));
            }
            tried => return tried,
        }
    }
}

/// A file that was replaced between its opening and its locking is opened again so often at most. It takes luck to hit that
/// once; where it never ends, the file system tells no truth about which file is which.
const OPENINGS: usize = 10;

/// Opens and locks until the file is still the one at its path.
fn until_it_is_there(path: &Path, open: impl Fn() -> Result<File>) -> Result<File> {
    for _ in 1..OPENINGS {
        let file = open()?;
        if is_at(&file, path) {
            return Ok(file);
        }
    }
    open()
}

/// Whether the open file is the one that has this path now.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (file.metadata(), fs::metadata(path)) {
        (Ok(opened), Ok(there)) => (opened.dev(), opened.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Elsewhere an open file keeps its path.
#[cfg(not(unix))]
pub(super) fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// Opens the file to write at its end.
pub(super) fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(path)
        .with_context(|| format!("can't write to --output {}", path.display()))
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
                    "can't lock --output {}: its file system has no locks; use --lock file, which keeps a lock file beside it",
                    path.display()
                )
            });
        }
    }
    sync(path)?;
    Ok(file)
}

/// Makes a new file survive a power cut.
fn sync(path: &Path) -> Result<()> {
    sync_folder(folder_of(path))
        .with_context(|| format!("can't write to the folder of --output {}", path.display()))
}

/// Moves a journal and its settings out of the way, to the first free of `.bak`, `.bak2`, …
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
    let kept = free.context("no name is free to keep the old file under")?;
    fs::rename(path, &kept)
        .with_context(|| format!("can't keep {} as {}", path.display(), kept.display()))?;
    match fs::rename(Meta::path(path), Meta::path(&kept)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't keep {}", Meta::path(path).display()))
        }
        _ => Ok(kept),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{cell::Cell, io};

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
    fn a_lock_that_a_killed_run_leaves_for_a_moment_is_waited_for_and_another_one_is_an_error() {
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
    fn a_lock_is_on_the_file_that_has_the_path_also_where_others_replace_it() {
        assert_eq!(locked_while_replaced(0), ("0".to_owned(), 1));
        assert_eq!(locked_while_replaced(2), ("2".to_owned(), 3));
        assert_eq!(locked_while_replaced(usize::MAX).1, OPENINGS);
    }
}
