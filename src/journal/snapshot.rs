//! An output as it is now, for the commands that show what is in it. A run may be writing to it meanwhile.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::de::DeserializeOwned;

use super::{
    index::{Builder, Entry, read_at},
    lock::is_locked,
    merge::{Document, Rows, in_order},
    meta::Meta,
    paths::Paths,
    place::resolve,
    scan::{each_line, explain},
    totals::Totals,
};

/// Records are read in pieces of about this many bytes.
const PIECE: u64 = 1 << 20;
/// Pieces that are parsed in parallel.
const PIECES: usize = 16;

/// An output, its newest records by path, and its settings.
pub struct Snapshot {
    path: PathBuf,
    file: File,
    rows: Rows,
    paths: Paths,
    meta: Option<Meta>,
    /// The number of all records, and their totals.
    records: usize,
    totals: Totals,
    /// Where the last line ends.
    end: u64,
    torn: u64,
}

/// Whether the output's last run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// A run is writing to it.
    Running,
    /// The last run reached the end of its inputs.
    Finished,
    /// The last run was interrupted.
    Interrupted,
}

impl Snapshot {
    /// Indexes the output at `path`. An unfinished last line is left out.
    ///
    /// # Errors
    /// The file can't be read, is not an output, has a newer schema, or a line of it is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
        let is_file = file.metadata().is_ok_and(|data| data.is_file());
        anyhow::ensure!(is_file, "{shown} is not a regular file");
        let (mut builder, mut paths) = (Builder::by_path(), Paths::default());
        let mut totals = Totals::default();
        let extent = builder.add(&file, |line| {
            totals.add(line);
            paths.note(&line.path)
        });
        let extent = extent.map_err(|error| explain(path, error, ""))?;
        let entries = builder.into_entries();
        Ok(Self {
            meta: Meta::read(&resolve(path))?,
            path: path.to_owned(),
            file,
            records: entries.len(),
            rows: Rows::new(entries, &paths),
            paths,
            totals,
            end: extent.end,
            torn: extent.torn,
        })
    }

    /// The path of the output.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The settings, and the last run; none if the file beside the output is missing.
    #[must_use]
    pub fn meta(&self) -> Option<&Meta> {
        self.meta.as_ref()
    }

    /// Whether the last run has ended.
    #[must_use]
    pub fn state(&self) -> RunState {
        let finished = self
            .meta
            .as_ref()
            .is_some_and(|meta| meta.run.finished.is_some());
        if is_locked(&resolve(&self.path)) {
            RunState::Running
        } else if finished && self.torn == 0 {
            RunState::Finished
        } else {
            RunState::Interrupted
        }
    }

    /// When the output was last written, in seconds since 1970.
    #[must_use]
    pub fn modified(&self) -> Option<u64> {
        let modified: SystemTime = self.file.metadata().ok()?.modified().ok()?;
        let since = modified.duration_since(UNIX_EPOCH).ok()?;
        Some(since.as_secs())
    }

    /// Whether the last run wrote this record; `None` if its start is not known, as in a merged output.
    #[must_use]
    pub fn is_of_last_run(&self, entry: &Entry) -> Option<bool> {
        let begin = self.meta.as_ref()?.run.begins_at?;
        Some(entry.start >= begin)
    }

    /// The documents with their newest records, by path.
    #[must_use]
    pub fn documents(&self) -> Vec<Document<'_>> {
        in_order(&self.rows, &self.paths)
    }

    /// Reads one record.
    ///
    /// # Errors
    /// The file can't be read any more, or was changed.
    pub fn read<R: DeserializeOwned>(&self, entry: &Entry) -> Result<R> {
        let read = entry.read(&self.file);
        read.with_context(|| format!("cannot read {}", self.path.display()))
    }

    /// Sums over the newest records of the pages of `documents`. Of the file, only what is between these is read again.
    ///
    /// # Errors
    /// The file can't be read any more, or was changed.
    pub fn totals(&self, documents: &[Document]) -> Result<Totals> {
        let entries = || documents.iter().flat_map(Document::records);
        if entries().count() == self.records {
            return Ok(self.totals.clone());
        }
        let mut kept: Vec<(u64, u64)> = entries()
            .map(|entry| (entry.start, entry.end() + 1))
            .collect();
        kept.par_sort_unstable();
        let mut superseded = Totals::default();
        let mut at = 0;
        for (start, end) in kept.into_iter().chain([(self.end, self.end)]) {
            if at < start {
                let read = each_line(&self.file, at..start, |line, _| {
                    superseded.add(&line);
                    Ok(())
                });
                read.with_context(|| format!("cannot read {}", self.path.display()))?;
            }
            at = end;
        }
        let mut totals = self.totals.clone();
        totals.subtract(superseded);
        Ok(totals)
    }

    /// Passes the newest record of each page of `documents` to `take`, in the order of the file. Memory is bounded.
    ///
    /// # Errors
    /// The file can't be read any more, was changed, or the error of `take`.
    pub fn each<R: DeserializeOwned + Send>(
        &self,
        documents: &[Document],
        take: impl FnMut(&Entry, R) -> Result<()>,
    ) -> Result<()> {
        self.each_of(documents.iter().flat_map(Document::records), take)
    }

    /// As [`each`](Self::each), for some entries.
    ///
    /// # Errors
    /// As [`each`](Self::each).
    pub fn each_of<'e, R: DeserializeOwned + Send>(
        &self,
        entries: impl Iterator<Item = &'e Entry>,
        mut take: impl FnMut(&Entry, R) -> Result<()>,
    ) -> Result<()> {
        let mut entries: Vec<&Entry> = entries.collect();
        entries.par_sort_unstable_by_key(|entry| entry.start);
        let pieces: Vec<&[&Entry]> = pieces(&entries).collect();
        for some in pieces.chunks(PIECES) {
            let read: Vec<Result<Vec<R>>> = some
                .par_iter()
                .map(|piece| self.read_piece(piece))
                .collect();
            for (piece, records) in some.iter().zip(read) {
                let shown = self.path.display();
                let records = records.with_context(|| format!("cannot read {shown}"))?;
                for (entry, record) in piece.iter().zip(records) {
                    take(entry, record)?;
                }
            }
        }
        Ok(())
    }

    fn read_piece<R: DeserializeOwned>(&self, piece: &[&Entry]) -> Result<Vec<R>> {
        let (Some(first), Some(last)) = (piece.first(), piece.last()) else {
            return Ok(Vec::new());
        };
        let mut bytes = vec![0; (last.end() - first.start) as usize];
        let read: io::Result<()> = read_at(&self.file, &mut bytes, first.start);
        read?;
        let line = |entry: &&Entry| {
            let start = (entry.start - first.start) as usize;
            &bytes[start..start + entry.length as usize]
        };
        let records = piece
            .iter()
            .map(|entry| serde_json::from_slice(line(entry)));
        Ok(records.collect::<Result<_, _>>()?)
    }
}

/// Entries, by their place in the file, in pieces of about [`PIECE`] bytes.
fn pieces<'a, 'b>(entries: &'a [&'b Entry]) -> impl Iterator<Item = &'a [&'b Entry]> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = entries.get(start)?;
        let within = entries[start..].partition_point(|entry| entry.end() - first.start <= PIECE);
        let piece = &entries[start..start + within.max(1)];
        start += piece.len();
        Some(piece)
    })
}
