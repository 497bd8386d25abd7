//! Finds the records of documents again that have copies, in the output itself.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Write},
    sync::Arc,
};

use anyhow::{Context, Result};

use super::{
    index::{Index, read_at},
    key::PageKey,
};
use crate::{page::Source, record::Record};

/// Where the records are that other paths get copies of.
///
/// Of this run it holds those whose file is as large as another input, some 40 bytes for each. A stream can't be read
/// again, so those lines are kept in a temporary file too.
#[derive(Default)]
pub(super) struct Originals {
    /// The records of earlier runs.
    index: Arc<Index>,
    /// File sizes that several inputs have.
    sizes: HashSet<u64>,
    written: BTreeMap<PageKey, Place>,
    /// For a stream.
    kept: Option<Kept>,
}

/// Where a line is.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    length: u32,
    last_page: u32,
}

/// A file without a name.
struct Kept {
    file: File,
    end: u64,
}

impl Originals {
    pub(super) fn of(index: &Arc<Index>) -> Self {
        Self {
            index: Arc::clone(index),
            ..Self::default()
        }
    }

    /// Prepares for copies among these inputs.
    pub(super) fn expect(&mut self, sources: &[Source]) {
        let mut sizes: Vec<u64> = sources.iter().filter_map(|it| it.size_bytes).collect();
        sizes.sort_unstable();
        let twice = sizes.windows(2).filter(|pair| pair[0] == pair[1]);
        self.sizes = twice.map(|pair| pair[0]).collect();
    }

    /// Notes a record that was written at `start`, or that went into a stream.
    pub(super) fn note(
        &mut self,
        record: &Record,
        line: &[u8],
        start: u64,
        is_stream: bool,
    ) -> io::Result<()> {
        let has_twin = record
            .size_bytes
            .is_some_and(|size| self.sizes.contains(&size));
        if !has_twin || record.copy_of.is_some() || record.doc_id.is_none() {
            return Ok(());
        }
        let start = if is_stream { self.keep(line)? } else { start };
        let place = Place {
            start,
            length: line.len() as u32,
            last_page: record.last_page.unwrap_or(record.page),
        };
        let key = PageKey::of_record(record);
        self.written.insert(key, place);
        Ok(())
    }

    fn keep(&mut self, line: &[u8]) -> io::Result<u64> {
        let kept = match &mut self.kept {
            Some(kept) => kept,
            none => none.insert(Kept {
                file: tempfile::tempfile()?,
                end: 0,
            }),
        };
        kept.file.write_all(line)?;
        let start = kept.end;
        kept.end += line.len() as u64;
        Ok(start)
    }

    /// The newest record that covers the page of `key`, which is not a copy. `output` is the output, if it can be read.
    pub(super) fn find(&self, key: &PageKey, output: Option<&File>) -> Result<Option<Record>> {
        let file = self.kept.as_ref().map(|kept| &kept.file).or(output);
        let Some(file) = file else {
            return Ok(None);
        };
        let before = key.with_page(0)..=*key;
        let written = self.written.range(before).next_back();
        let written = written.filter(|(_, place)| key.page <= place.last_page);
        let line = match (written, self.index.entry(key)) {
            (Some((_, place)), _) => {
                let mut line = vec![0; place.length as usize];
                read_at(file, &mut line, place.start).map(|()| line)
            }
            (None, Some(entry)) => entry.line(file),
            (None, None) => return Ok(None),
        };
        let line = line.context("cannot read a record again that is to be copied")?;
        let record = Record::from_line(line.trim_ascii_end());
        record
            .map(Some)
            .context("cannot copy a record that has values of other kinds")
    }
}
