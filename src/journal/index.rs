//! The one reader of records: which pages a journal has, where their records are, and their status.
//!
//! The newest record of a page wins. A copy is a page of its own, keyed by its path. [`merge`](super::Merge) defines what is
//! newer across journals, and which path keeps the original. An entry takes 48 bytes of memory.

use std::{
    collections::hash_map::DefaultHasher,
    fs::File,
    hash::{Hash, Hasher},
    io, slice,
};

use anyhow::{Context, Result, ensure};
use rayon::slice::ParallelSliceMut;
use serde::Deserialize;

use super::{
    key::PageKey,
    line::{Line, PageState},
    scan::{Extent, each_line},
};
use crate::{page_selection::PageSelection, record::Status};

/// The position of a page's record, and what is known without reading it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub(super) document: [u8; 16],
    pub(super) start: u64,
    pub(super) length: u32,
    page: u32,
    /// Equal to `page`, unless the record covers a range of pages.
    last_page: u32,
    /// 0 if unknown.
    page_count: u32,
    /// The number that the reader's `note` gave the path; one of [`path_hash`] in an index for a run.
    pub(super) path: u32,
    /// The number of the journal, in reading order.
    pub(super) input: u16,
    /// [`PageState`], and [`COPY`].
    bits: u8,
}

/// The bit of a copy's record.
const COPY: u8 = 32;

const STATUSES: [Status; 4] = [Status::Ok, Status::Failed, Status::Blank, Status::Skipped];

impl Entry {
    fn new(line: &Line, start: u64, length: usize, path: u32, input: u16) -> Result<Self> {
        let status = STATUSES.iter().position(|it| *it == line.state.status);
        let bits = status.unwrap_or(0) as u8
            | u8::from(line.state.truncated) << 2
            | u8::from(line.state.repetition) << 3
            | u8::from(line.state.changed) << 4
            | if line.is_copy() { COPY } else { 0 };
        Ok(Self {
            document: line.key.document,
            start,
            length: u32::try_from(length).context("the line is too long")?,
            page: line.key.page,
            last_page: line.last_page.unwrap_or(0).max(line.key.page),
            page_count: line.page_count.unwrap_or(0),
            path,
            input,
            bits,
        })
    }

    /// The record's key.
    #[must_use]
    pub fn key(&self) -> PageKey {
        PageKey {
            document: self.document,
            page: self.page,
        }
    }

    /// Where the record's line begins in its file.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The page, or the first one of a range; 0 for a document that could not be opened.
    #[must_use]
    pub fn page(&self) -> u32 {
        self.page
    }

    /// The page's status.
    #[must_use]
    pub fn state(&self) -> PageState {
        PageState {
            status: STATUSES[usize::from(self.bits & 3)],
            truncated: self.bits & 4 != 0,
            repetition: self.bits & 8 != 0,
            changed: self.bits & 16 != 0,
        }
    }

    /// Whether the record is a copy of one at another path.
    pub(super) fn is_copy(&self) -> bool {
        self.bits & COPY != 0
    }

    /// The last page that the record covers.
    pub(super) fn last_page(&self) -> u32 {
        self.last_page
    }

    /// The number of `selected` pages (all if `None`) that the record covers; 0 for page 0.
    #[must_use]
    pub fn pages(&self, selected: Option<&PageSelection>) -> u32 {
        match (self.page, selected) {
            (0, _) => 0,
            (page, None) => (self.last_page - page).saturating_add(1),
            (page, Some(selected)) => selected.count(self.last_page) - selected.count(page - 1),
        }
    }

    /// Reads the record.
    ///
    /// # Errors
    /// The file can't be read any more, or was changed.
    pub fn read<R: for<'a> Deserialize<'a>>(&self, file: &File) -> Result<R> {
        Ok(serde_json::from_slice(&self.line(file)?)?)
    }

    /// Reads the record's line, without its end.
    pub(super) fn line(&self, file: &File) -> io::Result<Vec<u8>> {
        let mut line = vec![0; self.length as usize];
        read_at(file, &mut line, self.start)?;
        Ok(line)
    }

    /// The end of the record's line in its file.
    pub(super) fn end(&self) -> u64 {
        self.start + u64::from(self.length)
    }

    /// The order of [`key`](Self::key), as numbers, which compare faster than bytes.
    pub(super) fn order(&self) -> (u128, u32) {
        (u128::from_be_bytes(self.document), self.page)
    }

    fn is_of(&self, other: &Self) -> bool {
        (self.document, self.page) == (other.document, other.page)
    }
}

/// Fills `bytes` from offset `start`.
#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

/// Fills `bytes` from offset `start`.
#[cfg(not(unix))]
pub(super) fn read_at(mut file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};

    file.seek(SeekFrom::Start(start))?;
    file.read_exact(bytes)
}

