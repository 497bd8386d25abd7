//! The output target.

use std::{fmt, fs, path::PathBuf};

use anyhow::{Result, bail};

use super::place::{folder_of, resolve};

/// The output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl Target {
    /// Checks early whether the file can be created.
    ///
    /// # Errors
    /// The path is a folder, or its folder does not exist.
    pub fn check(&self) -> Result<()> {
        let Self::File(path) = self else {
            return Ok(());
        };
        let shown = path.display();
        if path.is_dir() {
            bail!(
                "--output {shown} is a folder; name a file in it, like {}",
                path.join("results.jsonl").display()
            );
        }
        let file = resolve(path);
        let folder = folder_of(&file);
        if !folder.is_dir() {
            bail!(
                "--output {shown}: the folder {} does not exist; create it first",
                folder.display()
            );
        }
        Ok(())
    }

    /// A warning about a name that promises something else than JSON lines.
    #[must_use]
    pub fn misnamed(&self) -> Option<String> {
        let Self::File(path) = self else {
            return None;
        };
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        let promised = match extension.as_str() {
            "md" | "markdown" => "Markdown",
            "html" | "htm" => "HTML",
            "txt" => "text",
            _ => return None,
        };
        let shown = path.display();
        Some(format!(
            "{shown} holds JSON lines, not {promised}: write {promised} files from it with omnidocs export {shown} --to DIR"
        ))
    }

    /// Whether it can't be resumed: standard output, a pipe or a device.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        match self {
            Self::Stdout => true,
            Self::File(path) => fs::metadata(path).is_ok_and(|data| !data.is_file()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("the standard output"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}
