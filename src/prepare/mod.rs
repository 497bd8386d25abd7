//! Turns documents into pages that an engine can read: in input order, in parallel, and only a few ahead.
//!
//! One feeder thread opens the documents one after the other. For each page it sends a slot over a bounded channel, and
//! then gives the page to a pool of workers, which put the result into the slot. A full channel stops the feeder, so
//! that memory is bounded whatever the size of the input.

pub mod image;
pub mod pdf;
mod pdfium;
pub mod resize;
mod tiff;

use std::{
    fs::{self, File},
    io::{self, Read},
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use sha2::{Digest, Sha256};

use self::{
    pdf::{OpenPdf, Raster, Renderer, panic_text},
    resize::PixelBudget,
};
use crate::{
    document::{
        Document, Format, Needs, PageId, PageRef, PageSelection, Preparation, PreparedPage, Source,
    },
    error::{ErrorKind, PageError, Stage},
};

/// Files are read in pieces of this many bytes for their checksum.
const PIECE: usize = 1 << 18;

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

/// The pages of a run, in input order. Dropping it stops the preparation.
#[derive(Debug)]
pub struct Pages {
    slots: mpsc::Receiver<Slot>,
    stop: Arc<AtomicBool>,
    unselected: Arc<AtomicU64>,
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
    let pool = ThreadPoolBuilder::new()
        .num_threads(settings.workers.max(1))
        .thread_name(|index| format!("prepare-{index}"))
        .build()
        .context("the preparation threads can't be started")?;
    let (sender, slots) = mpsc::sync_channel(settings.prefetch);
    let stop = Arc::new(AtomicBool::new(false));
    let unselected = Arc::new(AtomicU64::new(0));
    let mut feeder = Feeder {
        settings: Arc::new(settings),
        renderer: Renderer::get()?,
        pool,
        slots: sender,
        next_id: 0,
        stop: Arc::clone(&stop),
        unselected: Arc::clone(&unselected),
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
        unselected,
    })
}

