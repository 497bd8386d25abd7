//! Settings of preparation.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;

use super::{
    decoder::{Decoder, PageRequest, Raster},
    in_process::InProcess,
    orientation::AutoRotate,
    worker_pool::WorkerPool,
};
use crate::{
    page::Needs, page_selection::PageSelection, secrets::Passwords, skip::Skip,
    tesseract::Tesseract,
};

/// Settings of preparation.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Resolution and pixel budget of pages.
    pub raster: Raster,
    /// The pages of each document; all if none.
    pub selection: Option<PageSelection>,
    /// What the engine needs; nothing else is prepared.
    pub needs: Needs,
    /// Pixels are only prepared where the text layer does not say what the page shows.
    pub text_first: bool,
    /// The source of drafts for pages without a text layer.
    pub draft: Option<Tesseract>,
    /// What turns pages that lie on their side or upside down; none leaves them as they are.
    pub auto_rotate: Option<AutoRotate>,
    /// Pages are made larger than the model takes them, and cut into parts, where they are long or their small letters are lower
    /// than this many pixels; none to read all pages whole. See [`min_letters`](super::min_letters).
    pub split: Option<f64>,
    /// Which pages are left out, by their text layer.
    pub skip: Skip,
    /// What is tried on encrypted documents.
    pub passwords: Passwords,
    /// Number of threads, at least 1.
    pub workers: usize,
    /// Maximum number of pages that are prepared ahead.
    pub prefetch: usize,
    /// Maximum number of retries after a worker crash.
    pub retries: u32,
    /// A page that takes longer than this fails.
    pub page_timeout: Duration,
    /// Where documents are decoded.
    pub decoder: DecoderChoice,
}

impl Settings {
    /// The pixels of all pages as they are stored, on two threads, four pages ahead and within a minute each.
    #[must_use]
    pub fn of_pixels(raster: Raster, decoder: DecoderChoice) -> Self {
        Self {
            raster,
            selection: None,
            needs: Needs {
                pixels: true,
                text: false,
            },
            text_first: false,
            draft: None,
            auto_rotate: None,
            split: None,
            skip: Skip::default(),
            passwords: Passwords::default(),
            workers: 2,
            prefetch: 4,
            retries: 0,
            page_timeout: Duration::from_secs(60),
            decoder,
        }
    }
}

impl Settings {
    /// What is asked of a decoder for a page.
    pub(super) fn request(&self, number: u32) -> PageRequest {
        PageRequest {
            number,
            raster: self.raster,
            needs: self.needs,
            upright: self.auto_rotate.is_some(),
            text_first: self.text_first,
            split: self.split,
        }
    }
}

/// Where documents are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecoderChoice {
    /// In worker processes of this program, `omnidocs`; see [`WorkerPool`].
    Workers(PathBuf),
    /// In this process, where a damaged document may end it; see [`InProcess`].
    InProcess,
}

impl DecoderChoice {
    /// Starts the decoder. One in worker processes gives up a page after `page_timeout`.
    ///
    /// # Errors
    /// No process or thread can be started, or PDFium can't be loaded.
    pub fn start(&self, page_timeout: Duration) -> Result<Arc<dyn Decoder>> {
        Ok(match self {
            Self::Workers(program) => Arc::new(WorkerPool::start(program.clone(), page_timeout)?),
            Self::InProcess => Arc::new(InProcess::start()?),
        })
    }
}
