//! The producer: opens one document after the other and hands out their pages.

use std::{
    fs::{self, File},
    io::{self, Read},
    ops::ControlFlow,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Instant, SystemTime},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use rayon::ThreadPool;
use sha2::{Digest, Sha256};

use super::{
    decoder::{Decoder, DocumentRequest, PageRequest},
    done::{Done, SkipCounts},
    draft::Drafts,
    failure::{not_opened, unreadable},
    settings::Settings,
};
use crate::{
    backoff::retry,
    cancel::Cancel,
    error::{PageError, Stage},
    page::{Document, Format, PageId, PageRef, PageText, Preparation, PreparedPage, Source},
};

/// Files are read in pieces of this many bytes for their checksum.
const PIECE: usize = 1 << 18;

/// Walks through the documents.
pub(super) struct Producer {
    pub(super) settings: Arc<Settings>,
    pub(super) decoder: Arc<dyn Decoder>,
    pub(super) drafts: Option<Arc<Drafts>>,
    pub(super) pool: ThreadPool,
    pub(super) slots: Sender<Slot>,
    pub(super) next_document: u64,
    pub(super) next_page: u64,
    pub(super) cancel: Cancel,
    pub(super) done: Box<dyn Done>,
    pub(super) skipped: Arc<SkipCounts>,
}

/// What the producer hands out, in input order.
#[derive(Debug)]
pub(super) enum Slot {
    /// A page, and the channel of its preparation.
    Page(PageRef, Receiver<Preparation>),
    /// There are no more pages.
    End,
}

/// The pages of a document left to read.
struct ToDo {
    /// The pages that are selected and not done.
    pages: Vec<u32>,
    /// Number of selected pages that are done.
    done: u64,
}

/// A document that pages can be asked of.
struct Opened {
    decoder: Arc<dyn Decoder>,
    request: DocumentRequest,
}

impl Producer {
    /// Hands out the pages of all documents, then the end of the input.
    pub(super) fn produce(&mut self, sources: Vec<Source>) {
        let produced = sources
            .into_iter()
            .try_for_each(|source| self.produce_document(source));
        if produced.is_continue() {
            // If nobody is there any more, nobody waits for the end.
            let _ = self.slots.send(Slot::End);
        }
    }

    /// Hands out the pages of one document; stops when they are not needed any more.
    fn produce_document(&mut self, source: Source) -> ControlFlow<()> {
        let begin = Instant::now();
        let mut document = Document {
            path: source.path,
            size_bytes: source.size_bytes,
            doc_id: None,
            format: None,
            page_count: None,
        };
        if source.error.is_none() && self.is_known_and_done(&mut document) {
            return ControlFlow::Continue(());
        }
        let read = match source.error {
            Some(error) => Err(error),
            None => self.read(&mut document),
        };
        if self.pass_over_whole(&document) {
            return ControlFlow::Continue(());
        }
        let mut attempts = 1;
        let opened = read.and_then(|format| {
            let (opened, tried) = self.open(&mut document, format);
            attempts = tried;
            opened
        });
        let document = Arc::new(document);
        let (opened, page_count) = match opened {
            Ok((opened, page_count)) => (Arc::new(opened), page_count),
            Err(error) => {
                let page = PageRef {
                    document,
                    number: 0,
                };
                let (result, slot) = bounded(1);
                let _ = result.send(Preparation {
                    page: page.clone(),
                    result: Err(error),
                    elapsed: begin.elapsed(),
                    attempts,
                    passed_over: self.skipped.documents(),
                });
                return self.hand_out(page, slot);
            }
        };
        let to_do = self.to_do(&document, page_count);
        self.pass_over(&to_do);
        for number in to_do.pages {
            let page = PageRef {
                document: Arc::clone(&document),
                number,
            };
            let (result, slot) = bounded(1);
            self.hand_out(page.clone(), slot)?;
            self.spawn(page, Arc::clone(&opened), result);
        }
        ControlFlow::Continue(())
    }

    /// Whether the file need not even be read: it was read before, has not changed since, and nothing of it is left to do
    /// here.
    fn is_known_and_done(&mut self, document: &mut Document) -> bool {
        let checksum = fs::metadata(&document.path)
            .ok()
            .and_then(|file| self.done.checksum(&document.path, &file));
        if checksum.is_none() {
            return false;
        }
        document.doc_id = checksum;
        let nothing = self.left(document).filter(|left| left.pages.is_empty());
        if nothing.is_some() || self.done.is_elsewhere(document) {
            return self.pass_over_whole(document);
        }
        document.doc_id = None;
        false
    }

