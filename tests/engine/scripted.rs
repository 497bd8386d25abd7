//! An engine that fails on purpose, and tells how it was called.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use image::RgbImage;
use omnidocs::{
    engine::{Attempt, BatchReader, PageResult},
    error::{ErrorKind, PageError, Stage},
    options::OutputFormat,
    page::{EngineInfo, Needs, PageAnswer, PageId, PreparedPage},
};

/// One call of the engine: the pages' numbers and their sizes, and whether it was a second look.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub pages: Vec<(u64, (u32, u32))>,
    pub resample: bool,
}

pub type Calls = Arc<Mutex<Vec<Call>>>;
type Script = Box<dyn FnMut(&[PreparedPage], Attempt) -> Result<PageAnswer, PageError> + Send>;

/// An engine that does as its script says, for all pages that it gets together.
pub struct Scripted {
    info: EngineInfo,
    pub slots: usize,
    /// A page for which there is no memory beside so many others.
    pub refuses: Option<(u64, usize)>,
    /// In a step, pages after so many are given up for lack of memory; the others go on.
    pub room: usize,
    held: Vec<PreparedPage>,
    attempt: Option<Attempt>,
    /// From this page on it is of no use.
    pub breaks_at: Option<u64>,
    pub calls: Calls,
    script: Script,
}

impl Scripted {
    pub fn new(
        script: impl FnMut(&[PreparedPage], Attempt) -> Result<PageAnswer, PageError> + Send + 'static,
    ) -> Self {
        Self {
            info: EngineInfo {
                engine: "scripted",
                model: Some("a model".to_owned()),
                output_format: OutputFormat::Markdown,
                device: None,
                dtype: None,
            },
            slots: 1,
            refuses: None,
            room: usize::MAX,
            held: Vec::new(),
            attempt: None,
            breaks_at: None,
            calls: Calls::default(),
            script: Box::new(script),
        }
    }

    /// Gives these results one after the other.
    pub fn of(results: impl IntoIterator<Item = Result<PageAnswer, PageError>>) -> Self {
        let mut results: VecDeque<_> = results.into_iter().collect();
        Self::new(move |_, _| results.pop_front().expect("no more calls"))
    }

    fn call(&mut self, pages: &[PreparedPage], attempt: Attempt) -> Result<PageAnswer, PageError> {
        let size = |page: &PreparedPage| page.pixels.as_deref().map(RgbImage::dimensions);
        self.calls.lock().unwrap().push(Call {
            pages: pages
                .iter()
                .map(|page| (page.id.0, size(page).unwrap_or_default()))
                .collect(),
            resample: attempt.resample,
        });
        (self.script)(pages, attempt)
    }
}

/// All pages that it holds are done after a step.
impl BatchReader for Scripted {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn needs(&self) -> Needs {
        Needs {
            pixels: true,
            text: false,
        }
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn begin(&mut self, page: &PreparedPage, attempt: Attempt) -> Result<(), PageError> {
        if self.refuses == Some((page.id.0, self.held.len())) {
            return Err(error(ErrorKind::OutOfMemory));
        }
        self.held.push(page.clone());
        self.attempt = Some(attempt);
        Ok(())
    }

    fn step(&mut self) -> Result<Vec<(PageId, PageResult)>, PageError> {
        if self.held.len() > self.room {
            let given_up = self.held.split_off(self.room);
            let no_memory = |page: PreparedPage| (page.id, Err(error(ErrorKind::OutOfMemory)));
            return Ok(given_up.into_iter().rev().map(no_memory).collect());
        }
        let pages = self.held.clone();
        let result = self.call(&pages, self.attempt.expect("a page"));
        if let Err(error) = &result
            && error.kind == ErrorKind::OutOfMemory
        {
            return Err(error.clone());
        }
        self.held.clear();
        Ok(pages.iter().map(|page| (page.id, result.clone())).collect())
    }

    fn clear(&mut self) {
        self.held.clear();
    }

    fn lost(&self) -> Option<String> {
        let calls = self.calls.lock().unwrap();
        let mut pages = calls.iter().flat_map(|call| &call.pages);
        pages
            .any(|page| Some(page.0) == self.breaks_at)
            .then(|| "the device is lost".to_owned())
    }
}

pub fn error(kind: ErrorKind) -> PageError {
    PageError::new(kind, Stage::Engine, format!("{kind:?}"))
}
