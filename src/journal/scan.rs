//! Scans the lines of a journal: where the last complete line ends, which line is broken, whether it is an output at
//! all.

use std::{
    fmt,
    fs::File,
    io::{Read, Seek, SeekFrom},
    mem,
    ops::Range,
    path::Path,
};

use anyhow::{Context, Error, Result, anyhow, bail};
use memchr::{memchr, memchr_iter, memrchr};
use rayon::prelude::*;

use super::line::{Line, Newer, begins_like_a_record, has_head_of_a_record, read_line};

/// The file is read in chunks of about this size, which a processor's cache holds; each chunk's lines are parsed in parallel.
const PIECE: usize = 1 << 20;

/// A file that omnidocs did not write.
#[derive(Debug)]
pub struct NotAnOutput;

impl fmt::Display for NotAnOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not an omnidocs output")
    }
}

impl std::error::Error for NotAnOutput {}

/// What a person is told who asked for what is in the journal at `path`; `advice` is for one that is damaged.
pub(super) fn explain(path: &Path, error: Error, advice: &str) -> Error {
    let path = path.display();
    match error.downcast_ref::<Newer>() {
        Some(newer) => anyhow!("{path} {newer}"),
        None if error.is::<NotAnOutput>() => anyhow!("{path} is not an omnidocs output"),
        None => error.context(format!("{path} is damaged{advice}")),
    }
}

/// Where the lines of a journal end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// End of the last complete line, in bytes from the start.
    pub(super) end: u64,
    /// Length in bytes of the unfinished line behind it.
    pub(super) torn: u64,
    /// There are zeros among those bytes, as a power cut leaves them; they don't identify the file's writer.
    pub(super) zeros: bool,
    /// Lines with zeros in the middle, which a power cut leaves where later lines were written before earlier ones.
    pub(super) holes: Vec<Hole>,
}

impl Extent {
    /// Number of bytes that are no whole lines.
    pub(super) fn lost(&self) -> u64 {
        let holes = self
            .holes
            .iter()
            .map(|hole| hole.place.end - hole.place.start);
        self.torn + holes.sum::<u64>()
    }
}

/// A line that was not written whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hole {
    /// Its number, from 1.
    pub(super) line: usize,
    /// Its bytes, with the newline.
    pub(super) place: Range<u64>,
}

/// Passes every complete line of `range` to `take`, in order, with its byte range. Blank lines are skipped, and so are lines
/// with zeros, which no record has.
///
/// # Errors
/// [`NotAnOutput`], the file can't be read, or a line is not a record (the error names its number).
pub(super) fn each_line(
    mut file: &File,
    range: Range<u64>,
    mut take: impl FnMut(Line, Range<u64>) -> Result<()>,
) -> Result<Extent> {
    file.seek(SeekFrom::Start(range.start))?;
    let mut walked = Walked {
        end: range.start,
        ..Walked::default()
    };
    let mut file = file.take(range.end - range.start);
    let mut fill = |buffer: &mut Vec<u8>| file.by_ref().take(PIECE as u64).read_to_end(buffer);
    let (mut buffer, mut next) = (Vec::new(), Vec::new());
    let mut read = fill(&mut buffer)?;
    loop {
        if read == 0 {
            return walked.take_tail(&buffer);
        }
        let whole = memrchr(b'\n', &buffer).map_or(0, |last| last + 1);
        let (lines, tail) = buffer.split_at(whole);
        next.clear();
        next.extend_from_slice(tail);
        // The next chunk is read while this one is parsed.
        let (parsed, filled) = rayon::join(|| parse_lines(lines), || fill(&mut next));
        walked.take_lines(lines, parsed, &mut take)?;
        walked.end += whole as u64;
        read = filled?;
        mem::swap(&mut buffer, &mut next);
    }
}

/// A line's place, and its record: none of both kinds if it is blank, the inner none if it is a hole.
type Parsed<'a> = (Range<usize>, Option<Option<Result<Line<'a>>>>);

fn parse_lines(bytes: &[u8]) -> Vec<Parsed<'_>> {
    let lines = split_lines(bytes).into_par_iter().with_min_len(64);
    let parse = |place: Range<usize>| {
        let line = &bytes[place.clone()];
        let is_blank = line.trim_ascii().is_empty();
        let parsed = (!is_blank).then(|| (!is_hole(line)).then(|| read_line(line)));
        (place, parsed)
    };
    lines.map(parse).collect()
}

/// The state of a scan.
#[derive(Default)]
struct Walked {
    lines: usize,
    records: usize,
    end: u64,
    holes: Vec<Hole>,
}

impl Walked {
    fn take_lines(
        &mut self,
        bytes: &[u8],
        parsed: Vec<Parsed>,
        take: &mut impl FnMut(Line, Range<u64>) -> Result<()>,
    ) -> Result<()> {
        for (place, line) in parsed {
            self.lines += 1;
            let Some(line) = line else { continue };
            let Some(line) = line else {
                let (start, end) = (place.start as u64, place.end as u64 + 1);
                self.holes.push(Hole {
                    line: self.lines,
                    place: self.end + start..self.end + end,
                });
                continue;
            };
            if self.records == 0 && !has_head_of_a_record(&bytes[place.clone()]) {
                // One of ours that someone has formatted anew is read all the same.
                line.as_ref().map_err(|_| NotAnOutput)?;
            }
            let message = || format!("line {} is not a record", self.lines);
            let line = line.with_context(message)?;
            let place = self.end + place.start as u64..self.end + place.end as u64;
            take(line, place).with_context(message)?;
            self.records += 1;
        }
        Ok(())
    }

