//! The error of one page: typed, recorded, never the end of a run.
//!
//! What ends a run is an [`anyhow::Error`] with context; what costs one page or one document is a [`PageError`],
//! which becomes the `error` field of that page's record.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::{Deserialize, Serialize};

/// Why a page failed. A closed set: readers of the records may match on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The file is missing, empty, damaged or may not be read.
    Unreadable,
    /// The PDF wants a password.
    Encrypted,
    /// The file is not a PDF or an image of a known format.
    Unsupported,
    /// The page or image is larger than can be decoded safely.
    TooLarge,
    /// The page could not be turned into pixels.
    Render,
    /// A deadline passed.
    Timeout,
    /// The device or the machine ran out of memory.
    OutOfMemory,
    /// The engine failed on this page.
    Engine,
    /// The inference server failed.
    Server,
    /// A worker process died.
    Crashed,
}

/// Where in the data flow a page failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Finding and opening the document.
    Open,
    /// Turning the page into pixels or text.
    Prepare,
    /// Reading the page.
    Engine,
}

/// Why one page, or one document as its page 0, has no content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageError {
    /// The kind, for programs.
    pub kind: ErrorKind,
    /// What happened and what to do, for people; names no path, since the record does.
    pub message: String,
    /// Where it happened.
    pub stage: Stage,
}

impl PageError {
    /// An error of `kind` at `stage`, with a message for a person.
    pub fn new(kind: ErrorKind, stage: Stage, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            stage,
        }
    }
}

impl PageError {
    /// Whether the same again may end better: what is wrong may not be the page. (When memory runs out, it takes something
    /// else than the same again.)
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, ErrorKind::Server | ErrorKind::Crashed)
    }
}

/// Makes a panic in `work` the error of one page; `what` it is that panics is for the message.
pub fn guard<T>(
    stage: Stage,
    what: &str,
    work: impl FnOnce() -> Result<T, PageError>,
) -> Result<T, PageError> {
    // Whatever `work` left half done belongs to the page that it fails with.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        Err(PageError::new(
            ErrorKind::Crashed,
            stage,
            format!("{what} failed: {said}"),
        ))
    })
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PageError {}
