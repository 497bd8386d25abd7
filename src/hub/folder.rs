//! The folder of a model: its small files first, then its weights.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{
    failure::Unreachable,
    fetch::{Fetch, Listing},
    name::ModelName,
    origin::Hub,
    progress::FetchProgress,
};
use crate::cancel::Cancel;

/// A model whose small files are local; its weights may not be.
#[derive(Debug)]
pub struct SmallFiles {
    folder: PathBuf,
    weights: Weights,
}

/// The location of a model's weights.
#[derive(Debug)]
enum Weights {
    /// In the folder, or missing.
    Here,
    /// On the hub, or partly in the folder.
    OnHub(Box<Fetch>),
    /// On the hub, which can't be reached.
    OutOfReach(anyhow::Error),
}

impl SmallFiles {
    /// The folder of the small files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fetches the missing weights and returns the folder.
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

/// The folder of `model`: an existing folder as it is, or the snapshot of `owner/name[@revision]` in the hub's cache.
///
/// Missing files are fetched, and an interrupted download is continued. If several processes request the same model,
/// one fetches and the others wait. If the hub can't be reached and the cache holds the complete snapshot, that is
/// used, with a warning.
///
/// # Errors
/// No such folder or model, no network, no permission, no space: each message says what to do.
pub fn model_folder(model: &str, progress: FetchProgress, cancel: &Cancel) -> Result<PathBuf> {
    small_files(model, progress, cancel)?.fetch_weights()
}

/// Whether all files of `owner/name[@revision]` are in the hub's cache.
#[must_use]
pub fn is_cached(model: &str) -> bool {
    let whole = || -> Result<()> {
        let folder = Hub::from_env()?.cached(&ModelName::parse(model)?)?;
        Hub::check_whole(&folder)
    };
    whole().is_ok()
}

/// The folder that models are kept in.
///
/// # Errors
/// There is no home folder, or the environment can't be understood.
pub fn cache_folder() -> Result<PathBuf> {
    Ok(Hub::from_env()?.cache.path().clone())
}

/// Whether `model`, which is no folder, can be the name of one on the hub.
///
/// # Errors
/// It can't: the message says what to do.
pub fn check_name(model: &str) -> Result<()> {
    ModelName::parse(model).map(drop)
}

/// The small files of `model`, enough to refuse it before its weights are fetched. Otherwise as [`model_folder`].
///
/// # Errors
/// As [`model_folder`]; [`Unreachable`] if the hub can't be reached and the cache lacks the files.
pub fn small_files(model: &str, progress: FetchProgress, cancel: &Cancel) -> Result<SmallFiles> {
    if Path::new(model).is_dir() {
        return Ok(SmallFiles {
            folder: PathBuf::from(model),
            weights: Weights::Here,
        });
    }
    let model = ModelName::parse(model)?;
    small_files_from(Hub::from_env()?, model, progress, cancel)
}

/// As [`small_files`], from this hub and its cache.
pub(super) fn small_files_from(
    hub: Hub,
    model: ModelName,
    progress: FetchProgress,
    cancel: &Cancel,
) -> Result<SmallFiles> {
    if hub.offline {
        let unreachable = |error| {
            anyhow::Error::new(Unreachable(format!(
                "HF_HUB_OFFLINE is set and the cache lacks {model}: run once without it, or use a folder with --model DIR: {error:#}"
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
            let mut fetch = Fetch::new(hub, model, listing, progress, cancel);
            fetch.small_files()?;
            Ok(SmallFiles {
                folder: fetch.folder().to_owned(),
                weights: Weights::OnHub(Box::new(fetch)),
            })
        }
        Err(failure) if failure.is_out_of_reach() => {
            let Ok(folder) = hub.cached(&model) else {
                return Err(hub.explain(&model, &model.to_string(), failure));
            };
            let weights = if Hub::check_whole(&folder).is_ok() {
                tracing::warn!("{}: {failure}; using the cached {model}", hub.host());
                Weights::Here
            } else {
                Weights::OutOfReach(hub.explain(&model, &model.to_string(), failure))
            };
            Ok(SmallFiles { folder, weights })
        }
        Err(failure) => Err(hub.explain(&model, &model.to_string(), failure)),
    }
}
