//! The pages that failed, have warnings, or come by confidence.

use std::fmt;

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    error::{ErrorKind, PageError},
    journal::{Document, Entry, Snapshot},
    page::Warning,
    record::{Confidence, Status, spelled},
    terminal::printable,
};

/// Which pages to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Those that failed.
    Failed,
    /// Those with warnings.
    Warnings,
    /// Those that a model read, the one that it was least sure of first.
    Unsure,
}

/// A listed page.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The document; what is not UTF-8 is lost.
    pub path: String,
    /// The bytes of its path.
    pub path_bytes: Vec<u8>,
    /// The page; 0 for the whole document.
    pub page: u32,
    why: Why,
}

#[derive(Debug, Clone, PartialEq)]
enum Why {
    Failed(ErrorKind, String),
    Warnings(Vec<Warning>),
    Confidence(Confidence),
}

impl Why {
    /// What comes first in the list.
    fn worst(&self) -> f64 {
        match self {
            Self::Confidence(confidence) => confidence.worst,
            _ => 0.0,
        }
    }
}

#[derive(Deserialize)]
struct Row {
    path: String,
    path_bytes: Option<String>,
    page: u32,
    warnings: Vec<Warning>,
    error: Option<PageError>,
    confidence: Option<Confidence>,
}

/// The selected pages, by path and page where not by confidence.
///
/// # Errors
/// As [`Snapshot::each`].
pub fn list(snapshot: &Snapshot, selection: Selection) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    let documents = snapshot.documents();
    let entries = documents.iter().flat_map(Document::records);
    let may_be =
        |entry: &&Entry| selection != Selection::Failed || entry.state().status == Status::Failed;
    snapshot.each_of(entries.filter(may_be), |_, page: Row| {
        let why = match selection {
            Selection::Failed => page
                .error
                .map(|error| Why::Failed(error.kind, error.message)),
            Selection::Warnings => {
                (!page.warnings.is_empty()).then_some(Why::Warnings(page.warnings))
            }
            Selection::Unsure => page.confidence.map(Why::Confidence),
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
    listed.sort_unstable_by(|one, other| {
        let by_worst = one.why.worst().total_cmp(&other.why.worst());
        by_worst.then_with(|| (&one.path_bytes, one.page).cmp(&(&other.path_bytes, other.page)))
    });
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
            Why::Confidence(Confidence { mean, worst }) => write!(f, "{worst}\t{mean}"),
        }
    }
}
