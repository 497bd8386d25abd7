//! The one reader of records: which pages a journal has, where their records are, and their status.
//!
//! The newest record of a page wins. [`merge`](super::Merge) defines what is newer across journals. An entry takes 48
//! bytes of memory.

use std::{fs::File, io, slice};

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
    /// The number that the reader's `note` gave the path.
    pub(super) path: u32,
    /// The number of the journal, in reading order.
    pub(super) input: u16,
    /// [`PageState`].
    bits: u8,
}

const STATUSES: [Status; 3] = [Status::Ok, Status::Failed, Status::Blank];

impl Entry {
    fn new(line: &Line, start: u64, length: usize, path: u32, input: u16) -> Result<Self> {
        let status = STATUSES.iter().position(|it| *it == line.state.status);
        let bits = status.unwrap_or(0) as u8
            | u8::from(line.state.truncated) << 2
            | u8::from(line.state.repetition) << 3;
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

    /// The page's status.
    #[must_use]
    pub fn state(&self) -> PageState {
        PageState {
            status: STATUSES[usize::from(self.bits & 3).min(2)],
            truncated: self.bits & 4 != 0,
            repetition: self.bits & 8 != 0,
        }
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
        let mut line = vec![0; self.length as usize];
        read_at(file, &mut line, self.start)?;
        Ok(serde_json::from_slice(&line)?)
    }

    /// The end of the record's line in its file.
    pub(super) fn end(&self) -> u64 {
        self.start + u64::from(self.length)
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
    pub(super) fn read(file: &mut File) -> Result<(Self, Extent)> {
        let mut builder = Builder::default();
        let extent = builder.add(file, |_| Ok(0))?;
        Ok((builder.finish(), extent))
    }

    /// The state in the newest record of a page.
    #[must_use]
    pub fn state(&self, key: &PageKey) -> Option<PageState> {
        let after = self.entries.partition_point(|entry| entry.key() <= *key);
        let entry = self.entries[..after].last()?;
        let covers = entry.document == key.document && key.page <= entry.last_page;
        covers.then(|| entry.state())
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
}

impl Builder {
    /// Adds a journal. Its records are newer than those of the journals before. `note` maps a path to the number kept
    /// in its entries.
    pub(super) fn add(
        &mut self,
        file: &mut File,
        mut note: impl FnMut(&str) -> Result<u32>,
    ) -> Result<Extent> {
        let input = self.inputs;
        let extent = each_line(file, |line, place| {
            let path = note(&line.path)?;
            let length = (place.end - place.start) as usize;
            self.entries
                .push(Entry::new(&line, place.start, length, path, input)?);
            Ok(())
        })?;
        ensure!(input < u16::MAX, "more than {input} files");
        self.inputs += 1;
        Ok(extent)
    }

    pub(super) fn finish(self) -> Index {
        let mut entries = self.entries;
        entries.par_sort_unstable_by_key(|entry| (entry.key(), entry.input, entry.start));
        // In one journal the last one counts.
        entries.dedup_by(|newer, kept| {
            let is_same = newer.is_of(kept) && newer.input == kept.input;
            if is_same {
                *kept = *newer;
            }
            is_same
        });
        // Of several journals one that was read before one that failed, and else the newer one.
        entries.dedup_by(|newer, kept| {
            let is_same = newer.is_of(kept);
            let failed = |entry: &Entry| entry.state().status == Status::Failed;
            if is_same && (!failed(newer) || failed(kept)) {
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
mod tests {
    use super::*;

    fn entry(document: u8, page: u32, input: u16, start: u64, status: Status) -> Entry {
        let line = Line {
            key: PageKey {
                document: [document; 16],
                page,
            },
            path: "a".into(),
            last_page: (page == 7).then_some(9),
            page_count: Some(9),
            state: PageState {
                status,
                truncated: page == 2,
                repetition: false,
            },
        };
        Entry::new(&line, start, 10, 0, input).unwrap()
    }

    fn index(entries: Vec<Entry>) -> Index {
        Builder { entries, inputs: 9 }.finish()
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

    #[test]
    fn read_page_wins_over_failed_page_across_journals() {
        use Status::{Failed, Ok};
        let place = |entries| {
            let found = index(entries);
            let entry = found.records().next().unwrap();
            (found.len(), entry.input, entry.start)
        };
        // In the second one the last record failed, whatever was before it.
        assert_eq!(
            place(vec![
                entry(1, 1, 1, 5, Failed),
                entry(1, 1, 0, 7, Ok),
                entry(1, 1, 1, 2, Ok)
            ]),
            (1, 0, 7)
        );
        assert_eq!(
            place(vec![entry(1, 1, 1, 5, Failed), entry(1, 1, 0, 7, Failed)]),
            (1, 1, 5)
        );
        assert_eq!(
            place(vec![entry(1, 1, 1, 5, Ok), entry(1, 1, 0, 7, Ok)]),
            (1, 1, 5)
        );
    }
}
