//! `results.jsonl.meta.json`: the settings that a journal's records were made with, and who writes to it.

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
    line::Newer,
    place::{beside, put_whole, resolve},
    resume::Retry,
};
use crate::record::{READABLE, SCHEMA};

/// The name of the setting that says which part of the documents the records are of.
pub const SHARD: &str = "shard";

/// The name of the setting that says how many tokens an answer may have.
pub const MAX_NEW_TOKENS: &str = "max_new_tokens";

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

/// What tells whether the rest can be understood.
#[derive(Deserialize)]
struct Version {
    schema: u32,
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
        let path = Self::path(&resolve(journal));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("can't read {}", path.display()));
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

    /// Refuses to go on with a journal of other settings. Where pages that the token budget ended are read again, it may
    /// have grown: a page that ended by itself would not change.
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
