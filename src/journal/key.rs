//! The key of a page.

use sha2::{Digest, Sha256};

use crate::{page::PageRef, record::Record};

/// The key of a page: the first half of its document's SHA-256, and the page number.
///
/// An unreadable document has no checksum; its one failed record is keyed by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageKey {
    pub(super) document: [u8; 16],
    pub(super) page: u32,
}

impl PageKey {
    /// The key of `page` in the document `doc_id`, or in the unreadable file at the path with these bytes.
    #[must_use]
    pub fn of_bytes(doc_id: Option<&str>, path: &[u8], page: u32) -> Self {
        let document = doc_id
            .and_then(half_of_checksum)
            .unwrap_or_else(|| half_of_hash(&[b"path\0", path]));
        Self { document, page }
    }

    /// The key of the record of a page that is read at its own path.
    #[must_use]
    pub fn of_page(page: &PageRef) -> Self {
        let document = &page.document;
        let path = document.path.as_os_str().as_encoded_bytes();
        Self::of_bytes(document.doc_id.as_deref(), path, page.number)
    }

    /// The key of a record of a page that was read at its own path.
    #[must_use]
    pub fn of_record(record: &Record) -> Self {
        Self::of_bytes(
            record.doc_id.as_deref(),
            record.path.as_bytes(),
            record.page,
        )
    }

    /// The key of `page` in the file at `path`, a copy of a document that was read at another path.
    #[must_use]
    pub fn of_copy(doc_id: Option<&str>, path: &[u8], page: u32) -> Self {
        let original = Self::of_bytes(doc_id, path, page).document;
        let document = half_of_hash(&[b"copy\0", &original, path]);
        Self { document, page }
    }

    /// The key of another page of the same document.
    #[must_use]
    pub fn with_page(self, page: u32) -> Self {
        Self { page, ..self }
    }
}

fn half_of_hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

fn half_of_checksum(hex: &str) -> Option<[u8; 16]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let mut half = [0; 16];
    let digits = hex.as_bytes().get(..32)?.chunks_exact(2);
    for (byte, digits) in half.iter_mut().zip(digits) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_parses_hex_in_either_case_else_uses_the_path() {
        let hex = "0123456789abcdef0123456789ABCDEF99";
        let key = PageKey::of_bytes(Some(hex), b"a", 1);
        assert_eq!(key.document[..8], 0x0123_4567_89ab_cdef_u64.to_be_bytes());
        let by_path = PageKey::of_bytes(None, b"a", 1);
        for other in ["", "+1", &hex[..31], &hex.replace('0', "x")] {
            assert_eq!(PageKey::of_bytes(Some(other), b"a", 1), by_path);
        }
        assert_ne!(PageKey::of_copy(Some(hex), b"b", 1), key);
    }
}
