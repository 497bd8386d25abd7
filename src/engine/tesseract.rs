//! The engine that asks the installed `tesseract` program.

use super::{Attempt, PageResult, SingleReader};
use crate::{
    answer::markdown,
    cancel::Cancel,
    clock,
    error::{ErrorKind, PageError, Stage},
    options::OutputFormat,
    page::{EngineInfo, Needs, PageAnswer, PreparedPage},
    tesseract::Tesseract,
};

/// Reads pages with Tesseract, as plain text, or as blocks.
#[derive(Debug, Clone)]
pub struct TesseractEngine {
    info: EngineInfo,
    blocks: bool,
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

    /// Reads with `program`; with `blocks`, a block for each paragraph too, and Markdown.
    #[must_use]
    pub fn new(program: Tesseract, blocks: bool) -> Self {
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
        let cancel = Cancel::default().until(attempt.deadline);
        let late = || {
            failed(
                ErrorKind::Timeout,
                "tesseract took too long; raise --page-timeout",
            )
        };
        let (content, blocks) = if self.blocks {
            let blocks = self.program.read_blocks(image, &cancel)?;
            let blocks = blocks.ok_or_else(late)?;
            (markdown(&blocks, &|_| None), Some(blocks))
        } else {
            (self.program.read(image, &cancel)?.ok_or_else(late)?, None)
        };
        Ok(PageAnswer {
            content,
            blocks,
            decode: clock::since(begin),
            ..PageAnswer::default()
        })
    }
}
