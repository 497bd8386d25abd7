//! The interfaces of engines, and of the readers that the scheduler drives.

use std::time::Instant;

use anyhow::Result;

use crate::{
    error::PageError,
    page::{DeviceStats, EngineInfo, Needs, PageAnswer, PageId, PageOutcome, PreparedPage},
    source::PageSource,
};

/// Reads pages. An implementation decides how many it holds at a time and in which order it finishes them.
pub trait Engine: Send {
    /// Name and model, unless an outcome says otherwise.
    fn info(&self) -> &EngineInfo;

    /// What this engine needs of a page.
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

    /// Statistics of each device, for a pool of engines.
    fn device_stats(&self) -> Vec<DeviceStats> {
        Vec::new()
    }
}

/// One try at a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Deadline.
    pub deadline: Instant,
    /// Whether an earlier answer for the page looped, was cut off or can't be parsed. The same answer again would be useless.
    pub resample: bool,
}

/// The result of an attempt at a page.
pub type PageResult = Result<PageAnswer, PageError>;

/// Reads pages in this process, one per slot. A finished page frees its slot for another while the others go on.
pub trait BatchReader: Send {
    /// Name and model.
    fn info(&self) -> &EngineInfo;

    /// What this reader needs of a page.
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

    /// Advances all pages; returns the finished ones, whose slots are then free.
    ///
    /// # Errors
    /// The reader failed; [clear](Self::clear) the pages that it holds.
    fn step(&mut self) -> Result<Vec<(PageId, PageResult)>, PageError>;

    /// Drops all pages.
    fn clear(&mut self);

    /// The reason why it can't read any further page; the run then ends.
    fn lost(&self) -> Option<String> {
        None
    }
}

/// Reads one page at a time.
pub trait SingleReader: Send {
    /// Name and model.
    fn info(&self) -> &EngineInfo;

    /// What this reader needs of a page.
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
