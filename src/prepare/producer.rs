//! The producer: opens one document after the other and hands out their pages.

use std::{
    fs::{self, File},
    io::{self, Read},
    ops::ControlFlow,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use rayon::ThreadPool;
use sha2::{Digest, Sha256};

use super::{
    decoder::{Decoder, DocumentRequest, PageCount},
    done::{Done, SkipCounts},
    draft::Drafts,
    failure::{missing_pages, not_opened, unreadable},
    opened::Opened,
    plan::{Action, Plan},
    settings::Settings,
};
use crate::{
    backoff::retry,
    cancel::Cancel,
    clock,
    error::{PageError, Stage},
    page::{Document, Format, PageId, PageRef, Preparation, Source},
    stamp::Stamp,
};

/// Larger files of no known format get no checksum, in bytes.
const MAX_UNKNOWN: u64 = 256 << 20;
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
    /// A page whose record is copied from another path.
    Copy(PageRef),
    /// There are no more pages.
    End,
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
        let begin = clock::now();
        let mut document = Document {
            size_bytes: source.size_bytes,
            ..Document::at(source.path)
        };
        if source.error.is_none()
            && let Some(plan) = self.plan_unseen(&mut document)
        {
            return self.hand_out_copies(&Arc::new(document), &plan);
        }
        let read = match source.error {
            Some(error) => Err(error),
            None => self.read(&mut document),
        };
        if self.pass_elsewhere(&document) {
            return ControlFlow::Continue(());
        }
        let plan = self.plan(&document);
        self.meet(&document);
        if let Some(plan) = &plan
            && !plan.needs_opening()
        {
            self.leave(&document, plan);
            document.page_count = plan.page_count;
            return self.hand_out_copies(&Arc::new(document), plan);
        }
        let mut attempts = 1;
        let opened = read.and_then(|format| {
            let (opened, tried) = self.open(&mut document, format);
            attempts = tried;
            opened
        });
        let document = Arc::new(document);
        let (opened, count) = match opened {
            Ok((opened, count)) => (Arc::new(opened), count),
            Err(error) => {
                self.done.note_met(&document, Some(PageCount::all(0)));
                let page = PageRef::new(&document, 0);
                let elapsed = clock::since(begin);
                return self.hand_out_failed(page, error, elapsed, attempts);
            }
        };
        self.done.note_met(&document, Some(count));
        let selection = self.settings.selection.as_ref();
        let plan = Plan::new(&document, count, selection, &*self.done, false);
        self.leave(&document, &plan);
        for (number, action) in plan.to_do {
            let page = PageRef::new(&document, number);
            match action {
                Action::Copy(last) => self.hand_out(Slot::Copy(page.up_to(last)))?,
                Action::Missing(last) => {
                    let page = page.up_to(last);
                    self.hand_out_failed(page, missing_pages(), Duration::ZERO, 1)?;
                }
                Action::Read => {
                    let (result, slot) = bounded(1);
                    self.hand_out(Slot::Page(page.clone(), slot))?;
                    self.spawn(page, Arc::clone(&opened), result);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The plan for a file that need not even be read: it was read before, has not changed since, and nothing of it is
    /// left to read here.
    fn plan_unseen(&mut self, document: &mut Document) -> Option<Plan> {
        let file = fs::metadata(&document.path).ok()?;
        document.doc_id = Some(self.done.checksum(&document.path, &file)?);
        document.stamp = Stamp::of(&file);
        if self.pass_elsewhere(document) {
            return Some(Plan::default());
        }
        let plan = self.plan(document).filter(|plan| !plan.needs_opening());
        if let Some(plan) = &plan {
            self.meet(document);
            self.leave(document, plan);
            document.page_count = plan.page_count;
        } else {
            (document.doc_id, document.stamp) = (None, None);
        }
        plan
    }

    /// Skips a document of another shard.
    fn pass_elsewhere(&self, document: &Document) -> bool {
        let is_elsewhere = self.done.is_elsewhere(document);
        if is_elsewhere {
            self.skipped.elsewhere.fetch_add(1, Ordering::Relaxed);
        }
        is_elsewhere
    }

    /// The plan for a document, as far as its number of pages is known without opening it.
    fn plan(&self, document: &Document) -> Option<Plan> {
        let met = self.done.met(document);
        let before = || self.done.page_count(document).map(PageCount::all);
        let selection = self.settings.selection.as_ref();
        match met.flatten().or_else(before) {
            Some(count) if count.claimed > 0 => {
                let is_copy = met.is_some();
                Some(Plan::new(document, count, selection, &*self.done, is_copy))
            }
            _ => Plan::unopened(document, &*self.done, met.is_some()),
        }
    }

    /// Notes that the document is met, which may have the bytes of one before it.
    fn meet(&mut self, document: &Document) {
        if self.done.met(document).is_some() {
            let path = document.path.display();
            tracing::info!("{path} is a copy of a document that was met before");
            self.skipped.copies.fetch_add(1, Ordering::Relaxed);
        } else {
            self.done.note_met(document, None);
        }
    }

    /// Counts what is done already, and a document that gives no page.
    fn leave(&mut self, document: &Document, plan: &Plan) {
        self.done.note_left(document, &plan.left);
        let SkipCounts {
            unselected_documents,
            done_documents,
            done_pages,
            ..
        } = &*self.skipped;
        done_pages.fetch_add(plan.left_pages, Ordering::Relaxed);
        if plan.to_do.is_empty() {
            let documents = if plan.left.is_empty() {
                unselected_documents
            } else {
                done_documents
            };
            documents.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn hand_out_copies(&self, document: &Arc<Document>, plan: &Plan) -> ControlFlow<()> {
        plan.to_do.iter().try_for_each(|&(number, action)| {
            let page = PageRef::new(document, number);
            match action {
                Action::Copy(last) => self.hand_out(Slot::Copy(page.up_to(last))),
                Action::Read | Action::Missing(_) => ControlFlow::Continue(()),
            }
        })
    }

    fn hand_out_failed(
        &self,
        page: PageRef,
        error: PageError,
        elapsed: Duration,
        attempts: u32,
    ) -> ControlFlow<()> {
        let (result, slot) = bounded(1);
        let _ = result.send(Preparation {
            page: page.clone(),
            result: Err(error),
            elapsed,
            attempts,
            passed_over: self.skipped.documents(),
        });
        self.hand_out(Slot::Page(page, slot))
    }

    /// Waits until there is room for one more page.
    fn hand_out(&self, slot: Slot) -> ControlFlow<()> {
        match self.slots.send(slot) {
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
            let begin = clock::now();
            let (mut prepared, attempts) = retry(settings.retries, &cancel, || {
                opened.page(
                    id,
                    &page,
                    &settings,
                    &cancel.until(begin + settings.page_timeout),
                )
            });
            // What was read, or made the reading fail, may have been other bytes.
            if page.document.has_changed() {
                prepared = Err(PageError::changed(Stage::Prepare));
            }
            if let (Some(drafts), Ok(page)) = (drafts, &mut prepared) {
                page.draft = drafts.of(page, begin + settings.page_timeout);
            }
            let _ = result.send(Preparation {
                page,
                result: prepared,
                elapsed: clock::since(begin),
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
    ) -> (Result<(Opened, PageCount), PageError>, u32) {
        document.format = Some(format);
        let opened = Opened {
            decoder: Arc::clone(&self.decoder),
            request: DocumentRequest {
                id: self.next_document,
                path: document.path.clone(),
                format,
                passwords: self.settings.passwords.clone(),
            },
        };
        self.next_document += 1;
        let (count, attempts) = retry(self.settings.retries, &self.cancel, || {
            self.decoder.page_count(&opened.request)
        });
        let size = u32::try_from(document.size_bytes.unwrap_or(u64::MAX)).unwrap_or(u32::MAX);
        let count = match count {
            _ if document.has_changed() => Err(PageError::changed(Stage::Open)),
            // No page takes less than a byte, whatever the document makes its decoder say.
            Ok(count) => Ok(PageCount {
                present: count.present.min(size),
                ..count
            }),
            Err(error) => Err(error),
        };
        document.page_count = count.as_ref().ok().map(|count| count.claimed);
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
            // A disk image or a video need not be read to its end to know that it is none of ours.
            if head.len() == Format::HEAD && metadata.len() > MAX_UNKNOWN {
                document.size_bytes = Some(metadata.len());
                Format::identify(&head)?;
            }
            hash.update(read);
        }
        document.size_bytes = Some(size);
        let stamp = Stamp::of(&metadata);
        let now = file.metadata().map_err(|error| not_opened(&error))?;
        if let (Some(then), Some(now)) = (stamp, Stamp::of(&now))
            && !then.has_content_of(&now)
        {
            return Err(PageError::changed(Stage::Open));
        }
        document.stamp = stamp;
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
