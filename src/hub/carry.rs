//! A model in a folder of its own, to carry to a machine without network.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use hf_hub::Cache;

use super::{
    folder::{SmallFiles, is_cached, small_files_from},
    name::ModelName,
    origin::Hub,
    progress::FetchProgress,
};
use crate::cancel::Cancel;

/// Where a download is kept until it is whole, so that an interrupted one continues.
const STAGING: &str = ".fetching";

/// Fetches `owner/name[@revision]` into `folder`, which is empty or new, or has an interrupted fetch. `check` may refuse the
/// model when its small files are there. A model that is in the cache is copied from there; one that is not does not get
/// there.
///
/// # Errors
/// As [`model_folder`](super::model_folder), the error of `check`, or the folder is not empty or can't be written to.
pub fn fetch_into(
    model: &str,
    folder: &Path,
    check: impl FnOnce(&SmallFiles) -> Result<()>,
    progress: FetchProgress,
    cancel: &Cancel,
) -> Result<()> {
    let shown = folder.display();
    let name = ModelName::parse(model)?;
    let staging = folder.join(STAGING);
    if !staging.is_dir() && !is_empty(folder).with_context(|| format!("cannot read {shown}"))? {
        bail!("{shown} is not empty: name another folder with --to");
    }
    let mut hub = Hub::from_env()?;
    if !is_cached(model) && !hub.offline {
        hub.cache = Cache::new(staging.clone());
    }
    let cannot = || format!("cannot write to {shown}");
    fs::create_dir_all(&staging).with_context(cannot)?;
    let files = small_files_from(hub, name, progress, cancel);
    let snapshot = files.and_then(|files| {
        if let Err(refused) = check(&files) {
            let _ = fs::remove_dir_all(&staging);
            return Err(refused);
        }
        files.fetch_weights()
    });
    let snapshot = snapshot.inspect_err(|_| {
        for folder in [staging.as_path(), folder] {
            // One that is not empty has a download that may continue.
            let _ = fs::remove_dir(folder);
        }
    })?;
    for entry in fs::read_dir(&snapshot).with_context(cannot)? {
        let file = entry.with_context(cannot)?;
        let target = folder.join(file.file_name());
        place(&file.path(), &target).with_context(cannot)?;
    }
    fs::remove_dir_all(&staging).with_context(cannot)
}

/// Whether a folder has nothing in it, or is missing.
fn is_empty(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Puts the file behind a link of the cache at `target`, without a second copy where both are on one disk.
fn place(link: &Path, target: &Path) -> io::Result<()> {
    let file: PathBuf = fs::canonicalize(link)?;
    let is_staged = file.components().any(|part| part.as_os_str() == STAGING);
    match fs::remove_file(target) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if is_staged && fs::hard_link(&file, target).is_ok() {
        return Ok(());
    }
    let folder = target.parent().unwrap_or(Path::new("."));
    let part = tempfile::Builder::new()
        .suffix(".part")
        .tempfile_in(folder)?;
    fs::copy(&file, part.path())?;
    part.persist(target).map_err(|error| error.error)?;
    Ok(())
}
