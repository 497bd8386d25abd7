//! What people look at, made from an output: its status, its pages, its documents as files.

pub mod advice;
pub mod export;
pub mod histogram;
pub mod listing;
pub mod show;
pub mod status;

/// `text` with an end of its last line, if there is a line.
#[must_use]
pub fn with_newline(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
