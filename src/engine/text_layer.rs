//! The engine that answers with a PDF's own text: no model, no pixels.

use super::{Attempt, PageResult, SingleReader};
use crate::{
    error::{ErrorKind, PageError, Stage},
    options::OutputFormat,
    page::{EngineInfo, Needs, PageAnswer, PageText, PreparedPage},
};

/// Reads the text layer. Pages without one (images, scans), and those of which it does not say what they show, fail as
/// `unsupported`, so that a fallback reads them.
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
        let text = page.text.as_ref();
        let why = match (PageText::distrust(text, page.is_scan), text) {
            (None, Some(text)) => {
                return Ok(PageAnswer {
                    content: text.0.clone(),
                    ..PageAnswer::default()
                });
            }
            (why, _) => why.unwrap_or_default(),
        };
        let message = format!("{why}; use --engine qwen to read it from its pixels");
        Err(PageError::new(
            ErrorKind::Unsupported,
            Stage::Engine,
            message,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::PageId;

    fn read(text: Option<&str>, is_scan: bool) -> PageResult {
        let page = PreparedPage {
            id: PageId(1),
            pixels: None,
            original: None,
            blank: false,
            text: text.map(|text| PageText(text.to_owned())),
            is_scan,
            warnings: Vec::new(),
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
            let error = read(text, false).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported);
            assert!(error.message.contains(words), "{error}");
        }
        let error = read(Some("Page 3"), true).unwrap_err();
        assert!(error.message.contains("no more than a stamp"), "{error}");
        for text in ["words", "a bullet \u{F0B7} among words", "漢字"] {
            assert_eq!(read(Some(text), false).unwrap().content, text);
        }
    }
}
