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
    env, fmt, fs,
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
    pub fn say(self, line: &str) {
        if self != Self::Off {
            terminal::log_line(line);
        }
    }
}

/// A model whose small files are here; its weights may not be yet.
#[derive(Debug)]
pub struct SmallFiles {
    folder: PathBuf,
    weights: Weights,
}

/// Where a model's weights are.
#[derive(Debug)]
enum Weights {
    /// In its folder, or nowhere.
    Here,
    /// On the hub, as far as they are not in the folder.
    OnHub(Box<Fetch>),
    /// On the hub, out of reach.
    OutOfReach(anyhow::Error),
}

impl SmallFiles {
    /// The folder that holds them.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fetches what is missing of the weights, and returns the folder.
    ///
    /// # Errors
    /// As [`model_folder`].
    pub fn fetch_weights(self) -> Result<PathBuf> {
        match self.weights {
            Weights::Here => {}
            Weights::OnHub(mut fetch) => fetch.weights()?,
            Weights::OutOfReach(error) => return Err(error),
        }
        Ok(self.folder)
    }
}

/// The hub can't be asked now, and the cache does not have what was asked for.
#[derive(Debug)]
pub struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

/// The folder of `model`: an existing folder as it is, or the snapshot of `owner/name[@revision]` in the hub's cache.
///
/// What the cache lacks is fetched; an interrupted download continues; of several processes that ask for the same
/// model at once, one fetches and the others wait. If the hub can't be reached and the cache holds the whole
/// snapshot, that is used, with a warning.
///
/// # Errors
/// No such folder or model, no network, no permission, no space: each says what to do.
pub fn model_folder(model: &str, progress: FetchProgress) -> Result<PathBuf> {
    small_files(model, progress)?.fetch_weights()
}

/// The small files of `model`, by which it can be refused before its weights are fetched. Otherwise as [`model_folder`].
///
/// # Errors
/// As there; [`Unreachable`] if the hub can't be asked and the cache does not have them.
pub fn small_files(model: &str, progress: FetchProgress) -> Result<SmallFiles> {
    if Path::new(model).is_dir() {
        return Ok(SmallFiles {
            folder: PathBuf::from(model),
            weights: Weights::Here,
        });
    }
    let model = ModelName::parse(model)?;
    let hub = Hub::from_env()?;
    if hub.offline {
        let unreachable = |error| {
            anyhow::Error::new(Unreachable(format!(
                "HF_HUB_OFFLINE is set and the cache can't give {model}: run once without it, or pass a folder with --model DIR: {error:#}"
            )))
        };
        let folder = hub.cached(&model).map_err(unreachable)?;
        let weights = Hub::check_whole(&folder).map_err(unreachable);
        return Ok(SmallFiles {
            folder,
            weights: weights.map_or_else(Weights::OutOfReach, |()| Weights::Here),
        });
    }
    match Listing::ask(&hub, &model) {
        Ok(listing) => {
            let mut fetch = Fetch::new(hub, model, listing, progress)?;
            fetch.small_files()?;
            Ok(SmallFiles {
                folder: fetch.folder().to_owned(),
                weights: Weights::OnHub(Box::new(fetch)),
            })
        }
        Err(failure) if failure.may_pass() => {
            let Ok(folder) = hub.cached(&model) else {
                return Err(hub.explain(&model, &model.to_string(), failure));
            };
            let weights = if Hub::check_whole(&folder).is_ok() {
                tracing::warn!(
                    "{}: {failure}; using {model} as it is in the cache",
                    hub.host()
                );
                Weights::Here
            } else {
                Weights::OutOfReach(hub.explain(&model, &model.to_string(), failure))
            };
            Ok(SmallFiles { folder, weights })
        }
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

    /// The snapshot of `model` in the cache, if that has its small files.
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
        let mut required = model_files::REQUIRED.into_iter();
        if let Some(missing) = required.find(|name| !folder.join(name).exists()) {
            bail!("{} lacks {missing}", folder.display());
        }
        Ok(folder)
    }

    /// Refuses a snapshot that lacks anything.
    fn check_whole(folder: &Path) -> Result<()> {
        let missing = model_files::missing(folder)?;
        if !missing.is_empty() {
            bail!("{} lacks {}", folder.display(), missing.join(", "));
        }
        Ok(())
    }

    /// The failure of `what` (a file, or the model itself) as a sentence for the person who has to act.
    fn explain(&self, model: &ModelName, what: &str, failure: Failure) -> anyhow::Error {
        let (host, cache) = (self.host(), self.cache.path().display());
        let elsewhere = format!(
            "pass a folder that exists with --model DIR, or set HF_HUB_OFFLINE=1 with a filled cache (HF_HOME; now {cache})"
        );
        let unreachable = failure.may_pass() || matches!(failure, Failure::Stalled(_));
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
        if unreachable {
            anyhow::Error::new(Unreachable(sentence))
        } else {
            anyhow::Error::msg(sentence)
        }
    }
}

/// An environment variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
