//! What the program and its worker processes say to each other: frames of a JSON header and raw bytes.
//!
//! A frame is the header's length (u32) and the number of raw bytes (u64), both little-endian, then the header, then
//! the bytes. The raw bytes of a request are the document's path, which need not be UTF-8; those of a page are its
//! pixels.

use std::{
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Raster;
use crate::{
    error::{PageError, Stage},
    page::{Format, Needs},
};

/// What is asked of a worker process. Every request names its document, so that any worker can answer it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Request {
    /// Differs from document to document; the worker keeps the latest one open.
    pub document: u64,
    /// What the document's first bytes show.
    pub format: Format,
    /// The question.
    pub wanted: Wanted,
}

/// A question about a document.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// How many pages it has.
    PageCount,
    /// One of its pages.
    Page {
        /// 1-based.
        number: u32,
        /// How it becomes pixels.
        raster: Raster,
        /// What the engine looks at.
        needs: Needs,
    },
}

impl Wanted {
    /// Where in the data flow an error in the answer belongs.
    pub fn stage(self) -> Stage {
        match self {
            Self::PageCount => Stage::Open,
            Self::Page { .. } => Stage::Prepare,
        }
    }
}

/// What a worker process answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It has started and can work.
    Ready,
    /// It can never work, for this reason.
    Broken(String),
    /// [`Wanted::PageCount`].
    PageCount(u32),
    /// [`Wanted::Page`]; the frame's bytes are the pixels, u8 RGB, row by row.
    Page(PageHeader),
    /// The document or the page has this error.
    Failed(PageError),
}

/// All of a page but its pixels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PageHeader {
    /// (width, height) of the pixels.
    pub size: Option<(u32, u32)>,
    /// (width, height) before the page was brought to the size that the model sees.
    pub original: Option<(u32, u32)>,
    /// Whether the pixels show nothing.
    pub blank: bool,
    /// The text layer.
    pub text: Option<String>,
}

/// Writes one frame.
///
/// # Errors
/// The other side is gone.
pub fn write<T: Serialize>(to: &mut impl Write, header: &T, bytes: &[u8]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let length = u32::try_from(header.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(&header)?;
    to.write_all(bytes)?;
    to.flush()
}

/// Reads one frame.
///
/// # Errors
/// There is none: the other side has ended or is confused.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<(T, Vec<u8>)> {
    let (mut header_length, mut bytes_length) = ([0; 4], [0; 8]);
    from.read_exact(&mut header_length)?;
    from.read_exact(&mut bytes_length)?;
    let header = exactly(from, u32::from_le_bytes(header_length).into())?;
    let bytes = exactly(from, u64::from_le_bytes(bytes_length))?;
    Ok((serde_json::from_slice(&header)?, bytes))
}

/// Memory grows with what arrives, not with what a confused sender announces.
fn exactly(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Pixels come in one piece; beyond that the announced length has to prove itself.
    bytes.reserve_exact(length.min(1 << 24) as usize);
    from.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// A path as bytes.
pub fn path_to_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// A path from what [`path_to_bytes`] gave.
pub fn path_from_bytes(bytes: Vec<u8>) -> PathBuf {
    #[cfg(unix)]
    {
        use std::{ffi::OsString, os::unix::ffi::OsStringExt};
        OsString::from_vec(bytes).into()
    }
    #[cfg(not(unix))]
    {
        String::from_utf8_lossy(&bytes).into_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_arrives_as_it_was_sent_and_half_a_frame_does_not() {
        let header = Reply::Page(PageHeader {
            size: Some((2, 1)),
            text: Some("ä".to_owned()),
            ..PageHeader::default()
        });
        let mut sent = Vec::new();
        write(&mut sent, &header, b"pixels").unwrap();
        let arrived: (Reply, Vec<u8>) = read(&mut sent.as_slice()).unwrap();
        assert_eq!(arrived, (header, b"pixels".to_vec()));
        for length in 0..sent.len() {
            assert!(read::<Reply>(&mut &sent[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_confused_sender_is_an_error_and_not_a_memory_hog() {
        let error = read::<Reply>(&mut [0xFF_u8; 64].as_slice()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
