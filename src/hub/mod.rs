//! Models by name: a folder as it is, or `owner/name[@revision]` fetched through `hf-hub` into the standard cache.
//!
//! `hf-hub` 0.5 (ureq) and not 1.0, which brings tokio, reqwest and Xet to fetch the same files from the same paths.
//! It downloads, resumes and keeps the cache's layout. What it leaves to its callers is here: one lock for a whole
//! model, blobs of another revision used again, sizes checked, connections that break or stall, words for people.
//!
//! The environment is that of the hub's own tools: `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_ENDPOINT`,
//! `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT` (seconds without a byte, 60).

mod failure;
mod fetch;
mod name;
mod transfer;

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use hf_hub::Cache;

use failure::Failure;
use fetch::{Fetch, Listing};
use name::ModelName;

use crate::{model_files, terminal};

/// What is shown on stderr while files are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchProgress {
    /// A status line per file with bytes, speed and the time left.
    Bar,
    /// A line when a file begins, and one every 30 s.
    Plain,
    /// Nothing.
    Off,
}

impl FetchProgress {
    /// [`Self::Bar`] if a line on stderr can be drawn over, else [`Self::Plain`].
    #[must_use]
    pub fn auto() -> Self {
        if terminal::can_redraw() {
            Self::Bar
        } else {
            Self::Plain
        }
    }

    /// Says a line in every mode but [`Self::Off`].
    fn say(self, line: &str) {
        if self != Self::Off {
            terminal::log_line(line);
        }
    }
}

/// The folder of `model`: an existing folder as it is, or the snapshot of `owner/name[@revision]` in the hub's cache.
///
/// What the cache lacks is fetched; an interrupted download continues; of several processes that ask for the same
/// model at once, one fetches and the others wait. If the hub can't be reached and the cache holds the whole
/// snapshot, that is used, with a warning.
///
/// # Errors
/// No such folder or model, no network, no permission, no space: each says what to do.
pub fn model_folder(model: &str, progress: FetchProgress) -> Result<PathBuf> {
    if Path::new(model).is_dir() {
        return Ok(PathBuf::from(model));
    }
    let model = ModelName::parse(model)?;
    let hub = Hub::from_env()?;
    if hub.offline {
        return hub.cached(&model).with_context(|| {
            format!("HF_HUB_OFFLINE is set and the cache can't give {model}: run once without it, or pass a folder with --model DIR")
        });
    }
    match Listing::ask(&hub, &model) {
        Ok(listing) => Fetch::new(&hub, &model, &listing, progress)?.run(),
        Err(failure) if failure.may_pass() => match hub.cached(&model) {
            Ok(folder) => {
                tracing::warn!(
                    "{}: {failure}; using {model} as it is in the cache",
                    hub.host()
                );
                Ok(folder)
            }
            Err(_) => Err(hub.explain(&model, &model.to_string(), failure)),
        },
        Err(failure) => Err(hub.explain(&model, &model.to_string(), failure)),
    }
}

/// Where models come from and where they are kept.
#[derive(Debug)]
struct Hub {
    /// `https://huggingface.co`, or a mirror; no slash at its end.
    endpoint: String,
    cache: Cache,
    token: Option<String>,
    /// Only the cache may be used.
    offline: bool,
    /// How long a download may go without a byte.
    patience: Duration,
}

impl Hub {
    /// The cache is found as `huggingface_hub` finds it: `HF_HUB_CACHE`, `HF_HOME/hub`, `XDG_CACHE_HOME/huggingface/hub`,
    /// `~/.cache/huggingface/hub`.
    fn from_env() -> Result<Self> {
        let home = match (variable("HF_HOME"), variable("XDG_CACHE_HOME")) {
            (Some(home), _) => PathBuf::from(home),
            (None, Some(caches)) => PathBuf::from(caches).join("huggingface"),
            (None, None) => env::home_dir()
                .context("no home folder for the model cache: set HF_HOME to a folder")?
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

    /// The endpoint as people call it.
    fn host(&self) -> &str {
        self.endpoint
            .split_once("://")
            .map_or(self.endpoint.as_str(), |(_, host)| host)
    }

    /// The snapshot of `model` in the cache, if it is whole.
    fn cached(&self, model: &ModelName) -> Result<PathBuf> {
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
        let missing = model_files::missing(&folder)?;
        if !missing.is_empty() {
            bail!("{} lacks {}", folder.display(), missing.join(", "));
        }
        Ok(folder)
    }

    /// The failure of `what` (a file, or the model itself) as a sentence for the person who has to act.
    fn explain(&self, model: &ModelName, what: &str, failure: Failure) -> anyhow::Error {
        let (host, cache) = (self.host(), self.cache.path().display());
        let elsewhere = format!(
            "pass a folder that exists with --model DIR, or set HF_HUB_OFFLINE=1 with a filled cache (HF_HOME; now {cache})"
        );
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
                    "{host} does not give out {what} (HTTP {code}): check the name, which is no folder here either; \
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
                "{host} sent nothing of {what} for {} s; what has come is kept, and the same command continues",
                patience.as_secs()
            ),
            Failure::Disk(error) if failure::is_full(&error) => format!(
                "no space for {what} in the model cache {cache} ({error}): make room and run the same command, \
                 which continues, or point HF_HOME to a larger disk"
            ),
            Failure::Disk(error) => format!(
                "could not keep {what} in the model cache {cache} ({error}): point HF_HOME to a folder that can be written"
            ),
            Failure::Busy => {
                format!("another program keeps the lock on {what} in the model cache {cache}")
            }
            Failure::Answer(cause) => format!(
                "{host} answered for {what} as no model hub does ({cause}): is HF_ENDPOINT right?"
            ),
        };
        anyhow::Error::msg(sentence)
    }
}

/// An environment variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
