//! `results.jsonl.hashes`: the checksums of files that were read before, so that a run over a large archive need not read
//! all of it again to see that nothing has changed.
//!
//! A file is known by its device, inode, size, and the times of its last change of content (mtime) and of anything (ctime,
//! which no program can set). An entry only ever spares the reading of a document that is done: what is still to be read
//! is read, and hashed, as if there were no entry. The file may be deleted at any time.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::meta::beside;

/// A file that was changed less than this many seconds before it was read may have been changed again since, with the
/// same times: clocks of file systems tick in up to two seconds.
const SETTLED: i64 = 2;

/// What a file is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds since 1970.
    changed: [(i64, i64); 2],
}

impl Stamp {
    #[cfg(unix)]
    #[allow(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
    fn of(file: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            changed: [
                (file.mtime(), file.mtime_nsec()),
                (file.ctime(), file.ctime_nsec()),
            ],
        })
    }

    /// Elsewhere the times that can be had may be set by any program.
    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Option<Self> {
        None
    }

    fn is_settled(&self, at: SystemTime) -> bool {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut changed = self.changed.iter();
        changed.all(|&(seconds, _)| seconds.saturating_add(SETTLED) < at as i64)
    }
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Entry {
    file: Stamp,
    sha256: String,
}

/// The checksums of files. All failures to keep them are ignored: they only cost time.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    known: HashMap<Stamp, String>,
    added: Option<File>,
}

impl Hashes {
    fn path(journal: &Path) -> PathBuf {
        beside(journal, ".hashes")
    }

    /// Those that are kept beside `journal`, to which others are added.
    pub(super) fn open(journal: &Path) -> Self {
        let path = Self::path(journal);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .ok();
        // A line that was never finished must not spoil the next one.
        if let Some(file) = file
            .as_mut()
            .filter(|_| !text.is_empty() && !text.ends_with('\n'))
        {
            let _ = file.write_all(b"\n");
        }
        Self {
            known: known(&text),
            added: file,
        }
    }

    /// Those that are kept beside `journal`, which is not touched.
    pub(super) fn peek(journal: &Path) -> Self {
        let text = fs::read_to_string(Self::path(journal)).unwrap_or_default();
        Self {
            known: known(&text),
            added: None,
        }
    }

    /// The checksum of a file, if it has not changed since that was taken.
    pub(super) fn get(&self, file: &Metadata) -> Option<&str> {
        self.known.get(&Stamp::of(file)?).map(String::as_str)
    }

    /// Keeps the checksum of a file that was like this `at` the time when its reading began.
    pub(super) fn add(&mut self, file: &Metadata, at: SystemTime, sha256: &str) {
        let Some(stamp) = Stamp::of(file).filter(|stamp| stamp.is_settled(at)) else {
            return;
        };
        if self.known.contains_key(&stamp) {
            return;
        }
        let entry = Entry {
            file: stamp,
            sha256: sha256.to_owned(),
        };
        if let (Some(file), Ok(line)) = (&mut self.added, serde_json::to_string(&entry)) {
            // In one write, since the program may end at any moment.
            let _ = file.write_all((line + "\n").as_bytes());
        }
    }
}

/// The checksums of all whole lines.
fn known(text: &str) -> HashMap<Stamp, String> {
    let entries = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    entries
        .map(|Entry { file, sha256 }| (file, sha256))
        .collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn in_seconds(seconds: u64) -> SystemTime {
        SystemTime::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_checksum_is_kept_until_the_file_changes_in_any_way() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, document) = (folder.path().join("out.jsonl"), folder.path().join("a.pdf"));
        fs::write(&document, "one").unwrap();
        let file = || fs::metadata(&document).unwrap();
        let time = file().modified().unwrap();

        let mut hashes = Hashes::open(&journal);
        hashes.add(&file(), in_seconds(0), "too early to be sure");
        hashes.add(&file(), in_seconds(10), "c0ffee");
        drop(hashes);
        // A kill in the middle of a line.
        let path = Hashes::path(&journal);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.clone() + &text[..20]).unwrap();
        assert_eq!(Hashes::open(&journal).get(&file()), Some("c0ffee"));

        // The same size, and a time that was set back.
        fs::write(&document, "two").unwrap();
        let changed = OpenOptions::new().write(true).open(&document).unwrap();
        changed.set_modified(time).unwrap();
        let mut hashes = Hashes::open(&journal);
        assert_eq!(hashes.get(&file()), None);
        hashes.add(&file(), in_seconds(10), "beef");
        drop(hashes);
        assert_eq!(Hashes::open(&journal).get(&file()), Some("beef"));
    }

    #[test]
    fn without_a_file_to_keep_them_in_there_are_no_checksums_and_no_error() {
        let mut hashes = Hashes::open(Path::new("/nowhere/at/all.jsonl"));
        let here = fs::metadata(".").unwrap();
        hashes.add(&here, in_seconds(10), "c0ffee");
        assert_eq!(hashes.get(&here), None);
    }
}
