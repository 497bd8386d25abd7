//! Who may write to a journal, and what becomes of one that is begun anew.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::meta::{Meta, Run, beside, folder_of, sync_folder};

/// Another run writes to the same journal.
#[derive(Debug)]
pub struct Locked {
    journal: PathBuf,
    holder: Option<Run>,
}

impl Locked {
    /// The journal at `path` is locked by another run.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            journal: path.to_owned(),
            holder: Meta::read(path).ok().flatten().map(|meta| meta.run),
        }
    }
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "another omnidocs is writing to {}",
            self.journal.display()
        )?;
        if let Some(holder) = &self.holder {
            write!(f, " ({holder})")?;
        }
        f.write_str("; wait for it, or name another --output")
    }
}

impl std::error::Error for Locked {}

/// Opens the file and locks it for as long as it stays open.
pub(super) fn lock(path: &Path) -> Result<File> {
    let shown = path.display();
    let file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(path)
        .with_context(|| format!("can't write to --output {shown}"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Locked::of(path).into());
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| {
                format!(
                    "can't lock --output {shown}; is it on a network file system without locks?"
                )
            });
        }
    }
    sync_folder(folder_of(path))
        .with_context(|| format!("can't write to the folder of --output {shown}"))?;
    Ok(file)
}

/// Moves a journal and its settings out of the way, to the first free of `.bak`, `.bak2`, …
pub(super) fn keep(path: &Path) -> Result<PathBuf> {
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
