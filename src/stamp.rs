//! What a file is known by, so that it need not be read again to see that it has not changed.

use std::{
    fs::Metadata,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// A file that was changed less than this many seconds before it was read may have been changed again since, with the
/// same times: clocks of file systems tick in up to two seconds.
const SETTLED: i64 = 2;

/// Device, inode, size, and the times of the last change of content (mtime) and of anything (ctime, which no program can
/// set).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds since 1970.
    changed: [(i64, i64); 2],
}

impl Stamp {
    /// What a file is known by; none where the times that can be had may be set by any program.
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

    /// What a file is known by; none where the times that can be had may be set by any program.
    #[cfg(not(unix))]
    #[must_use]
    pub fn of(_: &Metadata) -> Option<Self> {
        None
    }

    /// Whether the last change was so long before `at` that a later one would show.
    #[must_use]
    pub fn is_settled(&self, at: SystemTime) -> bool {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut changed = self.changed.iter();
        changed.all(|&(seconds, _)| seconds.saturating_add(SETTLED) < at as i64)
    }
}
