//! `results.jsonl.meta.json`: the settings of a journal's records, and its last run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    differences::shown,
    line::Newer,
    place::{beside, put_whole, resolve},
    resume::Retry,
};
use crate::record::{READABLE, SCHEMA};

/// Name of the setting for the shard.
pub const SHARD: &str = "shard";

/// Name of the setting for the token budget.
pub const MAX_NEW_TOKENS: &str = "max_new_tokens";

/// Every setting that changes records, by name.
pub type OutputSettings = BTreeMap<String, Value>;

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    schema: u32,
    /// The settings of the records.
    pub settings: OutputSettings,
    /// The last run.
    pub run: Run,
}

/// The version, which is parsed first.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// A run, as messages about locks name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    omnidocs: String,
    pid: u32,
    host: String,
    /// Seconds since 1970, UTC.
    pub(super) started: u64,
    /// When it reached the end of its inputs; `None` if it was interrupted or is running.
    #[serde(default)]
    pub(super) finished: Option<u64>,
    /// Where its records begin in the output, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) begins_at: Option<u64>,
}

impl Run {
    fn this() -> Self {
        Self {
            omnidocs: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            started: now(),
            finished: None,
            begins_at: None,
        }
    }

    /// When it started, in seconds since 1970, UTC.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.started
    }

    /// When it reached the end of its inputs; `None` if it was interrupted or is running.
    #[must_use]
    pub fn finished(&self) -> Option<u64> {
        self.finished
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

/// This run's settings differ from those of the existing records.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingsDiffer {
    /// The journal.
    pub journal: PathBuf,
    /// Name, recorded value, current value; null for a missing setting.
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
            let (there, now) = shown(there, now);
            writeln!(f, "  {name}: {there} recorded, {now} now")?;
        }
        f.write_str(
            "use the recorded settings, name another --output, or start over with --restart (the old file is kept as .bak)",
        )
    }
}

impl std::error::Error for SettingsDiffer {}

impl Meta {
    /// The settings of this run.
    #[must_use]
    pub fn new(settings: OutputSettings) -> Self {
        Self {
            schema: SCHEMA,
            settings,
            run: Run::this(),
        }
    }

    /// The path of the settings of `journal`.
    #[must_use]
    pub fn path(journal: &Path) -> PathBuf {
        beside(journal, ".meta.json")
    }

    /// Reads the settings of `journal`; `None` if there is no file.
    ///
    /// # Errors
    /// The file exists, but can't be read or parsed.
    pub fn read(journal: &Path) -> Result<Option<Self>> {
        let path = Self::path(&resolve(journal));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let version = serde_json::from_slice(&bytes).map(|Version { schema }| schema);
        if let Ok(newer) = version
            && newer > *READABLE.end()
        {
            bail!("{} {}", path.display(), Newer(newer));
        }
        serde_json::from_slice(&bytes).map(Some).with_context(|| {
            format!(
                "cannot parse {}; restore it, or start over with --restart",
                path.display()
            )
        })
    }

    /// Replaces the file atomically: readers see the old one or the new one.
    ///
    /// # Errors
    /// The folder is not writable.
    pub fn write(&self, journal: &Path) -> Result<()> {
        put_whole(&Self::path(journal), |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            Ok(file.write_all(b"\n")?)
        })
    }

    /// Records that the run reached the end of its inputs.
    pub fn finish(&mut self) {
        self.run.finished = Some(now());
    }

    /// Refuses to resume a journal with other settings. With `--retry truncated` the token budget may grow: pages that
    /// ended by themselves would not change.
    ///
    /// # Errors
    /// [`SettingsDiffer`].
    pub fn require_same(
        &self,
        journal: &Path,
        there: &OutputSettings,
        retry: Retry,
    ) -> Result<(), SettingsDiffer> {
        let mut differing = differing(there, &self.settings);
        differing.retain(|(name, there, now)| {
            let may_grow = retry.truncated && name == MAX_NEW_TOKENS;
            !(may_grow && there.is_u64() && there.as_u64() < now.as_u64())
        });
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

/// The settings that differ: name, first value, second value.
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
