//! Turns an engine's text into the content of a record.
//!
//! Engines hand over a page's text unchanged. All processing that does not need the page belongs here: cleaning, blocks with
//! their types, and Markdown, HTML and plain text from them. So far reasoning before the text and a front matter are taken
//! off; all else of the content is the text unchanged.

mod front_matter;

pub use self::front_matter::Turn;
use crate::options::OutputFormat;

/// How a model writes its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// The page's content and nothing else.
    #[default]
    Plain,
    /// A front matter that says what kind of page it is and how it lies, then its content in Markdown, as olmOCR writes it.
    FrontMatter,
}

/// The content of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The page's content in the output format.
    pub content: String,
    /// How the page has to be turned to be read, if it lies on its side or on its head.
    pub turn: Option<Turn>,
}

/// Reads what an engine wrote in `format`.
#[must_use]
pub fn read(text: String, format: OutputFormat) -> Answer {
    read_as(text, format, Reading::Plain)
}

/// As [`read`], of a model that writes so.
#[must_use]
pub fn read_as(text: String, format: OutputFormat, reading: Reading) -> Answer {
    let text = without_thinking(text);
    let (content, turn) = match (format, reading) {
        (OutputFormat::Markdown | OutputFormat::Html | OutputFormat::Text, Reading::Plain) => {
            (text, None)
        }
        (_, Reading::FrontMatter) => front_matter::read(text),
    };
    Answer { content, turn }
}

/// The text without a block of reasoning at its beginning, and what separates them. A block that never ends is all of it.
fn without_thinking(text: String) -> String {
    let Some(thinking) = text.trim_start().strip_prefix("<think>") else {
        return text;
    };
    let after = thinking.split_once("</think>");
    after.map_or_else(String::new, |(_, after)| after.trim_start().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_reasoning_never_reaches_the_content() {
        for (text, content) in [
            ("<think>\n\n</think>\n\n# Title\n", "# Title\n"),
            ("\n<think>Hm.\nA page.</think>text", "text"),
            ("<think>I was cut off", ""),
            (
                " text with <think> and </think>",
                " text with <think> and </think>",
            ),
            ("", ""),
        ] {
            let answer = read(text.to_owned(), OutputFormat::Markdown);
            assert_eq!(answer.content, content, "{text:?}");
        }
    }
}
