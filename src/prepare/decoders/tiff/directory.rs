//! The directories of a TIFF file, walked without decoding any: each page is found, whatever is wrong with the ones before
//! it (TIFF 6.0, section 2; BigTIFF as libtiff 4.7 reads it).

use std::{
    collections::HashSet,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
};

use crate::prepare::decoder::MAX_PAGES;

const NEW_SUBFILE_TYPE: u16 = 254;
/// Bits of `NewSubfileType`: a smaller copy of another page, and a mask for one.
const REDUCED: u64 = 1;
const MASK: u64 = 4;
/// A directory has at most so many entries, and an entry so many values.
const MAX_ENTRIES: u64 = 1 << 12;
const MAX_VALUES: u64 = 1 << 22;

/// The file's own way to write numbers.
#[derive(Debug, Clone, Copy)]
struct Numbers {
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
    layout: Numbers,
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
        let layout = Numbers {
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
            let kind = self.number(&directory, NEW_SUBFILE_TYPE).unwrap_or(0);
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

    /// Whether numbers begin with their highest byte.
    pub(super) fn is_big_endian(&self) -> bool {
        self.layout.big_endian
    }

    /// The first value of a tag.
    pub(super) fn number(&mut self, directory: &Directory, tag: u16) -> Option<u64> {
        let entry = directory.entry(tag)?;
        self.values_of(entry, 1).ok()?.first().copied()
    }

    /// All values of a tag; none if there are none, or not all of them are there.
    pub(super) fn values(&mut self, directory: &Directory, tag: u16) -> Option<Vec<u64>> {
        self.values_of(directory.entry(tag)?, MAX_VALUES).ok()
    }

    /// The values of a tag as fractions, whatever kind of number they are.
    pub(super) fn reals(&mut self, directory: &Directory, tag: u16) -> Option<Vec<f64>> {
        let entry = directory.entry(tag)?;
        let values = self.values_of(entry, MAX_VALUES).ok()?;
        let real = |value: u64| match entry.kind {
            6 => f64::from(value as i8),
            8 => f64::from(value as i16),
            9 => f64::from(value as i32),
            // Numerator and denominator.
            5 => {
                let parts = self.layout.halves(value);
                f64::from(parts[0]) / f64::from(parts[1])
            }
            10 => {
                let parts = self.layout.halves(value);
                f64::from(parts[0] as i32) / f64::from(parts[1] as i32)
            }
            11 => f64::from(f32::from_bits(value as u32)),
            12 => f64::from_bits(value),
            17 => value as i64 as f64,
            _ => value as f64,
        };
        Some(values.into_iter().map(real).collect())
    }

    /// The bytes from `at` on, at most `length` and as many as there are.
    pub(super) fn bytes_up_to(&mut self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let length = length.min(self.length.saturating_sub(at));
        self.bytes(at, length)
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The first values of an entry, at most `most`.
    fn values_of(&mut self, entry: Entry, most: u64) -> io::Result<Vec<u64>> {
        let size = match entry.kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16 | 17 | 18 => 8,
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
        let bytes = self.bytes(start, entry.count.min(most) * size)?;
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

impl Numbers {
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

    /// The two numbers that a fraction is made of, as they stand in the file.
    fn halves(self, value: u64) -> [u32; 2] {
        let halves = [(value >> 32) as u32, value as u32];
        if self.big_endian {
            halves
        } else {
            [halves[1], halves[0]]
        }
    }
}
