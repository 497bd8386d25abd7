//! The engine that asks the installed `tesseract` program.

use std::time::Instant;

use super::{Attempt, EngineFacts, PageAnswer, PageReader};
use crate::{
    error::{ErrorKind, PageError, Stage},
    page::{Needs, OutputFormat, PreparedPage},
    tesseract::Tesseract,
};

/// Reads pages with Tesseract, as plain text.
#[derive(Debug, Clone)]
pub struct TesseractEngine {
    facts: EngineFacts,
    program: Tesseract,
}

impl TesseractEngine {
    /// Its name in records.
    pub const NAME: &str = "tesseract";
    /// What this engine looks at, known before there is one.
    pub const NEEDS: Needs = Needs {
        pixels: true,
        text: false,
    };

    /// Reads with `program`.
    #[must_use]
    pub fn new(program: Tesseract) -> Self {
        Self {
            facts: EngineFacts {
                engine: Self::NAME,
                model: None,
                output_format: OutputFormat::Text,
            },
            program,
        }
    }
}

impl PageReader for TesseractEngine {
    fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    fn needs(&self) -> Needs {
        Self::NEEDS
    }

    fn read(&mut self, page: &PreparedPage, attempt: Attempt) -> Result<PageAnswer, PageError> {
        let failed = |kind, message| PageError::new(kind, Stage::Engine, message);
        let image = page
            .pixels
            .as_ref()
            .ok_or_else(|| failed(ErrorKind::Engine, "the page came without pixels"))?;
        let begin = Instant::now();
        let text = self
            .program
            .read(image, &|| Instant::now() >= attempt.deadline)?;
        let late = "tesseract took too long; give it more time with --page-timeout";
        Ok(PageAnswer {
            content: text.ok_or_else(|| failed(ErrorKind::Timeout, late))?,
            decode: begin.elapsed(),
            ..PageAnswer::default()
        })
    }
}
