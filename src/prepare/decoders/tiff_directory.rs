//! The directories of a TIFF file, walked without decoding any: each page is found, whatever is wrong with the ones before
//! it (TIFF 6.0, section 2; BigTIFF as libtiff 4.7 reads it).

use std::{
    collections::HashSet,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    ops::Range,
};

use super::overlay::Corrections;
use crate::prepare::decoder::MAX_PAGES;

/// Tags that are looked at here.
const NEW_SUBFILE_TYPE: u16 = 254;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const STRIP_OFFSETS: u16 = 273;
const STRIP_BYTE_COUNTS: u16 = 279;
const PREDICTOR: u16 = 317;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTE_COUNTS: u16 = 325;

/// Bits of `NewSubfileType`: a smaller copy of another page, and a mask for one.
const REDUCED: u64 = 1;
const MASK: u64 = 4;
/// `FillOrder`: the first pixel is in the lowest bit.
const LOWEST_BIT_FIRST: u64 = 2;
/// Values of `Compression` to which a predictor applies: LZW, Deflate by both its numbers, LZMA and ZSTD.
const WITH_PREDICTOR: [u64; 5] = [5, 8, 32_946, 34_925, 50_000];
/// Values of `Compression` whose bytes `FillOrder` does not turn: JPEG, old and new, and JBIG.
const NEVER_REVERSED: [u64; 3] = [6, 7, 34_661];
/// A directory has at most so many entries, and an entry so many values.
const MAX_ENTRIES: u64 = 1 << 12;
const MAX_VALUES: u64 = 1 << 22;

/// The file's own way to write numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    big_endian: bool,
    /// BigTIFF: offsets and counts have 64 bits.
    is_big: bool,
}

/// A directory as far as it can be read.
#[derive(Debug)]
pub(super) struct Directory {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where its value stands, or the offset of its values.
    at: u64,
}

/// A file whose directories are read.
#[derive(Debug)]
pub(super) struct Directories<R> {
    file: R,
    length: u64,
    layout: Layout,
    /// Where the first one is.
    first: u64,
}

