//! Errors of pages that several files here give.

use std::io;

use crate::error::{ErrorKind, PageError, Stage};

/// A file that can't be opened or read on.
pub(super) fn not_opened(error: &io::Error) -> PageError {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "the file is not there any more".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "there is no permission to read the file; change that, or run as a user who has it"
                .to_owned()
        }
        _ => format!("the file can't be read: {error}"),
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
