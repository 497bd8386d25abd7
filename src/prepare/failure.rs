//! Errors of pages that several files here give.

use std::io;

use crate::error::{ErrorKind, PageError, Stage};

/// A file that can't be opened or read on.
pub(super) fn not_opened(error: &io::Error) -> PageError {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "the file does not exist any more".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "no permission to read the file; change its permissions, or run as another user"
                .to_owned()
        }
        _ => format!("cannot read the file: {error}"),
    };
    unreadable(Stage::Open, message)
}

/// A file or a page with nothing usable in it.
pub(super) fn unreadable(stage: Stage, message: impl Into<String>) -> PageError {
    PageError::new(ErrorKind::Unreadable, stage, message)
}

/// What died over a page; the same again may end better.
pub(super) fn crashed(stage: Stage, message: impl Into<String>) -> PageError {
    PageError::new(ErrorKind::Crashed, stage, message)
}

/// Pages that a document claims and does not have.
pub(super) fn missing_pages() -> PageError {
    let message = "the document claims these pages, but its file does not have them; get a whole copy if there is one";
    unreadable(Stage::Prepare, message)
}
