//! The name of a model on the hub, distinguished from a missing folder.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use hf_hub::{Repo, RepoType};

use crate::model_files::{REQUIRED, WEIGHTS, is_plain};

/// Maximum edit distance of a suggested folder.
const MAX_TYPOS: usize = 2;

/// `owner/name[@revision]`; every part is safe in a URL and in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelName {
    /// `owner/name`.
    pub(super) id: String,
    /// A branch, a tag or a commit.
    pub(super) revision: String,
}

impl ModelName {
    /// Parses `model`, which is known not to be a folder.
    pub(super) fn parse(model: &str) -> Result<Self> {
        if Path::new(model).exists() {
            bail!("the model {model} is a file: set --model to its folder");
        }
        let (id, revision) = model.split_once('@').unwrap_or((model, "main"));
        let path_like = model.starts_with(['.', '/', '~'])
            || model.contains('\\')
            || id.matches('/').count() != 1;
        let similar = similar_folder(Path::new(id));
        let guess = similar.map_or_else(String::new, |path| {
            format!("; did you mean {}?", path.display())
        });
        let beside_folders = Path::new(id).parent().is_some_and(Path::is_dir);
        if !path_like && beside_folders && !model.contains('@') {
            // A mistyped path, or a model's name: nothing is fetched on a guess.
            bail!(
                "the model folder {model} does not exist{guess} ({model}@main is the one on the hub)"
            );
        }
        if path_like {
            bail!(
                "the model folder {model} does not exist{guess}: a model folder holds {} and {WEIGHTS} (or an index and its \
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

    /// The `hf-hub` repository at `revision`.
    pub(super) fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Model, revision.to_owned())
    }
}

/// The folder beside the missing `path` with nearly the same name. Its digits must be equal, since other sizes and
/// versions are other models.
fn similar_folder(path: &Path) -> Option<PathBuf> {
    let (folder, wanted) = (path.parent()?, path.file_name()?.to_str()?);
    let folder_or_here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let digits = |name: &str| -> String { name.chars().filter(char::is_ascii_digit).collect() };
    let names = fs::read_dir(folder_or_here).ok()?.flatten();
    let names = names.filter(|entry| entry.path().is_dir());
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let distances = names
        .filter(|name| digits(name) == digits(wanted))
        .map(|name| (strsim::damerau_levenshtein(&name, wanted), name));
    let (distance, name) = distances.min()?;
    (distance <= MAX_TYPOS.min(wanted.chars().count() / 3)).then(|| folder.join(name))
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            "main" => f.write_str(&self.id),
            revision => write!(f, "{}@{revision}", self.id),
        }
    }
}
