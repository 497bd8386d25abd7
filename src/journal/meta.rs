//! `results.jsonl.meta.json`: the settings that a journal's records were made with, and who writes to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::record::SCHEMA;

/// Everything that changes what a record says, by name.
pub type OutputSettings = BTreeMap<String, Value>;

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    schema: u32,
    /// What the records were made with.
    pub settings: OutputSettings,
    /// The last run that wrote.
    pub run: Run,
}

/// A run, for people who wonder who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    omnidocs: String,
    pid: u32,
    host: String,
    /// Seconds since 1970, UTC.
    started: u64,
}

impl Run {
    fn this() -> Self {
        Self {
            omnidocs: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = Self::this().started.saturating_sub(self.started) / 60;
        write!(f, "process {} on {}, started ", self.pid, self.host)?;
        match minutes {
            0 => f.write_str("just now"),
            1..120 => write!(f, "{minutes} min ago"),
            _ => write!(f, "{} h ago", minutes / 60),
        }
    }
}

/// Settings of this run that are not those of the records already there.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingsDiffer {
    /// The journal.
    pub journal: PathBuf,
    /// Name, value there, value now; a setting that one side does not have is null.
    pub differing: Vec<(String, Value, Value)>,
}

impl fmt::Display for SettingsDiffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} was written with other settings:",
            self.journal.display()
        )?;
        for (name, there, now) in &self.differing {
            writeln!(f, "  {name}: {there} there, {now} now")?;
        }
        f.write_str(
            "use the settings of that file, name another --output, or begin anew with --restart (the old file is kept as .bak)",
        )
    }
}

impl std::error::Error for SettingsDiffer {}

impl Meta {
    /// What this run would write.
    #[must_use]
    pub fn new(settings: OutputSettings) -> Self {
        Self {
            schema: SCHEMA,
            settings,
            run: Run::this(),
        }
    }

    /// Where the settings of `journal` are kept.
    #[must_use]
    pub fn path(journal: &Path) -> PathBuf {
        beside(journal, ".meta.json")
    }

    /// Reads the settings of `journal`; none if there are none.
    ///
    /// # Errors
    /// The file is there, but can't be read or understood.
    pub fn read(journal: &Path) -> Result<Option<Self>> {
        let path = Self::path(journal);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("can't read {}", path.display()));
            }
        };
        serde_json::from_slice(&bytes).map(Some).with_context(|| {
            format!(
                "{} is not what omnidocs wrote; restore it, or begin anew with --restart",
                path.display()
            )
        })
    }

    /// Puts the file in its place at one stroke: whoever reads it sees the old one or the new one, whole.
    ///
    /// # Errors
    /// The folder can't be written to.
    pub fn write(&self, journal: &Path) -> Result<()> {
        let path = Self::path(journal);
        let folder = folder_of(journal);
        let write = || -> Result<()> {
            let mut file = NamedTempFile::new_in(folder)?;
            let mut text = serde_json::to_string_pretty(self)?;
            text.push('\n');
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            sync_folder(folder)?;
            Ok(())
        };
        write().with_context(|| format!("can't write {}", path.display()))
    }

    /// Refuses to go on with a journal of other settings.
    ///
    /// # Errors
    /// [`SettingsDiffer`].
    pub fn require_same(
        &self,
        journal: &Path,
        there: &OutputSettings,
    ) -> Result<(), SettingsDiffer> {
        let names: BTreeSet<&String> = there.keys().chain(self.settings.keys()).collect();
        let value =
            |settings: &OutputSettings, name| settings.get(name).cloned().unwrap_or(Value::Null);
        let differing: Vec<_> = names
            .into_iter()
            .map(|name| {
                (
                    name.clone(),
                    value(there, name),
                    value(&self.settings, name),
                )
            })
            .filter(|(_, there, now)| there != now)
            .collect();
        if differing.is_empty() {
            Ok(())
        } else {
            Err(SettingsDiffer {
                journal: journal.to_owned(),
                differing,
            })
        }
    }
}

/// The file beside `journal` whose name is longer by `suffix`.
pub(super) fn beside(journal: &Path, suffix: &str) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Makes new and renamed files survive a power cut; a folder can be opened for that on Unix alone.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        fs::File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}
