//! Turns documents into pages that an engine can read: in input order, in parallel, and only a few ahead.
//!
//! One feeder thread opens the documents one after the other. For each page it sends a slot over a bounded channel, and
//! then gives the page to a pool of workers, which put the result into the slot. A full channel stops the feeder, so
//! that memory is bounded whatever the size of the input.

mod feed;
pub mod image;
pub mod pdf;
mod pdfium;
pub mod resize;
mod tiff;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rayon::ThreadPoolBuilder;

use self::{feed::Feeder, pdf::Renderer, resize::PixelBudget};
use crate::{
    document::{Document, Needs, PageRef, PageSelection, Preparation, Source},
    error::{ErrorKind, PageError, Stage},
};

/// What is prepared, and how far ahead.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Pixels per inch of a PDF page before the budget applies.
    pub dpi: f64,
    /// How large a page may be for the model.
    pub budget: PixelBudget,
    /// The pages of each document; all if none.
    pub selection: Option<PageSelection>,
    /// What the engine looks at; nothing else is prepared.
    pub needs: Needs,
    /// Number of threads, at least 1.
    pub workers: usize,
    /// At most this many pages are prepared before they are asked for.
    pub prefetch: usize,
}

/// Tells what need not be prepared, since an earlier run has done it.
pub trait Done: Send {
    /// Whether `page` of `document` is done; page 0 stands for a document that can't be opened.
    fn is_done(&self, document: &Document, page: u32) -> bool;
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
    stop: Arc<AtomicBool>,
    passed_over: Arc<PassedOver>,
}

/// What gave no page.
#[derive(Debug, Default)]
struct PassedOver {
    unselected_documents: AtomicU64,
    done_documents: AtomicU64,
    done_pages: AtomicU64,
}

/// A page, and where its preparation will come from.
type Slot = (PageRef, mpsc::Receiver<Preparation>);

/// Starts to prepare the selected pages of all documents.
///
/// A document that can't be opened gives one [`Preparation`] for its page 0.
///
/// # Errors
///
/// If no threads can be started, or the system does not let PDFium be loaded.
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
    let (sender, slots) = mpsc::sync_channel(settings.prefetch);
    let stop = Arc::new(AtomicBool::new(false));
    let passed_over = Arc::<PassedOver>::default();
    let mut feeder = Feeder {
        settings: Arc::new(settings),
        renderer: Renderer::get()?,
        pool,
        slots: sender,
        next_id: 0,
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
        stop,
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

impl Iterator for Pages {
    type Item = Preparation;

    fn next(&mut self) -> Option<Preparation> {
        let (page, slot) = self.slots.recv().ok()?;
        Some(slot.recv().unwrap_or_else(|_| Preparation {
            page,
            result: Err(crashed(
                Stage::Prepare,
                "the preparation stopped without a result",
            )),
            elapsed: Duration::ZERO,
        }))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
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

fn crashed(stage: Stage, message: &str) -> PageError {
    PageError::new(ErrorKind::Crashed, stage, message)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{feed::guard, *};

    #[test]
    fn a_panic_costs_one_page() {
        let error = guard::<()>(Stage::Prepare, || panic!("index out of bounds")).unwrap_err();
        assert_eq!(
            (error.kind, error.stage),
            (ErrorKind::Crashed, Stage::Prepare)
        );
        assert!(error.message.contains("index out of bounds"), "{error}");
    }

    #[test]
    fn dropping_the_pages_early_ends_the_preparation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        ::image::RgbImage::new(64, 64).save(&path).unwrap();
        let source = Source {
            path,
            size_bytes: None,
            error: None,
        };
        let settings = Settings {
            dpi: 72.0,
            budget: PixelBudget {
                factor: 32,
                min_pixels: 1,
                max_pixels: 1_000_000,
            },
            selection: None,
            needs: Needs {
                pixels: true,
                text: false,
            },
            workers: 2,
            prefetch: 3,
        };
        for taken in [0, 1, 5] {
            let mut pages = pages(vec![source.clone(); 1000], settings.clone()).unwrap();
            assert_eq!(pages.by_ref().take(taken).count(), taken);
            // The feeder and every page in work hold it.
            let stop = Arc::downgrade(&pages.stop);
            drop(pages);
            let begin = Instant::now();
            while stop.strong_count() > 0 {
                assert!(
                    begin.elapsed() < Duration::from_secs(10),
                    "threads are still at work"
                );
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
