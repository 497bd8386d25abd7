//! `results.jsonl.meta.json`: the settings that a journal's records were made with, and who writes to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::record::SCHEMA;

/// The name of the setting that says which part of the documents the records are of.
pub const SHARD: &str = "shard";

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
    pub(super) started: u64,
    /// When it came to the end of its inputs; none if it was cut off, or is still at work.
    #[serde(default)]
    pub(super) finished: Option<u64>,
}

impl Run {
    fn this() -> Self {
        Self {
            omnidocs: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            started: now(),
            finished: None,
        }
    }
}

/// Seconds since 1970, UTC.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = now().saturating_sub(self.started) / 60;
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
        put_whole(&Self::path(journal), |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            Ok(file.write_all(b"\n")?)
        })
    }

    /// Notes that the run has come to the end of its inputs.
    pub fn finish(&mut self) {
        self.run.finished = Some(now());
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
        let differing = differing(there, &self.settings);
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

/// The settings that are not the same: name, value in the one and in the other.
pub(super) fn differing(
    one: &OutputSettings,
    other: &OutputSettings,
) -> Vec<(String, Value, Value)> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let value =
        |settings: &OutputSettings, name| settings.get(name).cloned().unwrap_or(Value::Null);
    names
        .into_iter()
        .map(|name| (name.clone(), value(one, name), value(other, name)))
        .filter(|(_, one, other)| one != other)
        .collect()
}

/// Puts what `write` writes in the place of a file at one stroke: whoever reads it sees the old one or the new one, whole,
/// also after a power cut.
pub(super) fn put_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>,
) -> Result<()> {
    let folder = folder_of(path);
    let put = || -> Result<()> {
        let mut file = new_beside(folder)?;
        let mut buffered = BufWriter::new(file.as_file_mut());
        write(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_folder(folder)?;
        Ok(())
    };
    put().with_context(|| format!("can't write {}", path.display()))
}

/// A file without a name of its own yet, which may be read by whoever may read other files that are made here.
fn new_beside(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
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
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}
