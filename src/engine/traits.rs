//! What an engine is, and the readers that a scheduler drives.

use std::time::Instant;

use anyhow::Result;

use crate::{
    error::PageError,
    page::{DeviceStats, EngineInfo, Needs, PageAnswer, PageId, PageOutcome, PreparedPage},
    source::PageSource,
};

/// Reads pages. An implementation decides how many it holds at a time and in which order it finishes them.
pub trait Engine: Send {
    /// Who answers, unless an outcome says otherwise.
    fn info(&self) -> &EngineInfo;

    /// What this engine looks at.
    fn needs(&self) -> Needs;

    /// Takes pages until there are none, and passes each outcome to `done` as soon as it is ready.
    ///
    /// A page that fails is an outcome. An `Err` means that no further page can be read, that there is none though the
    /// input has not ended, or that `done` failed.
    fn run(
        &mut self,
        pages: &mut dyn PageSource,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()>;

    /// What was done on each device, if this is several engines.
    fn device_stats(&self) -> Vec<DeviceStats> {
        Vec::new()
    }
}

/// One try at a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// When there is no more time.
    pub deadline: Instant,
    /// Whether an earlier answer for the page looped or was cut off. The same answer again would be useless.
    pub resample: bool,
}

/// The result of an attempt at a page.
pub type PageResult = Result<PageAnswer, PageError>;

/// Reads pages in this process, one in each of its slots. A page that is done makes room for another while the others go
/// on.
pub trait BatchReader: Send {
    /// Who answers.
    fn info(&self) -> &EngineInfo;

    /// What this reader looks at.
    fn needs(&self) -> Needs;

    /// Maximum number of pages that it holds, at least one.
    fn slots(&self) -> usize {
        1
    }

    /// Takes a page into a free slot.
    ///
    /// # Errors
    /// The page can't be read at all, at this size, or in a batch of this size. The other pages are unchanged.
    fn begin(&mut self, page: &PreparedPage, attempt: Attempt) -> Result<(), PageError>;

    /// Goes on with all pages; gives those that are done, whose slots are free then.
    ///
    /// # Errors
    /// The reader failed; [clear](Self::clear) the pages that it holds.
    fn step(&mut self) -> Result<Vec<(PageId, PageResult)>, PageError>;

    /// Lets go of all pages.
    fn clear(&mut self);

    /// Why it can't read any further page, once that is so; then the run ends.
    fn lost(&self) -> Option<String> {
        None
    }
}

/// Reads one page at a time.
pub trait SingleReader: Send {
    /// Who answers.
    fn info(&self) -> &EngineInfo;

    /// What this reader looks at.
    fn needs(&self) -> Needs;

    /// Reads a page.
    ///
    /// # Errors
    /// The page can't be read at all, or at this size.
    fn read(&mut self, page: &PreparedPage, attempt: Attempt) -> PageResult;
}

/// A reader of single pages as one with a single slot.
pub struct OneSlot<R> {
    reader: R,
    held: Option<(PreparedPage, Attempt)>,
}

impl<R: SingleReader> OneSlot<R> {
    /// Reads with `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, held: None }
    }
}

impl<R: SingleReader> BatchReader for OneSlot<R> {
    fn info(&self) -> &EngineInfo {
        self.reader.info()
    }

    fn needs(&self) -> Needs {
        self.reader.needs()
    }

    fn begin(&mut self, page: &PreparedPage, attempt: Attempt) -> Result<(), PageError> {
        self.held = Some((page.clone(), attempt));
        Ok(())
    }

    fn step(&mut self) -> Result<Vec<(PageId, PageResult)>, PageError> {
        let held = self.held.take().into_iter();
        Ok(held
            .map(|(page, attempt)| (page.id, self.reader.read(&page, attempt)))
            .collect())
    }

    fn clear(&mut self) {
        self.held = None;
    }
}
