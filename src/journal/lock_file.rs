//! `results.jsonl.lock`: the lock file of `--lock file`, for file systems without locks.
//!
//! A killed run leaves the file behind. It is stale if it names this host and no process has its id.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    locked::Locked,
    place::{beside, resolve},
};

/// Maximum number of attempts to replace a stale file by one's own.
const MAX_TRIES: usize = 10;

/// A held lock file; dropping it removes the file.
#[derive(Debug)]
pub struct LockFile(PathBuf);

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    host: String,
    pid: u32,
}

impl Holder {
    fn this() -> Self {
        Self {
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            pid: process::id(),
        }
    }

    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    fn is_gone(&self) -> bool {
        self.host == Self::this().host && !is_alive(self.pid)
    }
}

impl LockFile {
    fn path(journal: &Path) -> PathBuf {
        beside(&resolve(journal), ".lock")
    }

    /// Fails if another run holds a lock file that is not known to be stale.
    pub(super) fn require_none(journal: &Path) -> Result<(), Locked> {
        let path = Self::path(journal);
        let holder = Holder::read(&path);
        if !path.exists() || holder.as_ref().is_some_and(Holder::is_gone) {
            return Ok(());
        }
        Err(locked(journal, &path, holder))
    }

    /// Creates the lock file, which names its holder.
    ///
    /// # Errors
    /// Another run holds it, or the folder is not writable.
    pub(super) fn take(journal: &Path) -> Result<Self> {
        let path = Self::path(journal);
        let shown = path.display();
        for _ in 0..MAX_TRIES {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    let lock = Self(path.clone());
                    let written = serde_json::to_vec(&Holder::this())
                        .map_err(Into::into)
                        .and_then(|holder| file.write_all(&holder))
                        .and_then(|()| file.sync_all());
                    written.with_context(|| format!("cannot write {shown}"))?;
                    return Ok(lock);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot create {shown}")),
            }
            let Some(holder) = Holder::read(&path).filter(Holder::is_gone) else {
                break;
            };
            take_away(&path, &holder);
        }
        bail!(locked(journal, &path, Holder::read(&path)))
    }
}

fn locked(journal: &Path, path: &Path, holder: Option<Holder>) -> Locked {
    let holder = holder.map_or_else(
        || "unknown process".to_owned(),
        |Holder { host, pid }| format!("process {pid} on {host}"),
    );
    Locked::by_file(journal, path, &holder)
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if Holder::read(&self.0).is_none_or(|holder| holder == Holder::this()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// Removes a stale file, but not one that has replaced it meanwhile.
fn take_away(path: &Path, stale: &Holder) {
    let aside = beside(path, &format!(".{}", process::id()));
    if fs::rename(path, &aside).is_err() {
        return;
    }
    if Holder::read(&aside).as_ref() != Some(stale) {
        // It fails where a third run has made one, which then finds that it holds nothing.
        let _ = fs::hard_link(&aside, path);
    }
    let _ = fs::remove_file(&aside);
}

#[cfg(unix)]
fn is_alive(pid: u32) -> bool {
    use rustix::{
        io::Errno,
        process::{Pid, test_kill_process},
    };

    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Unknown on other systems.
#[cfg(not(unix))]
fn is_alive(_: u32) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn lock_file_holds_until_dropped_or_its_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("out.jsonl");
        let held = LockFile::take(&journal).unwrap();
        assert!(LockFile::require_none(&journal).is_err());
        let message = format!("{:#}", LockFile::take(&journal).unwrap_err());
        assert!(
            message.contains(&format!("process {}", process::id())) && message.contains(".lock"),
            "{message}"
        );
        drop(held);
        LockFile::require_none(&journal).unwrap();

        let mut child = process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let gone = Holder {
            pid,
            ..Holder::this()
        };
        let path = LockFile::path(&journal);
        fs::write(&path, serde_json::to_vec(&gone).unwrap()).unwrap();
        drop(LockFile::take(&journal).unwrap());
        // On another host nobody can tell.
        let elsewhere = Holder {
            host: "elsewhere".to_owned(),
            ..gone
        };
        fs::write(&path, serde_json::to_vec(&elsewhere).unwrap()).unwrap();
        assert!(LockFile::take(&journal).is_err());
        assert!(LockFile::require_none(&journal).is_err());
    }
}
