//! What need not be prepared, and how much of that there was.

use std::{
    fs::Metadata,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use super::decoder::PageCount;
use crate::page::Document;

/// The record that earlier runs have left of a page of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// None, or the page is to be read again.
    Unread,
    /// One at the document's own path, which covers the pages up to this one.
    Here(u32),
    /// One at another path with the same bytes, which covers the pages up to this one.
    AtOtherPath(u32),
}

/// Tells what need not be prepared, since an earlier run has done it, or this one at another path.
pub trait Done: Send {
    /// What is known of `page` of `document`; page 0 stands for a document that can't be opened.
    fn known(&self, document: &Document, page: u32) -> Known;

    /// The number of pages of a document that an earlier run has opened.
    fn page_count(&self, _document: &Document) -> Option<u32> {
        None
    }

    /// Whether another run is to read the document. Its checksum is known by now, if it has one.
    fn is_elsewhere(&self, _document: &Document) -> bool {
        false
    }

    /// Whether a document with the same bytes has been met before in this run, and its number of pages, if this run has
    /// opened it.
    fn met(&self, _document: &Document) -> Option<Option<PageCount>> {
        None
    }

    /// Notes that a document was met, and its number of pages, if this run has opened it.
    fn note_met(&mut self, _document: &Document, _opened: Option<PageCount>) {}

    /// Notes that the records which cover these pages are left as they are.
    fn note_left(&mut self, _document: &Document, _pages: &[u32]) {}

    /// The SHA-256 of the file at `path`, which an earlier run has read and that has not changed since.
    fn checksum(&self, _path: &Path, _file: &Metadata) -> Option<String> {
        None
    }

    /// Notes the SHA-256 of the file at `path`, which was like this `at` the time when its reading began.
    fn note_checksum(&mut self, _path: &Path, _file: &Metadata, _at: SystemTime, _checksum: &str) {}
}

/// Nothing is done yet.
impl Done for () {
    fn known(&self, _: &Document, _: u32) -> Known {
        Known::Unread
    }
}

/// Documents and pages that gave no page, since they need not be read.
#[derive(Debug, Default)]
pub struct SkipCounts {
    pub(super) unselected_documents: AtomicU64,
    pub(super) copies: AtomicU64,
    pub(super) elsewhere: AtomicU64,
    pub(super) done_documents: AtomicU64,
    pub(super) done_pages: AtomicU64,
}

impl SkipCounts {
    /// Documents without any of the selected pages.
    #[must_use]
    pub fn unselected(&self) -> u64 {
        self.unselected_documents.load(Ordering::Relaxed)
    }

    /// Documents that have the bytes of others before them, whose pages are given as copies.
    #[must_use]
    pub fn copies(&self) -> u64 {
        self.copies.load(Ordering::Relaxed)
    }

    /// Documents that are left to other runs.
    #[must_use]
    pub fn elsewhere(&self) -> u64 {
        self.elsewhere.load(Ordering::Relaxed)
    }

    /// Documents all of whose pages are done.
    #[must_use]
    pub fn done_documents(&self) -> u64 {
        self.done_documents.load(Ordering::Relaxed)
    }

    /// Pages that are done.
    #[must_use]
    pub fn done_pages(&self) -> u64 {
        self.done_pages.load(Ordering::Relaxed)
    }

    /// Documents that gave no page.
    pub(super) fn documents(&self) -> u64 {
        [
            &self.unselected_documents,
            &self.elsewhere,
            &self.done_documents,
        ]
        .map(|count| count.load(Ordering::Relaxed))
        .iter()
        .sum()
    }
}