    /// Classifies the bytes behind the last complete line.
    fn take_tail(self, tail: &[u8]) -> Result<Extent> {
        let mut zeros = is_hole(tail);
        let is_blank = tail.trim_ascii().is_empty();
        if !(begins_like_a_record(tail) || zeros || is_blank && self.records > 0) {
            if self.records == 0 {
                bail!(NotAnOutput);
            }
            bail!(
                "line {} is not a record, nor the start of one",
                self.lines + 1
            );
        }
        let (mut end, mut holes) = (self.end, self.holes);
        // Behind them there is nothing whole.
        while let Some(hole) = holes.pop_if(|hole| hole.place.end == end) {
            (end, zeros) = (hole.place.start, true);
        }
        Ok(Extent {
            end,
            torn: self.end - end + tail.len() as u64,
            zeros,
            holes,
        })
    }
}

/// Whether a line has zeros where bytes did not reach the disk. Before them is nothing, or the start of a record.
fn is_hole(line: &[u8]) -> bool {
    memchr(0, line).is_some_and(|zero| zero == 0 || begins_like_a_record(&line[..zero]))
}

fn split_lines(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    memchr_iter(b'\n', bytes)
        .map(|end| mem::replace(&mut start, end + 1)..end)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::journal::Index;

    fn scan_bytes(bytes: &[u8]) -> Result<(Index, Extent)> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        Index::read(&file)
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

    #[test]
    fn scan_skips_blank_lines_and_counts_them() {
        let text = format!("\n  \n{}\t\r\n\n{}\n", journal(1), journal(1));
        let (index, extent) = scan_bytes(text.as_bytes()).unwrap();
        assert_eq!((index.len(), extent.end), (1, text.len() as u64));
        let broken = text.replace("\"page\":1", "\"page\":x");
        let message = format!("{:#}", scan_bytes(broken.as_bytes()).unwrap_err());
        assert!(message.starts_with("line 3 is not a record"), "{message}");
        let (_, blank) = scan_bytes((text + "  ").as_bytes()).unwrap();
        assert_eq!(blank.torn, 2);
    }

    #[test]
    fn trailing_zeros_count_as_unfinished() {
        let text = journal(2) + "\0\0\0";
        let (_, extent) = scan_bytes(text.as_bytes()).unwrap();
        assert_eq!((extent.torn, extent.zeros), (3, true));
    }

    #[test]
    fn line_with_zeros_is_a_hole_and_others_stay() {
        let line = |page: usize| journal(page).lines().nth(page - 1).unwrap().to_owned() + "\n";
        let half = &line(2)[..30];
        for hole in [
            "\0\0\0\n",
            &format!("{half}\0\0\"}}\n"),
            &format!("\0\0{half}\n"),
        ] {
            let text = [&line(1), hole, &line(3)].concat();
            let (index, extent) = scan_bytes(text.as_bytes()).unwrap();
            assert_eq!((index.len(), extent.torn), (2, 0));
            assert_eq!(extent.holes.len(), 1);
            let place = &extent.holes[0].place;
            assert_eq!(&text[place.start as usize..place.end as usize], hole);
            // At the end it is cut off with what follows.
            let text = [&line(1), hole, hole, half].concat();
            let (index, extent) = scan_bytes(text.as_bytes()).unwrap();
            assert_eq!((index.len(), extent.end as usize), (1, line(1).len()));
            assert_eq!((extent.holes.len(), extent.zeros), (0, true));
        }
        for foreign in ["MZ\0\0\n", "{\"a\":\0}\n"] {
            assert!(
                scan_bytes(foreign.as_bytes())
                    .unwrap_err()
                    .is::<NotAnOutput>()
            );
            let message = scan_bytes((line(1) + foreign).as_bytes()).unwrap_err();
            assert!(message.to_string().starts_with("line 2 "), "{message}");
        }
    }

    proptest! {
        #[test]
        fn scan_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok((_, found)) = scan_bytes(&bytes) {
                prop_assert_eq!(found.end + found.torn, bytes.len() as u64);
            }
        }

        #[test]
        fn truncated_journal_keeps_its_complete_lines(lines in 0_usize..6, at in any::<prop::sample::Index>()) {
            let whole = journal(lines);
            let cut = &whole.as_bytes()[..at.index(whole.len() + 1)];
            let (index, found) = scan_bytes(cut).unwrap();
            let kept = line_ends(cut);
            prop_assert_eq!(index.len(), kept);
            prop_assert_eq!(found.end + found.torn, cut.len() as u64);
            prop_assert!(cut[found.end as usize..].iter().all(|&byte| byte != b'\n'));
        }

        #[test]
        fn line_with_garbage_is_read_or_named(lines in 1_usize..6, at in any::<prop::sample::Index>(), garbage in any::<u8>()) {
            let mut bytes = journal(lines).into_bytes();
            let at = at.index(bytes.len());
            let line = line_ends(&bytes[..at]) + 1;
            bytes[at] = garbage;
            if let Err(error) = scan_bytes(&bytes) {
                // A line end that is garbage joins two lines, which are named by the first; one more splits a line in two.
                let message = format!("{error:#}");
                let is_named = message.contains(&format!("line {line} ")) || message.contains(&format!("line {} ", line + 1));
                // The beginning of the first line tells whose file it is.
                prop_assert!(is_named || line == 1 && error.is::<NotAnOutput>(), "{}", message);
            }
        }
    }
}