/// The newest record of each page, by document and page.
#[derive(Debug, Default)]
pub struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// Reads a journal from its start. Memory is bounded, apart from one entry per page.
    ///
    /// # Errors
    /// The file can't be read, [`NotAnOutput`](super::NotAnOutput), or a complete line is not a record (the error names
    /// its number).
    pub(super) fn read(file: &File) -> Result<(Self, Extent)> {
        let mut builder = Builder::default();
        let extent = builder.add(file, |line| Ok(path_hash(&line.path)))?;
        Ok((builder.finish(), extent))
    }

    /// The state in the newest record of a page.
    #[must_use]
    pub fn state(&self, key: &PageKey) -> Option<PageState> {
        self.entry(key).map(Entry::state)
    }

    /// The records of the document of `key`, by page.
    #[must_use]
    pub fn document(&self, key: &PageKey) -> &[Entry] {
        let start = self
            .entries
            .partition_point(|entry| entry.document < key.document);
        let rest = &self.entries[start..];
        let length = rest
            .iter()
            .take_while(|entry| entry.document == key.document)
            .count();
        &rest[..length]
    }

    /// The number of pages of the document of `key`.
    #[must_use]
    pub fn page_count(&self, key: &PageKey) -> Option<u32> {
        page_count(self.document(key))
    }

    /// The record that covers a page.
    pub(super) fn entry(&self, key: &PageKey) -> Option<&Entry> {
        let after = self.entries.partition_point(|entry| entry.key() <= *key);
        let entry = self.entries[..after].last()?;
        let covers = entry.document == key.document && key.page <= entry.last_page;
        covers.then_some(entry)
    }

    /// The newest record of each page, by document and page.
    pub fn records(&self) -> slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// The same, grouped by document.
    pub fn documents(&self) -> impl Iterator<Item = &[Entry]> {
        self.entries
            .chunk_by(|one, other| one.document == other.document)
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What an index for a run knows a path by: it tells an original's path from that of a copy.
pub(super) fn path_hash(path: &[u8]) -> u32 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish() as u32
}

/// The page count in the newest record that has one.
pub(super) fn page_count(document: &[Entry]) -> Option<u32> {
    let known = document.iter().filter(|entry| entry.page_count > 0);
    known
        .max_by_key(|entry| (entry.input, entry.start))
        .map(|entry| entry.page_count)
}

/// Builds an index from several journals.
#[derive(Default)]
pub(super) struct Builder {
    entries: Vec<Entry>,
    inputs: u16,
    /// Copies are told apart by the numbers of their paths, and not by keys of their own.
    by_path: bool,
}

impl Builder {
    /// Adds a journal. Its records are newer than those of the journals before. `note` gives the number of a line's path,
    /// which is kept in its entry.
    pub(super) fn add(
        &mut self,
        file: &File,
        mut note: impl FnMut(&Line) -> Result<u32>,
    ) -> Result<Extent> {
        let input = self.inputs;
        let extent = each_line(file, 0..u64::MAX, |line, place| {
            let path = note(&line)?;
            let length = (place.end - place.start) as usize;
            let mut entry = Entry::new(&line, place.start, length, path, input)?;
            if self.by_path {
                entry.document = line.original.document;
            }
            self.entries.push(entry);
            Ok(())
        })?;
        ensure!(input < u16::MAX, "more than {input} files");
        self.inputs += 1;
        Ok(extent)
    }

    /// One that keeps the copies of a document together.
    pub(super) fn by_path() -> Self {
        Self {
            by_path: true,
            ..Self::default()
        }
    }

    /// All records, in reading order.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    pub(super) fn finish(self) -> Index {
        let mut entries = self.entries;
        entries.par_sort_unstable_by_key(|entry| (entry.order(), entry.start));
        entries.dedup_by(|newer, kept| {
            let is_same = newer.is_of(kept);
            if is_same {
                *kept = *newer;
            }
            is_same
        });
        if entries.len() < entries.capacity() / 2 {
            entries.shrink_to_fit();
        }
        Index { entries }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::journal::line::Facts;

    pub(in crate::journal) fn entry(
        document: u8,
        page: u32,
        input: u16,
        start: u64,
        status: Status,
    ) -> Entry {
        let line = Line {
            key: PageKey {
                document: [document; 16],
                page,
            },
            original: PageKey {
                document: [document; 16],
                page,
            },
            path: b"a".into(),
            last_page: (page == 7).then_some(9),
            page_count: Some(9),
            state: PageState {
                status,
                truncated: page == 2,
                repetition: false,
                changed: false,
            },
            facts: Facts::default(),
        };
        Entry::new(&line, start, 10, 0, input).unwrap()
    }

    fn index(entries: Vec<Entry>) -> Index {
        Builder {
            entries,
            inputs: 9,
            by_path: false,
        }
        .finish()
    }

    #[test]
    fn index_entry_takes_48_bytes() {
        assert_eq!(size_of::<Entry>(), 48);
    }

    #[test]
    fn newest_record_wins_and_a_range_covers_its_pages() {
        use Status::{Blank, Failed, Ok};
        let found = index(vec![
            entry(1, 7, 0, 500, Failed),
            entry(1, 2, 0, 300, Ok),
            entry(1, 2, 0, 100, Failed),
            entry(2, 1, 0, 200, Ok),
            entry(2, 1, 0, 400, Failed),
            entry(2, 2, 0, 600, Blank),
        ]);
        let status = |document: u8, page| {
            let key = PageKey {
                document: [document; 16],
                page,
            };
            found.state(&key).map(|state| state.status)
        };
        assert_eq!(status(1, 2), Some(Ok));
        assert_eq!(
            [6, 7, 8, 9, 10].map(|page| status(1, page)),
            [None, Some(Failed), Some(Failed), Some(Failed), None]
        );
        assert_eq!(
            [1, 2, 3].map(|page| status(2, page)),
            [Some(Failed), Some(Blank), None]
        );
        assert_eq!(found.len(), 4);
        assert!(found.records().next().unwrap().state().truncated);
        let pages = |selected: &str| {
            let selected = selected.parse().ok();
            let pages = found.records().map(|entry| entry.pages(selected.as_ref()));
            pages.sum::<u32>()
        };
        assert_eq!((pages("1-"), pages("8"), pages("1-2,9-12")), (6, 1, 4));
    }
}
