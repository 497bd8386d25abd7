//! The engine that answers with a PDF's own text: no model, no pixels.

use super::{Attempt, PageResult, SingleReader};
use crate::{
    error::{ErrorKind, PageError, Stage},
    options::OutputFormat,
    page::{EngineInfo, Needs, PageAnswer, PreparedPage},
};

/// Reads the text layer as `PDFium` gives it. Pages without one (images) fail as `unsupported`.
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
