//! The engine that answers with a PDF's own text: no model, no pixels.

use anyhow::Result;

use crate::{
    document::{Needs, PreparedPage},
    engine::{Engine, PageAnswer, PageOutcome},
    error::{ErrorKind, PageError, Stage},
};

/// Reads the text layer as `PDFium` gives it. Pages without one (images) fail as `unsupported`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TextLayer;

impl TextLayer {
    /// Its name in records.
    pub const NAME: &str = "text-layer";
    /// What this engine looks at, known before there is one.
    pub const NEEDS: Needs = Needs {
        pixels: false,
        text: true,
    };
}

impl Engine for TextLayer {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn model(&self) -> Option<&str> {
        None
    }

    fn needs(&self) -> Needs {
        Self::NEEDS
    }

    fn run(
        &mut self,
        pages: &mut dyn Iterator<Item = PreparedPage>,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        for page in pages {
            let result = match page.text {
                Some(text) => Ok(PageAnswer {
                    content: text.0,
                    ..PageAnswer::default()
                }),
                None => Err(PageError::new(
                    ErrorKind::Unsupported,
                    Stage::Engine,
                    "an image has no text layer; --engine qwen reads it from its pixels",
                )),
            };
            done(PageOutcome {
                id: page.id,
                result,
            })?;
        }
        Ok(())
    }
}
