//! Turns documents into pages that an engine can read: in input order, in parallel, and only a few ahead.
//!
//! One feeder thread opens the documents one after the other. For each page it sends a slot over a bounded channel, and
//! then gives the page to a pool of threads, which put the result into the slot. A full channel stops the feeder, so
//! that memory is bounded whatever the size of the input.
//!
//! Documents are decoded in worker processes, one for each thread and one for the feeder. What crashes or hangs there
//! costs the page that was asked for, and nothing else.

mod blank;
mod decoders;
mod draft;
mod producer;
mod protocol;
pub mod resize;
pub mod worker;
pub mod worker_pool;

use std::{
    fs::Metadata,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, SystemTime},
};

use ::image::RgbImage;
use anyhow::{Context, Result};
use rayon::ThreadPoolBuilder;
use serde::{Deserialize, Serialize};

use self::{
    draft::Drafts,
    producer::{Feeder, PassedOver},
    worker_pool::Workers,
};
use crate::{
    error::{ErrorKind, PageError, Stage},
    page::{Document, Needs, PageRef, PageSelection, PixelBudget, Preparation, Source},
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
    /// The program that worker processes run: `omnidocs`.
    pub program: PathBuf,
}

/// How a page is turned into pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Raster {
    /// The size of a PDF page before [`resize::smart_resize`], in pixels per inch.
    pub dpi: f64,
    /// What [`resize::smart_resize`] makes of a page's size; a PDF page is rendered once, at exactly this.
    pub budget: PixelBudget,
}

/// A page as the model sees it.
struct Pixelated {
    image: RgbImage,
    /// (width, height) before it was resized.
    original: (u32, u32),
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

    /// The SHA-256 of a file that an earlier run has read and that has not changed since.
    fn checksum(&self, _file: &Metadata) -> Option<&str> {
        None
    }

    /// Notes the SHA-256 of a file that was like this `at` the time when its reading began.
    fn note_checksum(&mut self, _file: &Metadata, _at: SystemTime, _checksum: &str) {}
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
    slots: mpsc::Receiver<Slot>,
    /// Taken out of `slots` to see whether there is any.
    first: Option<Slot>,
    stop: Arc<AtomicBool>,
    drafts: Option<Arc<Drafts>>,
    passed_over: Arc<PassedOver>,
}

/// A page, and where its preparation will come from.
type Slot = (PageRef, mpsc::Receiver<Preparation>);

/// Starts to prepare the selected pages of all documents.
///
/// A document that can't be opened gives one [`Preparation`] for its page 0.
///
/// # Errors
///
/// If no threads or worker processes can be started, or these can't load PDFium.
pub fn pages(sources: Vec<Source>, settings: Settings) -> Result<Pages> {
    pages_except(sources, settings, Box::new(()))
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
) -> Result<Pages> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(settings.workers.max(1))
        .thread_name(|index| format!("prepare-{index}"))
        .build()
        .context("the preparation threads can't be started")?;
    let workers = Workers::start(settings.program.clone(), settings.page_timeout)?;
    let (sender, slots) = mpsc::sync_channel(settings.prefetch);
    let stop = Arc::new(AtomicBool::new(false));
    let drafts = settings.draft.clone();
    let drafts = drafts.map(|tesseract| Arc::new(Drafts::new(tesseract, Arc::clone(&stop))));
    let passed_over = Arc::<PassedOver>::default();
    let mut feeder = Feeder {
        settings: Arc::new(settings),
        workers: Arc::new(workers),
        drafts: drafts.clone(),
        pool,
        slots: sender,
        next_document: 0,
        next_page: 0,
        stop: Arc::clone(&stop),
        done,
        passed_over: Arc::clone(&passed_over),
    };
    thread::Builder::new()
        .name("feeder".to_owned())
        .spawn(move || {
            sources
                .into_iter()
                .try_for_each(|source| feeder.feed(source))
        })
        .context("the thread that opens the documents can't be started")?;
    Ok(Pages {
        slots,
        first: None,
        stop,
        drafts,
        passed_over,
    })
}

impl Pages {
    /// How many documents so far had none of the selected pages, and so gave no page at all.
    #[must_use]
    pub fn unselected(&self) -> u64 {
        self.passed_over
            .unselected_documents
            .load(Ordering::Relaxed)
    }

    /// How many documents so far were passed over since others have the same bytes.
    #[must_use]
    pub fn copies(&self) -> u64 {
        self.passed_over.copies.load(Ordering::Relaxed)
    }

    /// How many documents so far were left to other runs.
    #[must_use]
    pub fn elsewhere(&self) -> u64 {
        self.passed_over.elsewhere.load(Ordering::Relaxed)
    }

    /// How many documents so far gave no page since all of theirs are done.
    #[must_use]
    pub fn done_documents(&self) -> u64 {
        self.passed_over.done_documents.load(Ordering::Relaxed)
    }

    /// How many pages so far were passed over since they are done.
    #[must_use]
    pub fn done_pages(&self) -> u64 {
        self.passed_over.done_pages.load(Ordering::Relaxed)
    }
}

impl Pages {
    /// Whether there is a page to come. Waits until one is found, or the input has ended, and not until it is prepared.
    pub fn any(&mut self) -> bool {
        if self.first.is_none() {
            self.first = self.slots.recv().ok();
        }
        self.first.is_some()
    }

    /// The next page, as soon as it is ready; none at the end of the input, or when `given_up` says that nobody waits any
    /// more.
    pub fn next_unless(&mut self, given_up: &dyn Fn() -> bool) -> Option<Preparation> {
        let first = self.first.take();
        let (page, slot) = first.map_or_else(|| wait(&self.slots, given_up), Ok).ok()?;
        match wait(&slot, given_up) {
            Ok(preparation) => Some(preparation),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Preparation {
                page,
                result: Err(crashed(
                    Stage::Prepare,
                    "the preparation stopped without a result",
                )),
                elapsed: Duration::ZERO,
                attempts: 1,
                passed_over: 0,
            }),
        }
    }
}

/// Waits for something, until it can't come any more or `given_up` says so; that is a timeout.
fn wait<T>(
    receiver: &mpsc::Receiver<T>,
    given_up: &dyn Fn() -> bool,
) -> Result<T, RecvTimeoutError> {
    const LOOK_UP: Duration = Duration::from_millis(50);
    loop {
        match receiver.recv_timeout(LOOK_UP) {
            Err(RecvTimeoutError::Timeout) if !given_up() => {}
            end => return end,
        }
    }
}

impl Iterator for Pages {
    type Item = Preparation;

    fn next(&mut self) -> Option<Preparation> {
        self.next_unless(&|| false)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(drafts) = &self.drafts {
            drafts.end();
        }
    }
}

fn not_opened(error: &io::Error) -> PageError {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "the file is not there any more".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "there is no permission to read the file; change that, or run as a user who has it"
                .to_owned()
        }
        _ => format!("the file can't be read: {error}"),
    };
    unreadable(Stage::Open, message)
}

fn unreadable(stage: Stage, message: impl Into<String>) -> PageError {
    PageError::new(ErrorKind::Unreadable, stage, message)
}

fn crashed(stage: Stage, message: impl Into<String>) -> PageError {
    PageError::new(ErrorKind::Crashed, stage, message)
}
