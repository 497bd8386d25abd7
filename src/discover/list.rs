//! `--files-from` lists.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The paths of a `--files-from` list: one per line, or separated by NUL if the list contains any.
pub fn read(list: &Path) -> Result<Vec<PathBuf>> {
    let mut content = Vec::new();
    if list == Path::new("-") {
        io::stdin()
            .lock()
            .read_to_end(&mut content)
            .context("cannot read the list of --files-from from stdin")?;
    } else {
        content = fs::read(list)
            .with_context(|| format!("cannot read the list of --files-from: {}", list.display()))?;
    }
    let separator = if content.contains(&0) { 0 } else { b'\n' };
    let paths = content.split(|&byte| byte == separator);
    let paths = paths.map(|path| {
        if separator == 0 {
            path
        } else {
            path.strip_suffix(b"\r").unwrap_or(path)
        }
    });
    paths
        .filter(|path| !path.trim_ascii().is_empty())
        .map(path_of_bytes)
        .collect()
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // elsewhere paths are not bytes
fn path_of_bytes(bytes: &[u8]) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Ok(PathBuf::from(OsStr::from_bytes(bytes)))
}

#[cfg(not(unix))]
fn path_of_bytes(bytes: &[u8]) -> Result<PathBuf> {
    let path = std::str::from_utf8(bytes).context("the list of --files-from is not UTF-8")?;
    Ok(PathBuf::from(OsStr::new(path)))
}
