//! What a journal already holds: which pages are done, where its last whole line ends, which line is broken.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
};

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::record::{SCHEMA, Status};

/// The file is read in pieces of about this size, and each piece's lines in parallel.
const PIECE: usize = 8 << 20;

/// What a page of a journal is known by: the first half of its document's SHA-256 and its number.
///
/// A document without bytes that can be read has no checksum; the one failed record that it has goes by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageKey {
    pub(super) document: [u8; 16],
    pub(super) page: u32,
}

impl PageKey {
    /// The key of `page` in the document `doc_id`, or in the unreadable file at `path`.
    #[must_use]
    pub fn new(doc_id: Option<&str>, path: &str, page: u32) -> Self {
        let document = doc_id.and_then(half_of_checksum).unwrap_or_else(|| {
            let mut hash = Sha256::new();
            hash.update(b"path\0");
            hash.update(path);
            let mut half = [0; 16];
            half.copy_from_slice(&hash.finalize()[..16]);
            half
        });
        Self { document, page }
    }
}

fn half_of_checksum(hex: &str) -> Option<[u8; 16]> {
    let mut half = [0; 16];
    for (byte, digits) in half
        .iter_mut()
        .zip(hex.as_bytes().get(..32)?.chunks_exact(2))
    {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(half)
}

/// The pages that a journal has records of.
#[derive(Debug, Default)]
pub struct Recorded {
    pages: HashMap<PageKey, Status>,
    /// By the half of the document's checksum.
    page_counts: HashMap<[u8; 16], u32>,
}

impl Recorded {
    /// How the newest record of a page says that it ended.
    #[must_use]
    pub fn status(&self, key: &PageKey) -> Option<Status> {
        self.pages.get(key).copied()
    }

    /// The number of pages of the document that the page of `key` is of.
    #[must_use]
    pub fn page_count(&self, key: &PageKey) -> Option<u32> {
        self.page_counts.get(&key.document).copied()
    }

    fn add(&mut self, line: &Line) {
        self.pages.insert(line.key, line.status);
        if let Some(count) = line.page_count {
            self.page_counts.insert(line.key.document, count);
        }
    }

    /// Number of pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

/// What [`scan`] found.
#[derive(Debug, Default)]
pub struct Scan {
    /// The pages of all whole lines.
    pub recorded: Recorded,
    /// Where the last whole line ends, in bytes from the start.
    pub end: u64,
    /// Bytes behind that: the beginning of a line that was never finished.
    pub torn: u64,
}

/// The part of a record that says which page it is of.
#[derive(Deserialize)]
struct Head<'a> {
    schema: u32,
    #[serde(borrow)]
    path: Cow<'a, str>,
    doc_id: Option<&'a str>,
    page: u32,
    page_count: Option<u32>,
    status: Status,
}

/// What is kept of a line.
pub(super) struct Line<'a> {
    pub(super) key: PageKey,
    pub(super) path: Cow<'a, str>,
    pub(super) page_count: Option<u32>,
    pub(super) status: Status,
    /// Where it stands in the file, in bytes, without its end.
    pub(super) place: Range<u64>,
}

/// Reads a journal from its start, in bounded memory.
///
/// # Errors
/// The file can't be read, or a whole line is not a record: then the error names the line's number.
pub fn scan(file: &mut File) -> Result<Scan> {
    let mut recorded = Recorded::default();
    let (end, torn) = each_line(file, |line| recorded.add(&line))?;
    Ok(Scan {
        recorded,
        end,
        torn,
    })
}

/// Hands every whole line to `take`, in order. Says where the last one ends, and how many bytes are behind it.
pub(super) fn each_line(file: &mut File, mut take: impl FnMut(Line)) -> Result<(u64, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let (mut lines, mut end) = (0, 0);
    let mut buffer = Vec::with_capacity(PIECE);
    loop {
        let read = file.by_ref().take(PIECE as u64).read_to_end(&mut buffer)?;
        let whole = buffer
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |last| last + 1);
        lines += take_lines(&buffer[..whole], lines, end, &mut take)?;
        end += whole as u64;
        buffer.drain(..whole);
        if read == 0 {
            return Ok((end, buffer.len() as u64));
        }
    }
}

/// Hands on the whole lines in `bytes`, which come after `before` others, at `start` in the file; says how many they are.
fn take_lines(
    bytes: &[u8],
    before: usize,
    start: u64,
    take: &mut impl FnMut(Line),
) -> Result<usize> {
    let lines = split_lines(bytes);
    let heads: Vec<Result<Line>> = lines
        .par_iter()
        .map(|line| read_head(&bytes[line.clone()], start + line.start as u64))
        .collect();
    for (i, head) in heads.into_iter().enumerate() {
        take(head.with_context(|| format!("line {} is not a record", before + i + 1))?);
    }
    Ok(lines.len())
}

fn split_lines(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    let ends = bytes
        .iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'\n')
        .map(|(end, _)| end);
    ends.map(|end| std::mem::replace(&mut start, end + 1)..end)
        .collect()
}

fn read_head(line: &[u8], start: u64) -> Result<Line<'_>> {
    let head: Head = serde_json::from_slice(line)?;
    anyhow::ensure!(
        head.schema == SCHEMA,
        "it is of schema {}, this version writes {SCHEMA}",
        head.schema
    );
    Ok(Line {
        key: PageKey::new(head.doc_id, &head.path, head.page),
        path: head.path,
        page_count: head.page_count,
        status: head.status,
        place: start..start + line.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn scan_bytes(bytes: &[u8]) -> Result<Scan> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        scan(&mut file)
    }

    /// A journal of so many lines, each of another page.
    fn journal(lines: usize) -> String {
        (1..=lines)
            .map(|page| {
                format!(r#"{{"schema":1,"path":"a.pdf","doc_id":"{:064x}","page":{page},"status":"ok","content":"ä"}}"#, 7)
                    + "\n"
            })
            .collect()
    }

    fn line_ends(bytes: &[u8]) -> usize {
        bytes.split(|&byte| byte == b'\n').count() - 1
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_never_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(found) = scan_bytes(&bytes) {
                prop_assert_eq!(found.end + found.torn, bytes.len() as u64);
            }
        }

        #[test]
        fn a_journal_that_is_cut_anywhere_keeps_its_whole_lines(lines in 0_usize..6, at in any::<prop::sample::Index>()) {
            let whole = journal(lines);
            let cut = &whole.as_bytes()[..at.index(whole.len() + 1)];
            let found = scan_bytes(cut).unwrap();
            let kept = line_ends(cut);
            prop_assert_eq!(found.recorded.len(), kept);
            prop_assert_eq!(found.end + found.torn, cut.len() as u64);
            prop_assert!(cut[found.end as usize..].iter().all(|&byte| byte != b'\n'));
        }

        #[test]
        fn a_line_with_a_byte_of_garbage_is_read_or_named(lines in 1_usize..6, at in any::<prop::sample::Index>(), garbage in any::<u8>()) {
            let mut bytes = journal(lines).into_bytes();
            let at = at.index(bytes.len());
            let line = line_ends(&bytes[..at]) + 1;
            bytes[at] = garbage;
            if let Err(error) = scan_bytes(&bytes) {
                // A line end that is garbage joins two lines, which are named by the first; one more splits a line in two.
                let told = format!("{error:#}");
                prop_assert!(told.contains(&format!("line {line} ")) || told.contains(&format!("line {} ", line + 1)), "{}", told);
            }
        }
    }
}
