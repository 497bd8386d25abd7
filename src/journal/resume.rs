//! Which pages earlier runs have done, and their status.

use std::{
    collections::HashSet,
    fs::{File, Metadata},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{
    hashes::Hashes,
    index::{Entry, Index},
    key::PageKey,
    line::PageState,
    place::resolve,
    target::Target,
};
use crate::{
    options::RetryChoice, page::Document, page_selection::PageSelection, prepare::Done,
    record::Status, shard::Shard,
};

/// Number of earlier failures that the summary lists.
const MAX_FAILURES: usize = 20;

/// Pages of earlier runs to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retry {
    /// Failed pages.
    pub failed: bool,
    /// Pages cut off by `--max-new-tokens`.
    pub truncated: bool,
    /// Pages whose answer repeats itself.
    pub repetition: bool,
}

impl Retry {
    fn wants(self, state: PageState) -> bool {
        self.failed && state.status == Status::Failed
            || self.truncated && state.truncated
            || self.repetition && state.repetition
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
            }
        }
        retry
    }
}

/// The pages that a run skips.
pub struct Resume {
    index: Index,
    retry: Retry,
    selection: Option<PageSelection>,
    shard: Shard,
    /// The documents seen in this run, by half of their checksums.
    met: HashSet<[u8; 16]>,
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
    /// Why.
    pub message: String,
}

impl Before {
    /// Pages, and documents that could not be opened.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.ok + self.failed + self.blank
    }

    fn add(&mut self, entry: &Entry, pages: usize) {
        match entry.state().status {
            Status::Ok => self.ok += pages,
            Status::Blank => self.blank += pages,
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
            let Failed { path, page, error } = entry.read(&file)?;
            let message = error.map(|reason| reason.message).unwrap_or_default();
            Ok(FailedBefore {
                path,
                page,
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
    pub fn new(output: &Target, index: Index, retry: Retry) -> Self {
        Self::with(hashes(output, Hashes::open), index, retry)
    }

    /// The same, but caches nothing.
    #[must_use]
    pub fn read_only(output: &Target, index: Index, retry: Retry) -> Self {
        Self::with(hashes(output, Hashes::read_only), index, retry)
    }

    fn with(hashes: Hashes, index: Index, retry: Retry) -> Self {
        let shared = Shared {
            before: Before::default(),
            hashes,
        };
        Self {
            index,
            retry,
            selection: None,
            shard: Shard::WHOLE,
            met: HashSet::new(),
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

    fn state(&self, document: &Document, page: u32) -> Option<PageState> {
        let key = self.key_of(document);
        self.index.state(&key.with_page(page))
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

    /// Counts the pages of a document that are skipped.
    fn document_started(&self, document: &Document) {
        let entries = self.index.document(&self.key_of(document));
        let was_opened = entries.iter().any(|entry| entry.key().page > 0);
        let mut shared = lock(&self.shared);
        for entry in entries {
            let pages = match entry.key().page {
                0 => usize::from(!was_opened),
                _ => entry.pages(self.selection.as_ref()) as usize,
            };
            if pages > 0 && !self.retry.wants(entry.state()) {
                shared.before.add(entry, pages);
            }
        }
    }
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
    fn is_done(&self, document: &Document, page: u32) -> bool {
        let state = self.state(document, page);
        state.is_some_and(|state| !self.retry.wants(state))
    }

    fn page_count(&self, document: &Document) -> Option<u32> {
        self.index.page_count(&key_of(document))
    }

    fn is_elsewhere(&self, document: &Document) -> bool {
        document.doc_id.is_some() && !self.shard.has(&key_of(document).document)
    }

    fn is_copy(&mut self, document: &Document) -> bool {
        let is_new = self.met.insert(key_of(document).document);
        if is_new {
            self.document_started(document);
        }
        !is_new
    }

    fn checksum(&self, path: &Path, file: &Metadata) -> Option<String> {
        lock(&self.shared).hashes.get(path, file)
    }

    fn note_checksum(&mut self, path: &Path, file: &Metadata, at: SystemTime, checksum: &str) {
        lock(&self.shared).hashes.add(path, file, at, checksum);
    }
}