impl Pages {
    /// How many documents so far had none of the selected pages, and so gave no page at all.
    #[must_use]
    pub fn unselected(&self) -> u64 {
        self.unselected.load(Ordering::Relaxed)
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

/// Walks through the documents.
struct Feeder {
    settings: Arc<Settings>,
    renderer: Renderer,
    pool: ThreadPool,
    slots: mpsc::SyncSender<Slot>,
    next_id: u64,
    stop: Arc<AtomicBool>,
    unselected: Arc<AtomicU64>,
}

/// A document that pages can be taken from.
enum Opened {
    Pdf(OpenPdf),
    Image {
        path: PathBuf,
        format: Format,
        page_count: u32,
    },
}

impl Feeder {
    /// Hands out the pages of one document; breaks off when nobody wants them any more.
    fn feed(&mut self, source: Source) -> ControlFlow<()> {
        let begin = Instant::now();
        let mut document = Document {
            path: source.path,
            size_bytes: source.size_bytes,
            doc_id: None,
            format: None,
            page_count: None,
        };
        let opened = match source.error {
            Some(error) => Err(error),
            None => guard(Stage::Open, || self.open(&mut document)),
        };
        let document = Arc::new(document);
        let opened = match opened {
            Ok(opened) => Arc::new(opened),
            Err(error) => {
                let page = PageRef {
                    document,
                    number: 0,
                };
                let elapsed = begin.elapsed();
                let preparation = Preparation {
                    page: page.clone(),
                    result: Err(error),
                    elapsed,
                };
                let (result, slot) = mpsc::sync_channel(1);
                let _ = result.send(preparation);
                return self.hand_out(page, slot);
            }
        };
        let mut any = false;
        for number in 1..=opened.page_count() {
            if self
                .settings
                .selection
                .as_ref()
                .is_some_and(|pages| !pages.contains(number))
            {
                continue;
            }
            any = true;
            let page = PageRef {
                document: Arc::clone(&document),
                number,
            };
            let (result, slot) = mpsc::sync_channel(1);
            self.hand_out(page.clone(), slot)?;
            self.spawn(page, Arc::clone(&opened), result);
        }
        if !any {
            self.unselected.fetch_add(1, Ordering::Relaxed);
        }
        ControlFlow::Continue(())
    }

    /// Waits until there is room for one more page.
    fn hand_out(&self, page: PageRef, slot: mpsc::Receiver<Preparation>) -> ControlFlow<()> {
        match self.slots.send((page, slot)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// Lets a worker prepare the page.
    fn spawn(&mut self, page: PageRef, opened: Arc<Opened>, result: mpsc::SyncSender<Preparation>) {
        let id = PageId(self.next_id);
        self.next_id += 1;
        let (settings, stop) = (Arc::clone(&self.settings), Arc::clone(&self.stop));
        self.pool.spawn(move || {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let begin = Instant::now();
            let prepared = guard(Stage::Prepare, || opened.page(id, page.number, &settings));
            // The document is closed before its last page is out, so that whoever has it sees the file free.
            drop(opened);
            let _ = result.send(Preparation {
                page,
                result: prepared,
                elapsed: begin.elapsed(),
            });
        });
    }

    /// Reads the file once for its checksum and its format, and finds out how many pages it has.
    fn open(&self, document: &mut Document) -> Result<Opened, PageError> {
        let head = self.read(document)?;
        let format = Format::of(&head).ok_or_else(|| {
            let message = "the content is neither a PDF nor an image of a known format (PNG, JPEG, \
                           WebP, BMP, GIF, TIFF), whatever the file's name says";
            PageError::new(ErrorKind::Unsupported, Stage::Open, message)
        })?;
        document.format = Some(format);
        let path = document.path.clone();
        let opened = if format == Format::Pdf {
            Opened::Pdf(self.renderer.open(&path)?)
        } else {
            let page_count = image::page_count(&path, format)?;
            Opened::Image {
                path,
                format,
                page_count,
            }
        };
        document.page_count = Some(opened.page_count());
        Ok(opened)
    }

    /// Notes the document's size and checksum; gives its first bytes.
    fn read(&self, document: &mut Document) -> Result<Vec<u8>, PageError> {
        let mut file = open_file(&document.path).map_err(|error| not_opened(&error))?;
        let (mut head, mut size, mut hash) = (Vec::new(), 0, Sha256::new());
        let mut piece = vec![0; PIECE];
        loop {
            let read = match file.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => &piece[..read],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(not_opened(&error)),
            };
            if self.stop.load(Ordering::Relaxed) {
                return Err(unreadable(Stage::Open, "the run was stopped"));
            }
            head.extend(read.iter().take(Format::HEAD - head.len()));
            size += read.len() as u64;
            hash.update(read);
        }
        document.size_bytes = Some(size);
        document.doc_id = Some(format!("{:x}", hash.finalize()));
        if size == 0 {
            Err(unreadable(Stage::Open, "the file is empty"))
        } else {
            Ok(head)
        }
    }
}

impl Opened {
    fn page_count(&self) -> u32 {
        match self {
            Self::Pdf(pdf) => pdf.page_count(),
            Self::Image { page_count, .. } => *page_count,
        }
    }

    fn page(
        &self,
        id: PageId,
        number: u32,
        settings: &Settings,
    ) -> Result<PreparedPage, PageError> {
        let Settings {
            dpi, budget, needs, ..
        } = *settings;
        let (pixels, text) = match self {
            Self::Pdf(pdf) => pdf.page(number, Raster { dpi, budget }, needs)?,
            Self::Image { path, format, .. } if needs.pixels => {
                (Some(image::page(path, *format, number, &budget)?), None)
            }
            Self::Image { .. } => (None, None),
        };
        Ok(PreparedPage { id, pixels, text })
    }
}

/// Only a regular file: a pipe would be waited for, a folder is none.
fn open_file(path: &Path) -> io::Result<File> {
    if fs::metadata(path)?.is_file() {
        return File::open(path);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is not a regular file",
    ))
}

/// Makes a panic in `work` the error of one page.
fn guard<T>(stage: Stage, work: impl FnOnce() -> Result<T, PageError>) -> Result<T, PageError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(crashed(
            stage,
            &format!("the decoder failed: {}", panic_text(&*panic)),
        ))
    })
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
    use super::*;

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