impl<R: Read + Seek> Directories<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// The file is cut off, or no TIFF.
    pub(super) fn open(mut file: R) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        let layout = Layout {
            big_endian: false,
            is_big: false,
        };
        let mut directories = Self {
            file,
            length,
            layout,
            first: 0,
        };
        let header = directories.bytes(0, 4)?;
        directories.layout.big_endian = header[0] == b'M';
        directories.layout.is_big = directories.layout.number(&header[2..]) == 43;
        directories.first = directories.offset(directories.layout.first_at())?;
        Ok(directories)
    }

    /// Where the directories of the pages are: all of the chain, but for smaller copies and masks of pages. What is no
    /// directory any more is the last page.
    ///
    /// # Errors
    /// There is no first directory.
    pub(super) fn pages(&mut self) -> io::Result<Vec<u64>> {
        let (mut all, mut pages) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        let mut at = self.first;
        while at != 0 && all.len() < MAX_PAGES as usize && seen.insert(at) {
            let read = self.directory(at);
            if all.is_empty()
                && let Err(error) = read
            {
                return Err(error);
            }
            all.push(at);
            let Ok((directory, next)) = read else {
                pages.push(at);
                break;
            };
            let kind = self.first_value(&directory, NEW_SUBFILE_TYPE).unwrap_or(0);
            if kind & (REDUCED | MASK) == 0 {
                pages.push(at);
            }
            at = next;
        }
        // A file of nothing but small copies has no other pages.
        Ok(if pages.is_empty() { all } else { pages })
    }

    /// The directory at an offset, and where the next one is.
    pub(super) fn directory(&mut self, at: u64) -> io::Result<(Directory, u64)> {
        let layout = self.layout;
        let (count_size, entry_size) = if layout.is_big { (8, 20) } else { (2, 12) };
        let count = layout.number(&self.bytes(at, count_size)?);
        if !(1..=MAX_ENTRIES).contains(&count) {
            return Err(ErrorKind::InvalidData.into());
        }
        let start = at.saturating_add(count_size);
        let table = self.bytes(start, count * entry_size)?;
        let end = start + table.len() as u64;
        let value_at = if layout.is_big { 12 } else { 8 };
        let entries = table.chunks_exact(entry_size as usize).enumerate();
        let entries = entries.map(|(index, entry)| Entry {
            tag: layout.number(&entry[..2]) as u16,
            kind: layout.number(&entry[2..4]) as u16,
            count: layout.number(&entry[4..value_at]),
            at: start + index as u64 * entry_size + value_at as u64,
        });
        let entries = entries.collect();
        // Some programs end the file where the next offset belongs.
        let next = self.offset(end).unwrap_or(0);
        Ok((Directory { entries }, next))
    }

    /// What a decoder must read differently to get the page of the directory at `at` as libtiff does: that directory first,
    /// and neither a predictor nor an order of bits that does not belong to its compression. `grey` makes shades of grey
    /// of a colour table's numbers.
    ///
    /// # Errors
    /// There is no directory there.
    pub(super) fn corrections(&mut self, at: u64, grey: bool) -> io::Result<Corrections> {
        let (directory, _) = self.directory(at)?;
        let layout = self.layout;
        let mut corrections = Corrections {
            replaced: vec![(layout.first_at(), layout.offset_bytes(at))],
            reversed: Vec::new(),
        };
        let mut set = |tag, value| {
            if let Some(entry) = directory.entry(tag) {
                let bytes = layout.value_bytes(entry.kind, value);
                corrections.replaced.push((entry.at, bytes));
            }
        };
        let compression = self.first_value(&directory, COMPRESSION).unwrap_or(1);
        if !WITH_PREDICTOR.contains(&compression) {
            set(PREDICTOR, 1);
        }
        if grey {
            set(PHOTOMETRIC, 1);
        }
        let order = self.first_value(&directory, FILL_ORDER);
        if order == Some(LOWEST_BIT_FIRST) && !NEVER_REVERSED.contains(&compression) {
            corrections.reversed = self.data(&directory)?;
        }
        Ok(corrections)
    }

    /// Where a page's samples are.
    fn data(&mut self, directory: &Directory) -> io::Result<Vec<Range<u64>>> {
        let mut ranges = Vec::new();
        for (offsets, lengths) in [
            (STRIP_OFFSETS, STRIP_BYTE_COUNTS),
            (TILE_OFFSETS, TILE_BYTE_COUNTS),
        ] {
            let offsets = self.values(directory, offsets)?;
            let lengths = self.values(directory, lengths)?;
            let pairs = offsets.into_iter().zip(lengths);
            ranges.extend(pairs.map(|(start, length)| start..start.saturating_add(length)));
        }
        ranges.sort_by_key(|range| range.start);
        // Strips that share bytes are reversed once.
        let mut end = 0;
        for range in &mut ranges {
            range.start = range.start.max(end);
            end = end.max(range.end);
        }
        ranges.retain(|range| !range.is_empty());
        Ok(ranges)
    }

    fn first_value(&mut self, directory: &Directory, tag: u16) -> Option<u64> {
        let mut entry = directory.entry(tag)?;
        entry.count = entry.count.min(1);
        self.values_of(entry).ok()?.first().copied()
    }

    fn values(&mut self, directory: &Directory, tag: u16) -> io::Result<Vec<u64>> {
        let entry = directory.entry(tag);
        entry.map_or(Ok(Vec::new()), |entry| self.values_of(entry))
    }

    fn values_of(&mut self, entry: Entry) -> io::Result<Vec<u64>> {
        let size = match entry.kind {
            1 => 1,
            3 => 2,
            4 => 4,
            16 => 8,
            _ => return Err(ErrorKind::InvalidData.into()),
        };
        if entry.count > MAX_VALUES {
            return Err(ErrorKind::InvalidData.into());
        }
        let inline = if self.layout.is_big { 8 } else { 4 };
        let start = if entry.count * size <= inline {
            entry.at
        } else {
            self.offset(entry.at)?
        };
        let bytes = self.bytes(start, entry.count * size)?;
        let values = bytes.chunks_exact(size as usize);
        Ok(values.map(|value| self.layout.number(value)).collect())
    }

    fn offset(&mut self, at: u64) -> io::Result<u64> {
        let bytes = self.bytes(at, if self.layout.is_big { 8 } else { 4 })?;
        Ok(self.layout.number(&bytes))
    }

    /// Bytes that are there.
    fn bytes(&mut self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        if at.saturating_add(length) > self.length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; length as usize];
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Directory {
    fn entry(&self, tag: u16) -> Option<Entry> {
        self.entries.iter().find(|entry| entry.tag == tag).copied()
    }
}

impl Layout {
    /// Where the offset of the first directory stands.
    fn first_at(self) -> u64 {
        if self.is_big { 8 } else { 4 }
    }

    fn number(self, bytes: &[u8]) -> u64 {
        let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        if self.big_endian {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        }
    }

    fn offset_bytes(self, offset: u64) -> Vec<u8> {
        self.number_bytes(offset, if self.is_big { 8 } else { 4 })
    }

    /// A number as an entry of this kind holds it.
    fn value_bytes(self, kind: u16, value: u64) -> Vec<u8> {
        let size = match kind {
            3 => 2,
            4 => 4,
            _ => 1,
        };
        self.number_bytes(value, size)
    }

    fn number_bytes(self, number: u64, size: usize) -> Vec<u8> {
        if self.big_endian {
            number.to_be_bytes()[8 - size..].to_vec()
        } else {
            number.to_le_bytes()[..size].to_vec()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tiff_directory_walk_never_panics_or_loops(header in 0_usize..4, rest in prop::collection::vec(any::<u8>(), 0..400)) {
            let header: &[u8] = [
                &b"II*\0\x08\0\0\0"[..],
                b"MM\0*\0\0\0\x08",
                b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0",
                b"",
            ][header];
            let file = [header, &rest].concat();
            if let Ok(mut directories) = Directories::open(Cursor::new(&file)) {
                for page in directories.pages().unwrap_or_default() {
                    let _ = directories.corrections(page, true);
                }
            }
        }
    }
}
