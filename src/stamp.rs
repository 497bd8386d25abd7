//! File stamps: detect whether a file has changed without reading it.

use std::{
    fs::{self, Metadata},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// A file modified less than this many seconds before it was read gets no entry: a later change could have the same
/// times, since file system clocks tick in up to two seconds.
const SETTLED: i64 = 2;

/// Device, inode, size, and the times of the last change of content (mtime) and of anything (ctime, which no program can
/// set).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    /// Seconds and nanoseconds since 1970.
    pub(crate) changed: [(i64, i64); 2],
}

impl Stamp {
    /// The stamp of a file; `None` on systems where programs can set all times.
    #[cfg(unix)]
    #[allow(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
    #[must_use]
    pub fn of(file: &Metadata) -> Option<Self> {
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

    /// The stamp of a file; `None` on systems where programs can set all times.
    #[cfg(not(unix))]
    #[must_use]
    pub fn of(_: &Metadata) -> Option<Self> {
        None
    }

    /// Whether the file at `path` still is the same one, with the same size and the same time of its last change. A file
    /// that is gone has not changed.
    #[must_use]
    pub fn still_holds(&self, path: &Path) -> bool {
        let Ok(now) = fs::metadata(path) else {
            return true;
        };
        Self::of(&now).is_none_or(|now| self.has_content_of(&now))
    }

    /// Whether two stamps agree but for what a new name or other permissions change.
    #[must_use]
    pub fn has_content_of(&self, other: &Self) -> bool {
        let content = |it: &Self| (it.inode, it.size, it.changed[0]);
        content(self) == content(other)
    }

    /// Whether the last change was so long before `at` that a later one would show.
    #[must_use]
    pub fn is_settled(&self, at: SystemTime) -> bool {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut changed = self.changed.iter();
        changed.all(|&(seconds, _)| seconds.saturating_add(SETTLED) < at as i64)
    }
}
