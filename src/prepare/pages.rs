//! The stream of prepared pages, and how it is started.

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, Select, TryRecvError, bounded};
use rayon::ThreadPoolBuilder;

use super::{
    done::{Done, SkipCounts},
    draft::Drafts,
    failure::crashed,
    producer::{Producer, Slot},
    settings::Settings,
};
use crate::{
    cancel::{Cancel, NotReceived, Reason},
    error::Stage,
    page::{PageRef, Preparation, Source, Upcoming},
    source::{Next, PageSource},
};

/// The pages of a run, in input order. Dropping it stops the preparation.
#[derive(Debug)]
pub struct Pages {
    slots: Receiver<Slot>,
    /// Taken out of `slots`, and not given away yet.
    first: Option<First>,
    has_ended: bool,
    cancel: Cancel,
    drafts: Option<Arc<Drafts>>,
    skipped: Arc<SkipCounts>,
}

/// The next one to give away.
#[derive(Debug)]
enum First {
    Page(PageRef, Receiver<Preparation>),
    Copy(PageRef),
}

/// Starts to prepare the selected pages of all documents.
///
/// A document that can't be opened gives one [`Preparation`] for its page 0. `cancel` ends the preparation.
///
/// # Errors
///
/// If no threads or worker processes can be started, or these can't load PDFium.
pub fn pages(sources: Vec<Source>, settings: Settings, cancel: &Cancel) -> Result<Pages> {
    pages_except(sources, settings, Box::new(()), cancel)
}

/// Starts to prepare the selected pages of all documents, except for those that are done.
///
/// # Errors
///
/// As [`pages`].
pub fn pages_except(
    sources: Vec<Source>,
    settings: Settings,
    done: Box<dyn Done>,
    cancel: &Cancel,
) -> Result<Pages> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(settings.workers.max(1))
        .thread_name(|index| format!("prepare-{index}"))
        .build()
        .context("cannot start the preparation threads")?;
    let decoder = settings.decoder.start(settings.page_timeout)?;
    let (slot_tx, slots) = bounded(settings.prefetch);
    let cancel = cancel.child();
    let drafts = settings.draft.clone();
    let drafts = drafts.map(|tesseract| Arc::new(Drafts::new(tesseract, cancel.clone())));
    let skipped = Arc::<SkipCounts>::default();
    let mut producer = Producer {
        settings: Arc::new(settings),
        decoder,
        drafts: drafts.clone(),
        pool,
        slots: slot_tx,
        next_document: 0,
        next_page: 0,
        cancel: cancel.clone(),
        done,
        skipped: Arc::clone(&skipped),
    };
    thread::Builder::new()
        .name("producer".to_owned())
        .spawn(move || producer.produce(sources))
        .context("cannot start the thread that opens the documents")?;
    Ok(Pages {
        slots,
        first: None,
        has_ended: false,
        cancel,
        drafts,
        skipped,
    })
}

impl Pages {
    /// What gave no page so far.
    #[must_use]
    pub fn skipped(&self) -> &Arc<SkipCounts> {
        &self.skipped
    }

    /// Whether there is a page to come. Waits until one is found, or the input has ended, and not until it is prepared.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn has_pages(&mut self) -> Result<bool> {
        self.wait()?;
        Ok(self.first.is_some())
    }

    /// Takes the next page if it is a copy. Waits until that is known.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn next_copy(&mut self) -> Result<Option<PageRef>> {
        self.wait()?;
        match self.first.take() {
            Some(First::Copy(page)) => Ok(Some(page)),
            first => {
                self.first = first;
                Ok(None)
            }
        }
    }

    /// Waits until the next one is there, or the input has ended.
    fn wait(&mut self) -> Result<()> {
        while self.first.is_none() && !self.has_ended {
            let slot = match self.cancel.recv(&self.slots) {
                Ok(slot) => Some(slot),
                Err(NotReceived::Cancelled(_)) => return Ok(()),
                Err(NotReceived::Disconnected) => None,
            };
            self.take(slot)?;
        }
        Ok(())
    }

    /// Takes the producer's next item; `None` if it is gone.
    fn take(&mut self, slot: Option<Slot>) -> Result<()> {
        match slot {
            Some(Slot::Page(page, result)) => self.first = Some(First::Page(page, result)),
            Some(Slot::Copy(page)) => self.first = Some(First::Copy(page)),
            Some(Slot::End) => self.has_ended = true,
            None => bail!("the thread that opens the documents failed early; this is a bug"),
        }
        Ok(())
    }
}

impl PageSource<Upcoming> for Pages {
    fn poll(&mut self) -> Result<Next<Upcoming>> {
        if self.cancel.reason().is_some() {
            return Ok(Next::End);
        }
        if self.first.is_none() && !self.has_ended {
            match self.slots.try_recv() {
                Ok(slot) => self.take(Some(slot))?,
                Err(TryRecvError::Empty) => return Ok(Next::NotYet),
                Err(TryRecvError::Disconnected) => self.take(None)?,
            }
        }
        let next = match &self.first {
            None => return Ok(Next::End),
            Some(First::Copy(page)) => Upcoming::Copy(page.clone()),
            Some(First::Page(page, result)) => Upcoming::Page(match result.try_recv() {
                Ok(preparation) => preparation,
                Err(TryRecvError::Empty) => return Ok(Next::NotYet),
                Err(TryRecvError::Disconnected) => lost(page.clone()),
            }),
        };
        self.first = None;
        Ok(Next::Item(next))
    }

    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        match &self.first {
            Some(First::Page(_, result)) => {
                select.recv(result);
            }
            // It can be had at once.
            Some(First::Copy(_)) => {}
            None => {
                select.recv(&self.slots);
            }
        }
        self.cancel.watch(select);
    }
}

/// A page whose preparation ended without a result.
fn lost(page: PageRef) -> Preparation {
    let message = "the preparation stopped without a result";
    Preparation {
        page,
        result: Err(crashed(Stage::Prepare, message)),
        elapsed: Duration::ZERO,
        attempts: 1,
        passed_over: 0,
    }
}

/// Waits for each page. Pages of copies are left out: there is nothing to prepare.
impl Iterator for Pages {
    type Item = Result<Preparation>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.poll() {
                Ok(Next::Item(Upcoming::Page(preparation))) => return Some(Ok(preparation)),
                Ok(Next::Item(Upcoming::Copy(_))) => {}
                Ok(Next::End) => return None,
                Ok(Next::NotYet) => {
                    let mut select = Select::new();
                    self.watch(&mut select);
                    self.cancel.ready(&mut select, None);
                }
                Err(error) => {
                    self.has_ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.cancel.cancel(Reason::Stopped);
        if let Some(drafts) = &self.drafts {
            drafts.end();
        }
    }
}
