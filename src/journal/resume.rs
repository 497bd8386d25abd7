//! What a run need not do, since an earlier one has done it; and how those pages ended.

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

/// So many pages that failed before are remembered, to be told at the end.
const MAX_FAILURES: usize = 20;

/// Which pages of earlier runs are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retry {
    /// Those that failed.
    pub failed: bool,
    /// Those whose content the token budget ended.
    pub truncated: bool,
    /// Those whose content ran in a loop.
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

/// The pages that a run leaves as they are.
pub struct Resume {
    index: Index,
    retry: Retry,
    selection: Option<PageSelection>,
    shard: Shard,
    /// The documents that this run has met, by the half of their checksums.
    met: HashSet<[u8; 16]>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    before: Before,
    hashes: Hashes,
}

/// How the pages ended that this run was asked for and an earlier one has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// Pages that were read.
    pub ok: usize,
    /// Pages, and documents that could not be opened, that failed.
    pub failed: usize,
    /// Pages with nothing on them.
    pub blank: usize,
    /// The first ones that failed.
    failures: Vec<Entry>,
}

/// A page that failed in an earlier run, as its record tells.
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

    /// Reads the records of the first pages that failed from the output.
    ///
    /// # Errors
    /// It can't be read any more.
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
        let file = File::open(path).with_context(|| format!("can't read --output {output}"))?;
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

/// What a [`Resume`] has found out, for the one who has given it away.
#[derive(Clone)]
pub struct Resumed(Arc<Mutex<Shared>>);

impl Resumed {
    /// How the pages ended that were done before, of the documents that were met so far.
    #[must_use]
    pub fn before(&self) -> Before {
        lock(&self.0).before.clone()
    }

    /// The run is at its end: drops what is of no use any more from the checksums that are kept beside the output.
    pub fn finish(&self) {
        lock(&self.0).hashes.tidy();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resume {
    /// Leaves all that `index` has of `output`, but what is to be tried again. The checksums of files that are read are kept
    /// beside the output.
    #[must_use]
    pub fn new(output: &Target, index: Index, retry: Retry) -> Self {
        Self::with(hashes(output, Hashes::open), index, retry)
    }

    /// The same, but nothing is kept.
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

    /// Leaves also all documents that are not in `shard`. One whose bytes can't be read is in all: what fails here may be
    /// read elsewhere and found to be in this shard, and then nobody would have told of it.
    #[must_use]
    pub fn of_shard(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }

    /// Counts only the pages that are `selected` among those that were done before.
    #[must_use]
    pub fn of_pages(self, selected: Option<PageSelection>) -> Self {
        Self {
            selection: selected,
            ..self
        }
    }

    /// What this finds out.
    #[must_use]
    pub fn resumed(&self) -> Resumed {
        Resumed(Arc::clone(&self.shared))
    }

    fn state(&self, document: &Document, page: u32) -> Option<PageState> {
        let key = self.key_of(document);
        self.index.state(&key.with_page(page))
    }

    /// The key of page 0. A path that is not UTF-8 has lost something where schema 1 tells it.
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

    /// Counts how the pages of a document ended that are left as they are.
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

/// The checksums beside an output, if that is a file.
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
