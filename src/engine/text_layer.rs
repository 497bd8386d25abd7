//! The engine that answers with a PDF's own text: no model, no pixels.

use std::ops::Range;

use super::{Attempt, PageResult, SingleReader};
use crate::{
    answer::markdown,
    block::{Block, BlockType, within_page},
    error::{ErrorKind, PageError, Stage},
    options::OutputFormat,
    page::{EngineInfo, Needs, PageAnswer, PageText, PreparedPage},
};

/// Reads the text layer. Pages without one (images, scans), and those of which it does not say what they show, fail as
/// `unsupported`, so that a fallback reads them.
#[derive(Debug, Clone)]
pub struct TextLayer {
    info: EngineInfo,
    blocks: bool,
}

impl TextLayer {
    /// Its name in records.
    pub const NAME: &str = "text-layer";
    /// What this engine looks at, known before there is one.
    pub const NEEDS: Needs = Needs {
        pixels: false,
        text: true,
    };

    /// Gives plain text; with `blocks`, a block for each paragraph too, and Markdown.
    #[must_use]
    pub fn new(blocks: bool) -> Self {
        Self {
            info: EngineInfo {
                engine: Self::NAME,
                model: None,
                output_format: if blocks {
                    OutputFormat::Markdown
                } else {
                    OutputFormat::Text
                },
                device: None,
                dtype: None,
            },
            blocks,
        }
    }

    fn answer(&self, layer: &PageText) -> PageAnswer {
        if !self.blocks {
            return PageAnswer {
                content: layer.text.clone(),
                ..PageAnswer::default()
            };
        }
        let blocks = blocks(layer);
        PageAnswer {
            content: markdown(&blocks, &|_| None),
            blocks: Some(blocks),
            ..PageAnswer::default()
        }
    }
}

impl Default for TextLayer {
    fn default() -> Self {
        Self::new(false)
    }
}

/// A block for each paragraph of a text layer, and for what is in none of them.
fn blocks(layer: &PageText) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut end = 0;
    let mut push = |bytes: Range<usize>, bbox| {
        let text = layer.text.get(bytes).unwrap_or_default().trim();
        if !text.is_empty() {
            let block = Block::new(BlockType::Text, text);
            blocks.push(Block { bbox, ..block });
        }
    };
    for place in &layer.places {
        let bytes = place.bytes.clone();
        // Places may come from a worker that can't be trusted.
        if bytes.start < end || layer.text.get(bytes.clone()).is_none() {
            continue;
        }
        push(end..bytes.start, None);
        end = bytes.end;
        push(
            bytes,
            within_page(place.bbox.map(|side| f64::from(side) / 1e4)),
        );
    }
    push(end..layer.text.len(), None);
    blocks
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
            (None, Some(text)) => return Ok(self.answer(text)),
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
    use crate::page::{PageId, TextPlace};

    fn read(text: Option<&str>, is_scan: bool) -> PageResult {
        let page = PreparedPage {
            id: PageId(1),
            text: text.map(|text| PageText::from(text.to_owned())),
            is_scan,
            ..PreparedPage::default()
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

    #[test]
    fn paragraphs_of_the_text_layer_become_blocks() {
        let place = |bytes, left| TextPlace {
            bytes,
            bbox: [left, 0, 10_000, 2500],
        };
        let layer = PageText {
            text: "Größe\nline\nno place\nlast".to_owned(),
            places: vec![
                place(0..12, 500),
                // Not in order, outside of the text, and within a letter.
                place(3..5, 0),
                place(0..900, 0),
                place(22..26, 1234),
            ],
        };
        let read = blocks(&layer).into_iter().map(|it| (it.text, it.bbox));
        let read: Vec<_> = read.collect();
        let expected = [
            ("Größe\nline", Some([0.05, 0.0, 1.0, 0.25])),
            ("no place", None),
            ("last", Some([0.1234, 0.0, 1.0, 0.25])),
        ];
        assert_eq!(read, expected.map(|(text, bbox)| (text.to_owned(), bbox)));
        let answer = TextLayer::new(true).answer(&layer);
        assert_eq!(answer.content, "Größe\nline\n\nno place\n\nlast");
    }
}
