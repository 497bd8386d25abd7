//! Which pages earlier runs have done, and their status.

use std::{
    collections::HashMap,
    fs::{File, Metadata},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{
    hashes::Hashes,
    index::{Entry, Index, path_hash},
    key::PageKey,
    line::PageState,
    place::resolve,
    target::Target,
};
use crate::{
    options::RetryChoice,
    page::Document,
    page_selection::PageSelection,
    prepare::{Done, Known, PageCount},
    record::Status,
    shard::Shard,
};

/// Number of earlier failures that the summary lists.
const MAX_FAILURES: usize = 20;

/// Pages of earlier runs to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a choice of its own, and any of them may be made together"
)]
pub struct Retry {
    /// Failed pages.
    pub failed: bool,
    /// Pages cut off by `--max-new-tokens`.
    pub truncated: bool,
    /// Pages whose answer repeats itself.
    pub repetition: bool,
    /// Pages that `--skip` left out.
    pub skipped: bool,
}

impl Retry {
    fn wants(self, state: PageState) -> bool {
        state.changed
            || self.failed && state.status == Status::Failed
            || self.truncated && state.truncated
            || self.repetition && state.repetition
            || self.skipped && state.status == Status::Skipped
    }
}

impl FromIterator<RetryChoice> for Retry {
    fn from_iter<I: IntoIterator<Item = RetryChoice>>(choices: I) -> Self {
        let mut retry = Self::default();
        for choice in choices {
            match choice {
                RetryChoice::Failed => retry.failed = true,
                RetryChoice::Truncated => retry.truncated = true,
                RetryChoice::Repetition => retry.repetition = true,
                RetryChoice::Skipped => retry.skipped = true,
            }
        }
        retry
    }
}

/// The pages that a run skips.
pub struct Resume {
    index: Arc<Index>,
    retry: Retry,
    selection: Option<PageSelection>,
    shard: Shard,
    /// The documents seen in this run, by half of their checksums, and the number of pages of those that it has opened.
    met: HashMap<[u8; 16], Option<PageCount>>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    before: Before,
    hashes: Hashes,
}

/// Counts of the requested pages that earlier runs have done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// Pages that were read.
    pub ok: usize,
    /// Failed pages, and documents that could not be opened.
    pub failed: usize,
    /// Blank pages.
    pub blank: usize,
    /// Pages that `--skip` left out.
    pub skipped: usize,
    /// The first failures.
    failures: Vec<Entry>,
}

/// A page that failed in an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedBefore {
    /// The document.
    pub path: String,
    /// 0 for a document that could not be opened.
    pub page: u32,
    /// The last page of a range.
    pub last_page: Option<u32>,
    /// Why.
    pub message: String,
}

impl Before {
    /// Pages, and documents that could not be opened.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.ok + self.failed + self.blank + self.skipped
    }

    fn add(&mut self, entry: &Entry, pages: usize) {
        match entry.state().status {
            Status::Ok => self.ok += pages,
            Status::Blank => self.blank += pages,
            Status::Skipped => self.skipped += pages,
            Status::Failed => {
                self.failed += pages;
                if self.failures.len() < MAX_FAILURES {
                    self.failures.push(*entry);
                }
            }
        }
    }

    /// Reads the records of the first failures from the output.
    ///
    /// # Errors
    /// The output can't be read any more.
    pub fn failures(&self, output: &Target) -> Result<Vec<FailedBefore>> {
        #[derive(Deserialize)]
        struct Failed {
            path: String,
            page: u32,
            last_page: Option<u32>,
            error: Option<Reason>,
        }
        #[derive(Deserialize)]
        struct Reason {
            message: String,
        }

        let Target::File(path) = output else {
            return Ok(Vec::new());
        };
        if self.failures.is_empty() {
            return Ok(Vec::new());
        }
        let file = File::open(path).with_context(|| format!("cannot read --output {output}"))?;
        let read = self.failures.iter().map(|entry| {
            let Failed {
                path,
                page,
                last_page,
                error,
            } = entry.read(&file)?;
            let message = error.map(|reason| reason.message).unwrap_or_default();
            Ok(FailedBefore {
                path,
                page,
                last_page,
                message,
            })
        });
        read.collect()
    }
}

/// A handle on the results of a [`Resume`] that was given away.
#[derive(Clone)]
pub struct Resumed(Arc<Mutex<Shared>>);

impl Resumed {
    /// Counts of the earlier pages of the documents seen so far.
    #[must_use]
    pub fn before(&self) -> Before {
        lock(&self.0).before.clone()
    }

