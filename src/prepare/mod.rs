//! Turns documents into pages that an engine can read: in input order, in parallel, and only a few ahead.
//!
//! The producer, a thread, opens the documents one after the other. For each page it sends a slot over a bounded channel,
//! and then gives the page to a pool of threads, which put the result into the slot. A full channel stops the producer, so
//! that memory is bounded whatever the size of the input. The end of the input is a slot too: a producer that is lost is
//! not taken for it.
//!
//! A [`Decoder`] opens the documents, mostly in worker processes, one for each thread and one for the producer. What
//! crashes or hangs there costs the page that was asked for, and nothing else.

mod blank;
pub mod decoder;
mod decoders;
mod draft;
mod failure;
mod faults;
mod frames;
pub mod in_process;
mod launch;
mod producer;
mod protocol;
pub mod resize;
pub mod worker;
pub mod worker_pool;
mod worker_process;

use std::{
    fs::Metadata,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, Select, TryRecvError, bounded};
use rayon::ThreadPoolBuilder;

pub use self::{
    decoder::{Decoder, Raster},
    producer::SkipCounts,
};
use self::{
    draft::Drafts, failure::crashed, in_process::InProcess, producer::Producer,
    worker_pool::WorkerPool,
};
use crate::{
    cancel::{Cancel, NotReceived, Reason},
    error::Stage,
    page::{Document, Needs, PageRef, Preparation, Source},
    page_selection::PageSelection,
    source::{Next, PageSource},
    tesseract::Tesseract,
};

/// What is prepared, and how far ahead.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How a page is turned into pixels.
    pub raster: Raster,
    /// The pages of each document; all if none.
    pub selection: Option<PageSelection>,
    /// What the engine looks at; nothing else is prepared.
    pub needs: Needs,
    /// What reads pages without a text layer for guesses at the engine's answer.
    pub draft: Option<Tesseract>,
    /// Number of threads, at least 1.
    pub workers: usize,
    /// At most this many pages are prepared before they are asked for.
    pub prefetch: usize,
    /// How often a page is tried again when what decodes it has crashed.
    pub retries: u32,
    /// A page that takes longer than this fails.
    pub page_timeout: Duration,
    /// Where documents are decoded.
    pub decoder: DecoderChoice,
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

/// Tells what need not be prepared, since an earlier run has done it.
pub trait Done: Send {
    /// Whether `page` of `document` is done; page 0 stands for a document that can't be opened.
    fn is_done(&self, document: &Document, page: u32) -> bool;

    /// The number of pages of a document that an earlier run has opened.
    fn page_count(&self, _document: &Document) -> Option<u32> {
        None
    }

    /// Whether another run is to read the document. Its checksum is known by now, if it has one.
    fn is_elsewhere(&self, _document: &Document) -> bool {
        false
    }

    /// Whether a document with the same bytes has been met before in this run. Called once for each document.
    fn is_copy(&mut self, _document: &Document) -> bool {
        false
    }

    /// The SHA-256 of the file at `path`, which an earlier run has read and that has not changed since.
    fn checksum(&self, _path: &Path, _file: &Metadata) -> Option<String> {
        None
    }

    /// Notes the SHA-256 of the file at `path`, which was like this `at` the time when its reading began.
    fn note_checksum(&mut self, _path: &Path, _file: &Metadata, _at: SystemTime, _checksum: &str) {}
}

/// Nothing is done yet.
impl Done for () {
    fn is_done(&self, _: &Document, _: u32) -> bool {
        false
    }
}

/// The pages of a run, in input order. Dropping it stops the preparation.
#[derive(Debug)]
pub struct Pages {
    slots: Receiver<Slot>,
    /// Taken out of `slots`, and not ready yet.
    first: Option<(PageRef, Receiver<Preparation>)>,
    has_ended: bool,
    cancel: Cancel,
    drafts: Option<Arc<Drafts>>,
    skipped: Arc<SkipCounts>,
}

/// What the producer hands out, in input order.
#[derive(Debug)]
enum Slot {
    /// A page, and where its preparation will come from.
    Page(PageRef, Receiver<Preparation>),
    /// There are no more pages.
    End,
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
        .context("the preparation threads can't be started")?;
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
        .context("the thread that opens the documents can't be started")?;
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
        while self.first.is_none() && !self.has_ended {
            let slot = match self.cancel.recv(&self.slots) {
                Ok(slot) => Some(slot),
                Err(NotReceived::Cancelled(_)) => return Ok(false),
                Err(NotReceived::Disconnected) => None,
            };
            self.take(slot)?;
        }
        Ok(self.first.is_some())
    }

    /// Takes what the producer handed out; none if it is gone.
    fn take(&mut self, slot: Option<Slot>) -> Result<()> {
        match slot {
            Some(Slot::Page(page, result)) => self.first = Some((page, result)),
            Some(Slot::End) => self.has_ended = true,
            None => bail!(
                "the thread that opens the documents failed before it came to the end of them; this is a bug"
            ),
        }
        Ok(())
    }
}

impl PageSource<Preparation> for Pages {
    fn poll(&mut self) -> Result<Next<Preparation>> {
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
        let Some((page, result)) = &self.first else {
            return Ok(Next::End);
        };
        let preparation = match result.try_recv() {
            Ok(preparation) => preparation,
            Err(TryRecvError::Empty) => return Ok(Next::NotYet),
            Err(TryRecvError::Disconnected) => lost(page.clone()),
        };
        self.first = None;
        Ok(Next::Item(preparation))
    }

    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        match &self.first {
            Some((_, result)) => select.recv(result),
            None => select.recv(&self.slots),
        };
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

/// Waits for each page.
impl Iterator for Pages {
    type Item = Result<Preparation>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.poll() {
                Ok(Next::Item(preparation)) => return Some(Ok(preparation)),
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
