//! The feeder: opens one document after the other and hands out their pages.

use std::{
    fs::{self, File},
    io::{self, Read},
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Instant,
};

use rayon::ThreadPool;
use sha2::{Digest, Sha256};

use super::{
    Done, PassedOver, Settings, Slot, crashed, image, not_opened,
    pdf::{OpenPdf, Raster, Renderer, panic_text},
    unreadable,
};
use crate::{
    document::{Document, Format, PageId, PageRef, Preparation, PreparedPage, Source},
    error::{ErrorKind, PageError, Stage},
};

/// Files are read in pieces of this many bytes for their checksum.
const PIECE: usize = 1 << 18;

/// Walks through the documents.
pub(super) struct Feeder {
    pub(super) settings: Arc<Settings>,
    pub(super) renderer: Renderer,
    pub(super) pool: ThreadPool,
    pub(super) slots: mpsc::SyncSender<Slot>,
    pub(super) next_id: u64,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) done: Box<dyn Done>,
    pub(super) passed_over: Arc<PassedOver>,
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
    pub(super) fn feed(&mut self, source: Source) -> ControlFlow<()> {
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
            Err(_) if self.done.is_done(&document, 0) => {
                self.pass_over(1, true);
                return ControlFlow::Continue(());
            }
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
        let (mut done, mut any) = (0, false);
        for number in 1..=opened.page_count() {
            if self
                .settings
                .selection
                .as_ref()
                .is_some_and(|pages| !pages.contains(number))
            {
                continue;
            }
            if self.done.is_done(&document, number) {
                done += 1;
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
        if !any && done == 0 {
            self.passed_over
                .unselected_documents
                .fetch_add(1, Ordering::Relaxed);
        }
        self.pass_over(done, !any && done > 0);
        ControlFlow::Continue(())
    }

    /// Counts pages that are done, and whether they are all that is wanted of their document.
    fn pass_over(&self, pages: u64, whole_document: bool) {
        self.passed_over
            .done_pages
            .fetch_add(pages, Ordering::Relaxed);
        self.passed_over
            .done_documents
            .fetch_add(u64::from(whole_document), Ordering::Relaxed);
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
pub(super) fn guard<T>(
    stage: Stage,
    work: impl FnOnce() -> Result<T, PageError>,
) -> Result<T, PageError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(crashed(
            stage,
            &format!("the decoder failed: {}", panic_text(&*panic)),
        ))
    })
}
