//! Compressions of bytes: each gives as much as can be had, up to what a strip or a tile holds.

use std::io::Read;

use flate2::read::ZlibDecoder;
use ruzstd::decoding::StreamingDecoder;
use weezl::{BitOrder, LzwStatus, decode::Decoder as LzwDecoder};

/// Largest window of a ZSTD stream, which is memory that a few bytes ask for.
const MAX_ZSTD_WINDOW: u64 = 1 << 27;

/// Repeated and copied bytes (TIFF 6.0, section 9).
pub(super) fn pack_bits(mut input: &[u8], length: usize) -> Vec<u8> {
    let mut output = Vec::with_capacity(length.min(input.len().saturating_mul(64)));
    while let Some((&head, rest)) = input.split_first() {
        if output.len() >= length {
            break;
        }
        input = rest;
        match head {
            0..128 => {
                let copied = &rest[..(usize::from(head) + 1).min(rest.len())];
                output.extend_from_slice(copied);
                input = &rest[copied.len()..];
            }
            128 => {}
            _ => {
                let Some((&value, rest)) = rest.split_first() else {
                    break;
                };
                output.resize(output.len() + 257 - usize::from(head), value);
                input = rest;
            }
        }
    }
    output.truncate(length);
    output
}

/// LZW as TIFF 6.0 has it, or as the programs before it wrote it: with the lowest bits first.
pub(super) fn lzw(input: &[u8], length: usize) -> Vec<u8> {
    // As libtiff's `LZWPreDecode` tells them apart.
    let is_old = matches!(input, [0, second, ..] if second & 1 == 1);
    let mut decoder = if is_old {
        LzwDecoder::new(BitOrder::Lsb, 8)
    } else {
        LzwDecoder::with_tiff_size_switch(BitOrder::Msb, 8)
    };
    let mut output = vec![0; length];
    let (mut read, mut written) = (0, 0);
    while written < length {
        let result = decoder.decode_bytes(&input[read..], &mut output[written..]);
        read += result.consumed_in;
        written += result.consumed_out;
        let is_stuck = result.consumed_in == 0 && result.consumed_out == 0;
        match result.status {
            Ok(LzwStatus::Ok) if !is_stuck => {}
            _ => break,
        }
    }
    output.truncate(written);
    output
}

/// Deflate with zlib's header.
pub(super) fn deflate(input: &[u8], length: usize) -> Vec<u8> {
    fill(ZlibDecoder::new(input), length)
}

/// Zstandard.
pub(super) fn zstd(input: &[u8], length: usize) -> Vec<u8> {
    StreamingDecoder::new_with_max_window_size(input, MAX_ZSTD_WINDOW)
        .map(|decoder| fill(decoder, length))
        .unwrap_or_default()
}

/// At most `length` bytes, and those before an error.
fn fill(mut from: impl Read, length: usize) -> Vec<u8> {
    let mut output = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match from.read(&mut output[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(read) => filled += read,
        }
    }
    output.truncate(filled);
    output
}

/// Two grey pixels in a byte, or runs and differences of them, as the ThunderScan scanner wrote them (libtiff's
/// `tif_thunder.c`). A line begins with black.
pub(super) fn thunderscan(input: &[u8], width: usize, rows: usize) -> Vec<u8> {
    const TWO_BIT: [u8; 4] = [0, 1, 0, 15];
    const THREE_BIT: [u8; 8] = [0, 1, 2, 3, 0, 13, 14, 15];
    let row_bytes = width.div_ceil(2);
    let mut output = Vec::new();
    let mut input = input.iter();
    for _ in 0..rows {
        let (mut row, mut last) = (Vec::with_capacity(width), 0_u8);
        while row.len() < width {
            let Some(&code) = input.next() else {
                return output;
            };
            match code >> 6 {
                0 => row.resize(row.len() + usize::from(code & 63), last),
                1 => {
                    for shift in [4, 2, 0] {
                        let delta = code >> shift & 3;
                        if delta != 2 {
                            last = (last + TWO_BIT[usize::from(delta)]) & 15;
                            row.push(last);
                        }
                    }
                }
                2 => {
                    for shift in [3, 0] {
                        let delta = code >> shift & 7;
                        if delta != 4 {
                            last = (last + THREE_BIT[usize::from(delta)]) & 15;
                            row.push(last);
                        }
                    }
                }
                _ => {
                    last = code & 15;
                    row.push(last);
                }
            }
        }
        row.resize(width.next_multiple_of(2), 0);
        let packed = row.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]);
        output.extend(packed.take(row_bytes));
    }
    output
}

/// Four pixels in a byte on white, as NeXT computers wrote them (libtiff's `tif_next.c`).
pub(super) fn next(mut input: &[u8], width: usize, rows: usize) -> Vec<u8> {
    const LITERAL_ROW: u8 = 0;
    const LITERAL_SPAN: u8 = 0x40;
    let row_bytes = width.div_ceil(4);
    let mut output = Vec::new();
    for _ in 0..rows {
        let Some((&code, rest)) = input.split_first() else {
            break;
        };
        let mut row = vec![0xFF; row_bytes];
        input = rest;
        match code {
            LITERAL_ROW => {
                if rest.len() < row_bytes {
                    break;
                }
                row.copy_from_slice(&rest[..row_bytes]);
                input = &rest[row_bytes..];
            }
            LITERAL_SPAN => {
                let Some((&[a, b, c, d], rest)) = rest.split_first_chunk() else {
                    break;
                };
                let start = usize::from(u16::from_be_bytes([a, b]));
                let length = usize::from(u16::from_be_bytes([c, d]));
                let (Some(from), Some(to)) =
                    (rest.get(..length), row.get_mut(start..start + length))
                else {
                    break;
                };
                to.copy_from_slice(from);
                input = &rest[length..];
            }
            mut run => {
                let mut at = 0;
                loop {
                    let (value, count) = (run >> 6, usize::from(run & 0x3F));
                    for pixel in at..(at + count).min(width) {
                        let shift = 6 - 2 * (pixel % 4);
                        row[pixel / 4] &= !(3 << shift);
                        row[pixel / 4] |= value << shift;
                    }
                    at += count;
                    if at >= width {
                        break;
                    }
                    let Some((&next, rest)) = input.split_first() else {
                        return output;
                    };
                    (run, input) = (next, rest);
                }
            }
        }
        output.extend(row);
    }
    output
}