    /// Ends the run: rewrites the cache of checksums without outdated lines.
    pub fn finish(&self) {
        lock(&self.0).hashes.tidy();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resume {
    /// Skips the pages in `index`, except those to retry. Caches checksums of files beside `output`.
    #[must_use]
    pub fn new(output: &Target, index: impl Into<Arc<Index>>, retry: Retry) -> Self {
        Self::with(hashes(output, Hashes::open), index, retry)
    }

    /// The same, but caches nothing.
    #[must_use]
    pub fn read_only(output: &Target, index: impl Into<Arc<Index>>, retry: Retry) -> Self {
        Self::with(hashes(output, Hashes::read_only), index, retry)
    }

    fn with(hashes: Hashes, index: impl Into<Arc<Index>>, retry: Retry) -> Self {
        let shared = Shared {
            before: Before::default(),
            hashes,
        };
        Self {
            index: index.into(),
            retry,
            selection: None,
            shard: Shard::WHOLE,
            met: HashMap::new(),
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// Skips also the documents outside `shard`. An unreadable document is in every shard: another machine may read it
    /// and find it in this shard, and then no shard would report it.
    #[must_use]
    pub fn of_shard(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }

    /// Counts only the `selected` pages among the earlier ones.
    #[must_use]
    pub fn of_pages(self, selected: Option<PageSelection>) -> Self {
        Self {
            selection: selected,
            ..self
        }
    }

    /// The handle on the results.
    #[must_use]
    pub fn resumed(&self) -> Resumed {
        Resumed(Arc::clone(&self.shared))
    }

    /// The record of a page at the document's own path, and the page's newest record at any path.
    fn entries(&self, document: &Document, page: u32) -> Option<(Option<&Entry>, &Entry)> {
        let original = self.index.entry(&self.key_of(document).with_page(page))?;
        if document.doc_id.is_none() || is_path_of(document, original.path) {
            return Some((Some(original), original));
        }
        let path = document.path.as_os_str().as_encoded_bytes();
        let copy = PageKey::of_copy(document.doc_id.as_deref(), path, page);
        // One that says otherwise was made before the page was read again.
        let copy = self.index.entry(&copy);
        let copy = copy.filter(|copy| copy.state() == original.state());
        Some((copy, original))
    }

    /// The key of page 0. In schema 1, a path that is not UTF-8 is recorded with losses.
    fn key_of(&self, document: &Document) -> PageKey {
        let key = key_of(document);
        if document.doc_id.is_none() && document.path.to_str().is_none() {
            let lossy = document.path.to_string_lossy();
            let old = PageKey::of_bytes(None, lossy.as_bytes(), 0);
            if self.index.state(&key).is_none() && self.index.state(&old).is_some() {
                return old;
            }
        }
        key
    }
}

/// Whether the path has this [`path_hash`], as its bytes or, as schema 1 records it, with losses.
fn is_path_of(document: &Document, hash: u32) -> bool {
    let path = document.path.as_os_str().as_encoded_bytes();
    path_hash(path) == hash
        || document.path.to_str().is_none()
            && path_hash(document.path.to_string_lossy().as_bytes()) == hash
}

/// The cache of checksums beside an output, if that is a file.
fn hashes(output: &Target, of: impl FnOnce(&Path) -> Hashes) -> Hashes {
    match output {
        Target::File(path) if path.is_file() => of(&resolve(path)),
        _ => Hashes::default(),
    }
}

fn key_of(document: &Document) -> PageKey {
    let path = document.path.as_os_str().as_encoded_bytes();
    PageKey::of_bytes(document.doc_id.as_deref(), path, 0)
}

impl Done for Resume {
    fn known(&self, document: &Document, page: u32) -> Known {
        match self.entries(document, page) {
            None => Known::Unread,
            Some((_, original)) if self.retry.wants(original.state()) => Known::Unread,
            Some((Some(own), _)) => Known::Here(own.last_page()),
            Some((None, original)) => Known::AtOtherPath(original.last_page()),
        }
    }

    fn page_count(&self, document: &Document) -> Option<u32> {
        self.index.page_count(&key_of(document))
    }

    fn is_elsewhere(&self, document: &Document) -> bool {
        document.doc_id.is_some() && !self.shard.has(&key_of(document).document)
    }

    fn met(&self, document: &Document) -> Option<Option<PageCount>> {
        self.met.get(&key_of(document).document).copied()
    }

    fn note_met(&mut self, document: &Document, opened: Option<PageCount>) {
        self.met.insert(key_of(document).document, opened);
    }

    fn note_left(&mut self, document: &Document, pages: &[u32]) {
        let mut shared = lock(&self.shared);
        for &page in pages {
            let own = self.entries(document, page).and_then(|(own, _)| own);
            if let Some(entry) = own {
                let pages = entry.pages(self.selection.as_ref()).max(1);
                shared.before.add(entry, pages as usize);
            }
        }
    }

    fn checksum(&self, path: &Path, file: &Metadata) -> Option<String> {
        lock(&self.shared).hashes.get(path, file)
    }

    fn note_checksum(&mut self, path: &Path, file: &Metadata, at: SystemTime, checksum: &str) {
        lock(&self.shared).hashes.add(path, file, at, checksum);
    }
}
