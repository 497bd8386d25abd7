//! The engine that answers with a PDF's own text: no model, no pixels.

use super::{Attempt, PageResult, SingleReader};
use crate::{
    error::{ErrorKind, PageError, Stage},
    options::OutputFormat,
    page::{EngineInfo, Needs, PageAnswer, PreparedPage},
};

/// A layer with more than one unusable character in this many is rejected.
const MAX_MEANINGLESS: usize = 5;

/// Reads the text layer as `PDFium` gives it. Pages without one (images, scans) fail as `unsupported`, so that a fallback
/// reads them.
#[derive(Debug, Clone)]
pub struct TextLayer {
    info: EngineInfo,
}

impl TextLayer {
    /// Its name in records.
    pub const NAME: &str = "text-layer";
    /// What this engine looks at, known before there is one.
    pub const NEEDS: Needs = Needs {
        pixels: false,
        text: true,
    };
}

impl Default for TextLayer {
    fn default() -> Self {
        Self {
            info: EngineInfo {
                engine: Self::NAME,
                model: None,
                output_format: OutputFormat::Text,
                device: None,
                dtype: None,
            },
        }
    }
}

impl SingleReader for TextLayer {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn needs(&self) -> Needs {
        Self::NEEDS
    }

    fn read(&mut self, page: &PreparedPage, _: Attempt) -> PageResult {
        let why = match &page.text {
            None => "an image has no text layer",
            Some(text) if text.0.trim().is_empty() => {
                "the page's text layer is empty, like that of a scan"
            }
            Some(text) if !is_meaningful(&text.0) => {
                "the page's text layer has no usable characters: its fonts don't map them to Unicode"
            }
            Some(text) => {
                return Ok(PageAnswer {
                    content: text.0.clone(),
                    ..PageAnswer::default()
                });
            }
        };
        let message = format!("{why}; use --engine qwen to read it from its pixels");
        Err(PageError::new(
            ErrorKind::Unsupported,
            Stage::Engine,
            message,
        ))
    }
}

/// Whether most of what is no white space says which character it is. Fonts without a table of their characters leave
/// replacement characters, or values of the private use area.
fn is_meaningful(text: &str) -> bool {
    let means_nothing = |c: char| {
        c == char::REPLACEMENT_CHARACTER
            || matches!(c, '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..='\u{10FFFD}')
    };
    let visible = text.chars().filter(|c| !c.is_whitespace());
    let (mut all, mut meaningless) = (0, 0);
    for character in visible {
        all += 1;
        meaningless += usize::from(means_nothing(character));
    }
    meaningless * MAX_MEANINGLESS <= all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{PageId, PageText};

    fn read(text: Option<&str>) -> PageResult {
        let page = PreparedPage {
            id: PageId(1),
            pixels: None,
            original: None,
            blank: false,
            text: text.map(|text| PageText(text.to_owned())),
            draft: None,
            page_size: None,
        };
        let attempt = Attempt {
            deadline: std::time::Instant::now(),
            resample: false,
        };
        TextLayer::default().read(&page, attempt)
    }

    #[test]
    fn empty_or_unmapped_text_layer_fails_as_unsupported() {
        for (text, words) in [
            (None, "an image has no text layer"),
            (Some(" \n\t"), "is empty"),
            (
                Some("\u{FFFD}\u{FFFD} \u{E001}b"),
                "has no usable characters",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported);
            assert!(error.message.contains(words), "{error}");
        }
        for text in ["words", "a bullet \u{F0B7} among words", "漢字"] {
            assert_eq!(read(Some(text)).unwrap().content, text);
        }
    }
}
