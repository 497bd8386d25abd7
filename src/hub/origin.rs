//! The hub and its cache.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use hf_hub::Cache;

use super::{
    failure::{Failure, Unreachable, is_full},
    name::ModelName,
    request::Requests,
};
use crate::model_files;

/// The hub and its cache.
#[derive(Debug)]
pub(super) struct Hub {
    /// `https://huggingface.co` or a mirror, without a trailing slash.
    pub(super) endpoint: String,
    pub(super) cache: Cache,
    token: Option<String>,
    /// Whether to use only the cache.
    pub(super) offline: bool,
    /// Timeout of a download without data.
    pub(super) patience: Duration,
}

impl Hub {
    /// Finds the cache like `huggingface_hub`: `HF_HUB_CACHE`, `HF_HOME/hub`, `XDG_CACHE_HOME/huggingface/hub`,
    /// `~/.cache/huggingface/hub`.
    pub(super) fn from_env() -> Result<Self> {
        let home = match (variable("HF_HOME"), variable("XDG_CACHE_HOME")) {
            (Some(home), _) => PathBuf::from(home),
            (None, Some(caches)) => PathBuf::from(caches).join("huggingface"),
            (None, None) => env::home_dir()
                .context("no home folder for the model cache: set HF_HOME")?
                .join(".cache/huggingface"),
        };
        let cache = variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
        let token = variable("HF_TOKEN").or_else(|| fs::read_to_string(home.join("token")).ok());
        let patience = match variable("HF_HUB_DOWNLOAD_TIMEOUT") {
            Some(seconds) => seconds
                .parse()
                .context("HF_HUB_DOWNLOAD_TIMEOUT is not a whole number of seconds")?,
            None => 60,
        };
        Ok(Self {
            endpoint: variable("HF_ENDPOINT").map_or_else(
                || "https://huggingface.co".to_owned(),
                |endpoint| endpoint.trim_end_matches('/').to_owned(),
            ),
            cache: Cache::new(cache),
            token: token
                .map(|token| token.trim().to_owned())
                .filter(|token| !token.is_empty()),
            offline: variable("HF_HUB_OFFLINE").is_some_and(|value| {
                matches!(
                    value.to_ascii_lowercase().as_str(),
                    "1" | "true" | "yes" | "on"
                )
            }),
            patience: Duration::from_secs(patience),
        })
    }

    pub(super) fn requests(&self) -> Requests {
        Requests {
            token: self.token.clone(),
            patience: self.patience,
        }
    }

    /// The endpoint's name in messages.
    pub(super) fn host(&self) -> &str {
        self.endpoint
            .split_once("://")
            .map_or(self.endpoint.as_str(), |(_, host)| host)
    }

    /// The snapshot of `model` in the cache, if its small files are there.
    pub(super) fn cached(&self, model: &ModelName) -> Result<PathBuf> {
        let repo = self.cache.repo(model.repo(&model.revision));
        // A commit names its snapshot; a branch or a tag has a file that names the commit.
        let folder = Some(repo.pointer_path(&model.revision))
            .filter(|folder| folder.is_dir())
            .or_else(|| Some(repo.get("config.json")?.parent()?.to_owned()))
            .with_context(|| {
                format!(
                    "{} has no revision {} of {}",
                    self.cache.path().display(),
                    model.revision,
                    model.id
                )
            })?;
        let mut required = model_files::REQUIRED.into_iter();
        if let Some(missing) = required.find(|name| !folder.join(name).exists()) {
            bail!("{} lacks {missing}", folder.display());
        }
        Ok(folder)
    }

    /// Refuses an incomplete snapshot.
    pub(super) fn check_whole(folder: &Path) -> Result<()> {
        let missing = model_files::missing(folder)?;
        if !missing.is_empty() {
            bail!("{} lacks {}", folder.display(), missing.join(", "));
        }
        Ok(())
    }

    /// The error message for the failure of `what` (a file, or the model itself).
    pub(super) fn explain(&self, model: &ModelName, what: &str, failure: Failure) -> anyhow::Error {
        let (host, cache) = (self.host(), self.cache.path().display());
        let elsewhere = format!(
            "pass a folder that exists with --model DIR, or set HF_HUB_OFFLINE=1 with a filled cache (HF_HOME; now {cache})"
        );
        let unreachable = failure.is_out_of_reach();
        let sentence = match failure {
            Failure::Network(cause) => {
                format!("could not reach {host} for {what}: {cause}; {elsewhere}")
            }
            Failure::Status(code @ (401 | 403)) => {
                let token = match self.token {
                    Some(_) => {
                        "the token that was sent may not read it; set HF_TOKEN to one that may"
                    }
                    None => "set HF_TOKEN to a token that may read it",
                };
                format!(
                    "{host} denies access to {what} (HTTP {code}): check the name (there is no folder of that name either); \
                     if the model is private or gated, accept its licence on {}/{} and {token}",
                    self.endpoint, model.id
                )
            }
            Failure::Status(404) => format!(
                "{host} has no {what} (HTTP 404), and no folder has that name: check the model's name and revision ({})",
                model.revision
            ),
            Failure::Status(code) => {
                format!("{host} answered HTTP {code} for {what}: try again later, or {elsewhere}")
            }
            Failure::Stalled(patience) => format!(
                "{host} sent no data of {what} for {} s; run the same command again to continue the download",
                patience.as_secs()
            ),
            Failure::Disk(error) if is_full(&error) => format!(
                "no space for {what} in the model cache {cache} ({error}): make room and run the same command, \
                 which continues, or point HF_HOME to a larger disk"
            ),
            Failure::Disk(error) => format!(
                "could not keep {what} in the model cache {cache} ({error}): set HF_HOME to a writable folder"
            ),
            Failure::Busy(lock) => {
                let lock = lock.display();
                format!(
                    "another program holds the lock {lock} on {what} in the model cache {cache}"
                )
            }
            Failure::Certificate(cause) => {
                format!("could not reach {host} for {what}: {cause}; or {elsewhere}")
            }
            Failure::Setup(cause) => format!("could not ask {host} for {what}: {cause}"),
            Failure::Cancelled => {
                format!("interrupted while fetching {what}; run the same command again to continue")
            }
            Failure::Answer(cause) => format!(
                "{host} is not a model hub: cannot parse its answer for {what} ({cause}); check HF_ENDPOINT"
            ),
        };
        if unreachable {
            anyhow::Error::new(Unreachable(sentence))
        } else {
            anyhow::Error::msg(sentence)
        }
    }
}

/// The value of a non-empty environment variable.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
