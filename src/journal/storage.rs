//! Storage of lines: a file, or a stream that can't be read back.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};

use super::lock::is_at;

/// Storage of lines.
pub(super) trait Storage {
    /// Writes all of `bytes` at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Syncs to disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Truncates to `length` bytes.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// The file, if it can be read.
    fn file(&self) -> Option<&File> {
        None
    }
    /// Why the storage is not reliable any more: it is not `length` bytes at `path`.
    fn lost(&self, _path: &Path, _length: u64) -> Option<String> {
        None
    }
}

impl Storage for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn file(&self) -> Option<&File> {
        Some(self)
    }

    fn lost(&self, path: &Path, length: u64) -> Option<String> {
        if !path.exists() {
            return Some("was removed".to_owned());
        }
        if !is_at(self, path) {
            return Some("was replaced by another file".to_owned());
        }
        match self.metadata() {
            Ok(now) if now.len() != length => Some(format!(
                "was changed by another program: it has {} bytes instead of {length}",
                now.len()
            )),
            _ => None,
        }
    }
}

/// Standard output, a pipe or a device, which can't be read back.
pub(super) struct Stream<W>(pub(super) W);

impl<W: Write> Storage for Stream<W> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn cut(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a pipe or a device.
pub(super) fn open_stream(path: &Path) -> Result<File> {
    OpenOptions::new()
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write to --output {}", path.display()))
}
