//! What an engine wrote, as the content of a record.
//!
//! Engines hand over a page's text as it came. Here is the place for everything that is made of it without looking at the
//! page again: cleaning, blocks with their kinds, and from these Markdown, HTML and plain text. So far the text is the
//! content as it is.

use crate::options::OutputFormat;

/// What was read on a page.
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
