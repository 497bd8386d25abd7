//! The files of a model folder, as models are published: which there are, and what is read from the small ones.
//!
//! Fetching, identity and loading all go by this one list.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, de::DeserializeOwned};

/// Small files that every model folder holds.
pub const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];
/// Small files that a model folder may hold.
pub const OPTIONAL: [&str; 6] = [
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.json",
    "chat_template.jinja",
];
/// Which tensor is in which file, where the weights are in several.
pub const INDEX: &str = "model.safetensors.index.json";
/// The weights, where they are in one file.
pub const WEIGHTS: &str = "model.safetensors";

/// Reads `folder/name`; errors name the file and, if possible, the position.
pub fn read_json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T> {
    let path = folder.join(name);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("cannot parse {}", path.display()))
}

/// As [`read_json`], for a file that need not be there.
pub fn read_json_or_default<T: DeserializeOwned + Default>(folder: &Path, name: &str) -> Result<T> {
    if folder.join(name).exists() {
        read_json(folder, name)
    } else {
        Ok(T::default())
    }
}

/// The names of the weight files that the index in `folder` lists; [`WEIGHTS`] alone where there is no index.
///
/// # Errors
/// The index can't be read, or names a file outside of the folder.
pub fn weight_names(folder: &Path) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    if !folder.join(INDEX).exists() {
        return Ok(BTreeSet::from([WEIGHTS.to_owned()]));
    }
    let Index { weight_map } = read_json(folder, INDEX)?;
    let names: BTreeSet<String> = weight_map.into_values().collect();
    if let Some(odd) = names.iter().find(|name| !is_plain(name)) {
        bail!(
            "{} names an invalid file {odd:?}",
            folder.join(INDEX).display()
        );
    }
    Ok(names)
}

/// The weight files of a folder that is complete.
///
/// # Errors
/// There are none, or one that the index lists is missing.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let files: Vec<PathBuf> = weight_names(folder)?
        .iter()
        .map(|name| folder.join(name))
        .collect();
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        ensure!(
            folder.join(INDEX).exists(),
            "there are no weights in {}: neither {WEIGHTS} nor {INDEX}{}",
            folder.display(),
            instead_in(folder)
        );
        bail!("{INDEX} names {}, which does not exist", missing.display());
    }
    Ok(files)
}

/// What unsupported model files are; `None` if unknown.
pub fn describe_instead<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    const KINDS: [(&str, &str); 3] = [
        (
            ".gguf",
            "its weights are GGUF files, for llama.cpp; use the checkpoint that they were made from",
        ),
        (
            "adapter_model",
            "it is an adapter; merge it into its base model first",
        ),
        (
            "pytorch_model",
            "its weights are PyTorch files; convert them to safetensors",
        ),
    ];
    names.find_map(|name| {
        let kind = KINDS.iter().find(|kind| name.contains(kind.0));
        kind.map(|kind| kind.1)
    })
}

/// As [`describe_instead`], in brackets after what `folder` lacks.
fn instead_in(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    describe_instead(names.iter().map(String::as_str))
        .map_or_else(String::new, |what| format!(" ({what})"))
}

/// What `folder` lacks to be a model folder.
///
/// # Errors
/// As [`weight_names`].
pub fn missing(folder: &Path) -> Result<Vec<String>> {
    let weights = weight_names(folder)?;
    Ok(REQUIRED
        .into_iter()
        .map(str::to_owned)
        .chain(weights)
        .filter(|name| !folder.join(name).exists())
        .collect())
}

/// Whether `name` is safe in a URL and in a path.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
