//! Reads a page that is part of the program.

use std::io::Write;

use anyhow::{Context, Result};

use crate::{
    engine::SingleReader,
    reader::{Reader, ReaderOptions},
    record::Record,
};

/// A page with a heading and some lines, with a text layer.
pub(super) const NOTE: &[u8] = include_bytes!("../../../examples/pages/note.pdf");
/// A word on it.
pub(super) const WORD: &str = "Meeting";

/// Reads the first page of `file` with `engine`.
pub(super) fn read(file: &[u8], engine: impl SingleReader + 'static) -> Result<Record> {
    let mut reader = Reader::with_engine(engine, &ReaderOptions::default());
    read_with(&mut reader, file)
}

/// The same, with a reader.
pub(super) fn read_with(reader: &mut Reader, file: &[u8]) -> Result<Record> {
    let mut kept =
        tempfile::NamedTempFile::new().context("cannot write to the temporary folder")?;
    kept.write_all(file)?;
    reader.read_page(kept.path(), 1)
}
