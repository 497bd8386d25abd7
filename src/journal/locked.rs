//! The error for a journal that another run is writing to.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::meta::Meta;

/// Another run is writing to the journal.
#[derive(Debug)]
pub struct Locked {
    journal: PathBuf,
    holder: Option<String>,
}

impl Locked {
    /// The journal at `path` is locked by `holder`, with the lock file at `lock`.
    pub(super) fn by_file(path: &Path, lock: &Path, holder: &str) -> Self {
        let shown = lock.display();
        Self {
            journal: path.to_owned(),
            holder: Some(format!(
                "{holder}; if it is not running any more, delete {shown}"
            )),
        }
    }

    /// The journal at `path` is locked by another run.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            journal: path.to_owned(),
            holder: Meta::read(path)
                .ok()
                .flatten()
                .map(|meta| meta.run.to_string()),
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
