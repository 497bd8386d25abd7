//! Frames of a JSON header and raw bytes: the header's length (u32) and the number of raw bytes (u64), both little-endian,
//! then the header, then the bytes.

use std::io::{self, ErrorKind, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// A header has at most so many bytes: it holds numbers, and at most one error's message.
const MAX_HEADER: u32 = 64 << 10;

/// What the other side should not have sent.
pub fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason.into())
}

/// Writes one frame; its raw bytes come in pieces.
///
/// # Errors
/// The other side is gone.
pub fn write<T: Serialize>(to: &mut impl Write, header: &T, bytes: &[&[u8]]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let length = u32::try_from(header.len()).map_err(io::Error::other)?;
    let bytes_length: usize = bytes.iter().map(|piece| piece.len()).sum();
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&(bytes_length as u64).to_le_bytes())?;
    to.write_all(&header)?;
    for piece in bytes {
        to.write_all(piece)?;
    }
    to.flush()
}

/// Reads one frame of at most `max_bytes` raw bytes.
///
/// # Errors
/// [`ErrorKind::InvalidData`] if the other side sends what it should not; others if it has ended.
pub fn read<T: DeserializeOwned>(from: &mut impl Read, max_bytes: u64) -> io::Result<(T, Vec<u8>)> {
    let (header, length) = read_header(from, || max_bytes)?;
    Ok((header, read_bytes(from, length)?))
}

/// Reads a frame's header; says also how many raw bytes follow, at most `max_bytes`, which is asked when they come.
///
/// # Errors
/// As [`read`].
pub fn read_header<T: DeserializeOwned>(
    from: &mut impl Read,
    max_bytes: impl FnOnce() -> u64,
) -> io::Result<(T, u64)> {
    let (mut header_length, mut bytes_length) = ([0; 4], [0; 8]);
    from.read_exact(&mut header_length)?;
    from.read_exact(&mut bytes_length)?;
    let (header_length, bytes_length) = (
        u32::from_le_bytes(header_length),
        u64::from_le_bytes(bytes_length),
    );
    if header_length > MAX_HEADER || bytes_length > max_bytes() {
        return Err(invalid(format!(
            "a frame of {header_length} and {bytes_length} bytes"
        )));
    }
    let header = read_bytes(from, header_length.into())?;
    let header = serde_json::from_slice(&header).map_err(|error| invalid(error.to_string()))?;
    Ok((header, bytes_length))
}

/// Reads so many raw bytes. Memory grows with what arrives, not with what is announced.
///
/// # Errors
/// The other side has ended.
pub fn read_bytes(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Pixels come in one piece; beyond that the announced length has to prove itself.
    bytes.reserve_exact(length.min(1 << 24) as usize);
    from.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oversized_frame_is_refused() {
        let announced = |header: u32, bytes: u64| {
            let lengths = [&header.to_le_bytes()[..], &bytes.to_le_bytes()].concat();
            // Whoever reads on never comes to an end.
            let mut endless = lengths.as_slice().chain(io::repeat(b' '));
            let read = read::<u8>(&mut endless, 1000);
            read.unwrap_err().kind()
        };
        for (header, bytes) in [
            (u32::MAX, 0),
            (MAX_HEADER + 1, 0),
            (10, 1001),
            (10, u64::MAX),
            (0, 0),
        ] {
            assert_eq!(announced(header, bytes), ErrorKind::InvalidData);
        }
        let mut sent = Vec::new();
        write(&mut sent, &7, &[b"raw ", b"bytes"]).unwrap();
        let read: (u8, Vec<u8>) = read(&mut sent.as_slice(), 9).unwrap();
        assert_eq!(read, (7, b"raw bytes".to_vec()));
    }
}
