//! Turns an engine's text into the content of a record.
//!
//! Engines hand over a page's text unchanged. All processing that does not need the page belongs here: cleaning, blocks with
//! their types, and Markdown, HTML and plain text from them. So far the content is the text unchanged.

use crate::options::OutputFormat;

/// The content of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The page's content in the output format.
    pub content: String,
}

/// Reads what an engine wrote in `format`.
#[must_use]
pub fn read(text: String, format: OutputFormat) -> Answer {
    match format {
        OutputFormat::Markdown | OutputFormat::Html | OutputFormat::Text => {
            Answer { content: text }
        }
    }
}
