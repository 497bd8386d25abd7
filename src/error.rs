//! The error of one page: typed, recorded, never fatal to the run.
//!
//! An [`anyhow::Error`] with context ends a run. A [`PageError`] costs one page or one document, and becomes the
//! `error` field of its record.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a page failed. A closed set: readers of the records may match on it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The file is missing, empty, damaged or not readable.
    Unreadable,
    /// The PDF needs a password.
    Encrypted,
    /// The file is not a PDF or an image of a known format.
    Unsupported,
    /// The page or image is too large to decode safely.
    TooLarge,
    /// The page could not be rendered.
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
    /// The file changed while it was read.
    Changed,
}

/// The stage in which a page failed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageError {
    /// The kind, for programs.
    pub kind: ErrorKind,
    /// What happened and what to do, for people; without the path, which the record has.
    pub message: String,
    /// The stage.
    pub stage: Stage,
}

impl PageError {
    /// An error of `kind` at `stage`.
    pub fn new(kind: ErrorKind, stage: Stage, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            stage,
        }
    }
}

impl PageError {
    /// The error of a file that is not the one any more that its checksum was made of.
    #[must_use]
    pub fn changed(stage: Stage) -> Self {
        let message = "the file changed while it was read; the next run reads it anew";
        Self::new(ErrorKind::Changed, stage, message)
    }

    /// Whether the same attempt may succeed later, since the page may not be the cause. (Running out of memory needs a
    /// different attempt.)
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, ErrorKind::Server | ErrorKind::Crashed)
    }
}

/// Turns a panic in `work` into the error of one page; the message names `what` failed.
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