    /// Skips a document of another shard, a copy, or one without pages left to read, if that is known already.
    fn pass_over_whole(&mut self, document: &Document) -> bool {
        if self.done.is_elsewhere(document) {
            self.skipped.elsewhere.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        if self.done.is_copy(document) {
            let path = document.path.display();
            tracing::info!("{path} is a copy of a document that was read before");
            self.skipped.copies.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let nothing = self.left(document).filter(|left| left.pages.is_empty());
        if let Some(nothing) = &nothing {
            self.pass_over(nothing);
        }
        nothing.is_some()
    }

    /// The pages of a document left to read, as far as earlier runs know.
    fn left(&self, document: &Document) -> Option<ToDo> {
        match self.done.page_count(document) {
            Some(page_count) => Some(self.to_do(document, page_count)),
            None => self.done.is_done(document, 0).then_some(ToDo {
                pages: Vec::new(),
                done: 1,
            }),
        }
    }

    fn to_do(&self, document: &Document, page_count: u32) -> ToDo {
        let selection = self.settings.selection.as_ref();
        let selected =
            (1..=page_count).filter(|&page| selection.is_none_or(|pages| pages.contains(page)));
        let (done, pages): (Vec<u32>, Vec<u32>) =
            selected.partition(|&page| self.done.is_done(document, page));
        ToDo {
            pages,
            done: done.len() as u64,
        }
    }

    /// Counts what is done already, and a document that gives no page.
    fn pass_over(&self, to_do: &ToDo) {
        let SkipCounts {
            unselected_documents,
            done_documents,
            done_pages,
            ..
        } = &*self.skipped;
        done_pages.fetch_add(to_do.done, Ordering::Relaxed);
        if to_do.pages.is_empty() {
            let documents = if to_do.done == 0 {
                unselected_documents
            } else {
                done_documents
            };
            documents.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until there is room for one more page.
    fn hand_out(&self, page: PageRef, slot: Receiver<Preparation>) -> ControlFlow<()> {
        match self.slots.send(Slot::Page(page, slot)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// Lets a thread of the pool have the page prepared.
    fn spawn(&mut self, page: PageRef, opened: Arc<Opened>, result: Sender<Preparation>) {
        let id = PageId(self.next_page);
        self.next_page += 1;
        let (settings, cancel) = (Arc::clone(&self.settings), self.cancel.clone());
        let drafts = self.drafts.clone();
        let passed_over = self.skipped.documents();
        self.pool.spawn(move || {
            if cancel.reason().is_some() {
                return;
            }
            let begin = Instant::now();
            let (mut prepared, attempts) = retry(settings.retries, &cancel, || {
                opened.page(id, &page, &settings)
            });
            if let (Some(drafts), Ok(page)) = (drafts, &mut prepared) {
                page.draft = drafts.of(page, begin + settings.page_timeout);
            }
            let _ = result.send(Preparation {
                page,
                result: prepared,
                elapsed: begin.elapsed(),
                attempts,
                passed_over,
            });
        });
    }

    /// Finds out how many pages the document has; says also how often that was tried.
    fn open(
        &mut self,
        document: &mut Document,
        format: Format,
    ) -> (Result<(Opened, u32), PageError>, u32) {
        document.format = Some(format);
        let opened = Opened {
            decoder: Arc::clone(&self.decoder),
            request: DocumentRequest {
                id: self.next_document,
                path: document.path.clone(),
                format,
            },
        };
        self.next_document += 1;
        let (count, attempts) = retry(self.settings.retries, &self.cancel, || {
            self.decoder.page_count(&opened.request)
        });
        document.page_count = count.as_ref().ok().copied();
        (count.map(|count| (opened, count)), attempts)
    }

    /// Reads the file once: notes its size and checksum, and finds its format.
    fn read(&mut self, document: &mut Document) -> Result<Format, PageError> {
        let begin = SystemTime::now();
        let mut file = open_file(&document.path).map_err(|error| not_opened(&error))?;
        let metadata = file.metadata().map_err(|error| not_opened(&error))?;
        let (mut head, mut size, mut hash) = (Vec::new(), 0, Sha256::new());
        let mut piece = vec![0; PIECE];
        loop {
            let read = match file.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => &piece[..read],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(not_opened(&error)),
            };
            if self.cancel.reason().is_some() {
                return Err(unreadable(Stage::Open, "the run was stopped"));
            }
            head.extend(read.iter().take(Format::HEAD - head.len()));
            size += read.len() as u64;
            hash.update(read);
        }
        document.size_bytes = Some(size);
        if size == 0 {
            // No bytes to be known by: two empty files are not the same document.
            return Err(unreadable(Stage::Open, "the file is empty"));
        }
        let checksum = format!("{:x}", hash.finalize());
        self.done
            .note_checksum(&document.path, &metadata, begin, &checksum);
        document.doc_id = Some(checksum);
        Format::identify(&head)
    }
}

impl Opened {
    fn page(
        &self,
        id: PageId,
        page: &PageRef,
        settings: &Settings,
    ) -> Result<PreparedPage, PageError> {
        let request = PageRequest {
            number: page.number,
            raster: settings.raster,
            needs: settings.needs,
        };
        let decoded = self.decoder.page(&self.request, request)?;
        Ok(PreparedPage {
            id,
            pixels: decoded.pixels.map(Arc::new),
            original: decoded.original,
            blank: decoded.blank,
            text: decoded.text.map(PageText),
            draft: None,
        })
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
