//! The engine that asks the installed `tesseract` program.

use super::{Attempt, PageResult, SingleReader};
use crate::{
    cancel::Cancel,
    clock,
    error::{ErrorKind, PageError, Stage},
    options::OutputFormat,
    page::{EngineInfo, Needs, PageAnswer, PreparedPage},
    tesseract::Tesseract,
};

/// Reads pages with Tesseract, as plain text.
#[derive(Debug, Clone)]
pub struct TesseractEngine {
    info: EngineInfo,
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
            info: EngineInfo {
                engine: Self::NAME,
                model: None,
                output_format: OutputFormat::Text,
                device: None,
                dtype: None,
            },
            program,
        }
    }
}

impl SingleReader for TesseractEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn needs(&self) -> Needs {
        Self::NEEDS
    }

    fn read(&mut self, page: &PreparedPage, attempt: Attempt) -> PageResult {
        let failed = |kind, message| PageError::new(kind, Stage::Engine, message);
        let image = page
            .pixels
            .as_deref()
            .ok_or_else(|| failed(ErrorKind::Engine, "the page came without pixels"))?;
        let begin = clock::now();
        // The page in hand is finished, whoever asks the run to end.
        let text = self
            .program
            .read(image, &Cancel::default().until(attempt.deadline))?;
        let late = "tesseract took too long; raise --page-timeout";
        Ok(PageAnswer {
            content: text.ok_or_else(|| failed(ErrorKind::Timeout, late))?,
            decode: clock::since(begin),
            ..PageAnswer::default()
        })
    }
}
