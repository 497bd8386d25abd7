//! What few PDFs have, and PDFium does not tell of: found by its name in the file.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use flate2::read::ZlibDecoder;
use memchr::memmem;

/// The file is looked through in pieces of so many bytes,
const PIECE: usize = 4 << 20;
/// which overlap by so many, more than a stream of objects has.
const OVERLAP: usize = 1 << 20;
/// Bytes of a stream of objects that are looked at, decompressed.
const MAX_STREAM: u64 = 16 << 20;
/// A stream's dictionary is no longer than this.
const MAX_DICTIONARY: usize = 512;

/// What a file names. One that does may still not have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rare {
    /// Pages whose unit is not a point.
    pub(super) user_unit: bool,
    /// Layers that can be switched off.
    pub(super) layers: bool,
    /// A collection of files with a cover sheet.
    pub(super) portfolio: bool,
}

impl Rare {
    /// Looks through a file, also in its compressed objects, unless they are encrypted.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut found = Self::default();
        let mut piece = Vec::new();
        loop {
            let before = piece.len();
            Read::by_ref(&mut file)
                .take((PIECE - before) as u64)
                .read_to_end(&mut piece)?;
            let is_last = piece.len() < PIECE;
            found.look_in(&piece);
            for at in memmem::find_iter(&piece, b"/ObjStm") {
                found.look_in(&inflate(&piece[at..]));
            }
            if is_last {
                return Ok(found);
            }
            piece.drain(..PIECE - OVERLAP);
        }
    }

    fn look_in(&mut self, bytes: &[u8]) {
        self.user_unit |= names(bytes, b"/UserUnit");
        self.layers |= names(bytes, b"/OCProperties");
        self.portfolio |= names(bytes, b"/Collection");
    }
}

/// Whether a name occurs that is not the beginning of a longer one.
fn names(bytes: &[u8], name: &[u8]) -> bool {
    memmem::find_iter(bytes, name).any(|at| {
        let after = bytes.get(at + name.len());
        after.is_some_and(|byte| !byte.is_ascii_alphanumeric())
    })
}

/// The beginning of the stream whose dictionary is here, decompressed as far as that goes.
fn inflate(from: &[u8]) -> Vec<u8> {
    let mut inflated = Vec::new();
    let head = &from[..from.len().min(MAX_DICTIONARY)];
    if let Some(at) = memmem::find(head, b"stream") {
        let stream = &from[at + b"stream".len()..];
        let line_end = stream
            .iter()
            .take_while(|byte| b"\r\n".contains(byte))
            .count();
        // What can be read of a damaged stream is enough.
        let _ = ZlibDecoder::new(&stream[line_end..])
            .take(MAX_STREAM)
            .read_to_end(&mut inflated);
    }
    inflated
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::ZlibEncoder};

    use super::*;

    fn rare(bytes: &[u8]) -> Rare {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Rare::of(file.path()).unwrap()
    }

    #[test]
    fn names_are_found_anywhere_in_a_file_and_in_compressed_objects() {
        assert_eq!(rare(b"%PDF /UserUnits /CollectionItem"), Rare::default());
        assert!(rare(b"/Collection<<>>").portfolio);
        for before in [0, 10, PIECE - 5, 2 * PIECE] {
            let mut bytes = vec![b' '; before];
            bytes.extend(b"/OCProperties 7 0 R");
            assert!(rare(&bytes).layers, "{before}");
            bytes.truncate(before);
            let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(b"<< /UserUnit 2.5 >>").unwrap();
            bytes.extend(b"<< /Type /ObjStm /N 1 >> stream\r\n");
            bytes.extend(packed.finish().unwrap());
            assert!(rare(&bytes).user_unit, "{before}");
        }
    }
}
