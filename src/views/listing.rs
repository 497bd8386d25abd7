//! The pages that failed, or have warnings.

use std::fmt;

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    error::{ErrorKind, PageError},
    journal::{Document, Entry, Snapshot},
    page::Warning,
    record::{Status, spelled},
    terminal::printable,
};

/// Which pages to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Those that failed.
    Failed,
    /// Those with warnings.
    Warnings,
}

/// A listed page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The document; what is not UTF-8 is lost.
    pub path: String,
    /// The bytes of its path.
    pub path_bytes: Vec<u8>,
    /// The page; 0 for the whole document.
    pub page: u32,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Failed(ErrorKind, String),
    Warnings(Vec<Warning>),
}

#[derive(Deserialize)]
struct Row {
    path: String,
    path_bytes: Option<String>,
    page: u32,
    warnings: Vec<Warning>,
    error: Option<PageError>,
}

/// The selected pages, by path and page.
///
/// # Errors
/// As [`Snapshot::each`].
pub fn list(snapshot: &Snapshot, selection: Selection) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    let documents = snapshot.documents();
    let entries = documents.iter().flat_map(Document::records);
    let may_be =
        |entry: &&Entry| selection == Selection::Warnings || entry.state().status == Status::Failed;
    snapshot.each_of(entries.filter(may_be), |_, page: Row| {
        let why = match selection {
            Selection::Failed => page
                .error
                .map(|error| Why::Failed(error.kind, error.message)),
            Selection::Warnings => {
                (!page.warnings.is_empty()).then_some(Why::Warnings(page.warnings))
            }
        };
        if let Some(why) = why {
            let bytes = page.path_bytes.and_then(|text| STANDARD.decode(text).ok());
            let path_bytes = bytes.unwrap_or_else(|| page.path.clone().into_bytes());
            let (path, page) = (page.path, page.page);
            listed.push(Listed {
                path,
                path_bytes,
                page,
                why,
            });
        }
        Ok(())
    })?;
    listed.sort_unstable();
    Ok(listed)
}

/// Path, page and reason, separated by tabs.
impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t", printable(&self.path), self.page)?;
        match &self.why {
            Why::Failed(kind, message) => write!(f, "{}\t{}", spelled(kind), printable(message)),
            Why::Warnings(warnings) => {
                let names: Vec<_> = warnings.iter().map(spelled).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}
