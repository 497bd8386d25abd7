//! The engine that answers with a PDF's own text: no model, no pixels.

use super::{Attempt, EngineFacts, PageAnswer, PageReader};
use crate::{
    error::{ErrorKind, PageError, Stage},
    page::{Needs, OutputFormat, PreparedPage},
};

/// Reads the text layer as `PDFium` gives it. Pages without one (images) fail as `unsupported`.
#[derive(Debug, Clone)]
pub struct TextLayer {
    facts: EngineFacts,
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
            facts: EngineFacts {
                engine: Self::NAME,
                model: None,
                output_format: OutputFormat::Text,
            },
        }
    }
}

impl PageReader for TextLayer {
    fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    fn needs(&self) -> Needs {
        Self::NEEDS
    }

    fn read(&mut self, page: &PreparedPage, _: Attempt) -> Result<PageAnswer, PageError> {
        let text = page.text.as_ref().ok_or_else(|| {
            PageError::new(
                ErrorKind::Unsupported,
                Stage::Engine,
                "an image has no text layer; --engine qwen reads it from its pixels",
            )
        })?;
        Ok(PageAnswer {
            content: text.0.clone(),
            ..PageAnswer::default()
        })
    }
}
