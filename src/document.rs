//! The nouns that the stages share: what is found, what is opened, what is ready for an engine.

use std::{path::PathBuf, sync::Arc, time::Duration};

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::error::PageError;

/// A file format that can be read, by its content and not its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Format {
    Pdf,
    Png,
    Jpeg,
    Webp,
    Bmp,
    Gif,
    Tiff,
}

/// One input as discovery leaves it: a path that exists, or the reason why it can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As the user gave it, or below the folder that the user gave.
    pub path: PathBuf,
    /// The file's size in bytes, if it could be found out.
    pub size_bytes: Option<u64>,
    /// What discovery ran into here (a missing file, a folder that may not be read).
    pub error: Option<PageError>,
}

/// A document that was opened, as far as that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// As in [`Source::path`].
    pub path: PathBuf,
    /// The file's size in bytes, if it could be found out.
    pub size_bytes: Option<u64>,
    /// SHA-256 of the file's bytes in lower-case hex, as `sha256sum` prints it; none if the bytes can't be read.
    pub doc_id: Option<String>,
    /// The format that the content shows; none where it shows none.
    pub format: Option<Format>,
    /// Number of pages; none if the document can't be opened.
    pub page_count: Option<u32>,
}

/// One page of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRef {
    /// The document that the page belongs to.
    pub document: Arc<Document>,
    /// 1-based; 0 stands for a document that can't be opened.
    pub number: u32,
}

/// A ticket that an engine hands back with its answer, so that it needs to know nothing else of where a page came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(pub u64);

/// The text layer of a PDF page, as PDFium reads it, lines separated by `\n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageText(pub String);

/// A page that is ready for an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedPage {
    /// Handed back with the outcome.
    pub id: PageId,
    /// u8 RGB at the size that the model sees; none if no engine of this run looks at pixels.
    pub pixels: Option<RgbImage>,
    /// The text layer, if an engine of this run uses it; none where the page has none (an image).
    pub text: Option<PageText>,
}

/// What a run's engine wants prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Render the page.
    pub pixels: bool,
    /// Read the page's text layer.
    pub text: bool,
}

/// What the preparation stage gives out for each page, in input order.
#[derive(Debug)]
pub struct Preparation {
    /// Which page this is.
    pub page: PageRef,
    /// The page, or why there is none.
    pub result: Result<PreparedPage, PageError>,
    /// Time spent on this page by the preparing thread.
    pub elapsed: Duration,
}
