//! The name of a model on the hub, told apart from a folder that isn't there.

use std::{fmt, path::Path};

use anyhow::{Result, bail};
use hf_hub::{Repo, RepoType};

use crate::model_files::{REQUIRED, WEIGHTS, is_plain};

/// `owner/name[@revision]`; every part is safe in a URL and in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelName {
    /// `owner/name`.
    pub(super) id: String,
    /// A branch, a tag or a commit.
    pub(super) revision: String,
}

impl ModelName {
    /// Reads `model`, which is known not to be a folder.
    pub(super) fn parse(model: &str) -> Result<Self> {
        if Path::new(model).exists() {
            bail!("the model {model} is a file: --model takes the folder that holds it");
        }
        let (id, revision) = model.split_once('@').unwrap_or((model, "main"));
        let path_like = model.starts_with(['.', '/', '~'])
            || model.contains('\\')
            || id.matches('/').count() != 1;
        if path_like {
            bail!(
                "the model folder {model} does not exist: a model folder holds {} and {WEIGHTS} (or an index and its \
                 parts); a model on the hub is named like Qwen/Qwen3-VL-2B-Instruct",
                REQUIRED.join(", ")
            );
        }
        if !id.split('/').chain(revision.split('/')).all(is_plain) {
            bail!(
                "{model:?} is neither a folder nor a model's name: a name is owner/name or owner/name@revision"
            );
        }
        Ok(Self {
            id: id.to_owned(),
            revision: revision.to_owned(),
        })
    }

    /// The model at `revision`, as `hf-hub` has it.
    pub(super) fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Model, revision.to_owned())
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            "main" => f.write_str(&self.id),
            revision => write!(f, "{}@{revision}", self.id),
        }
    }
}
