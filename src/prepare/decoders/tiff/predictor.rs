//! Undoes predictors: samples as differences from their left neighbours (TIFF 6.0, section 14, and Adobe's Technical
//! Note 3 for fractions).

use super::layout::{Layout, Sample};

/// Values of `Predictor`.
const HORIZONTAL: u16 = 2;
const FLOATING_POINT: u16 = 3;

/// Undoes the predictor of a strip or a tile. Says whether its samples then begin with their highest byte.
///
/// # Errors
/// The predictor is unknown, or does not go with such samples.
pub(super) fn undo(bytes: &mut [u8], layout: &Layout) -> Result<bool, String> {
    let bits = layout.sample.bits;
    let stride = layout.interleaved() as usize;
    let mut row_bytes = layout.row_bytes() as usize;
    if layout.is_subsampled() {
        // As libtiff does: a row is what a row of pixels takes on average.
        let (across, down) = layout.subsampling;
        let unit = (across * down + 2) as usize;
        row_bytes = layout.chunk.0.div_ceil(across) as usize * unit / down as usize;
    }
    let row_bytes = row_bytes.max(1);
    match (layout.predictor, bits) {
        (HORIZONTAL, 8 | 16 | 24 | 32 | 64) => {
            let size = usize::from(bits / 8);
            for row in bytes.chunks_mut(row_bytes) {
                add_left(row, size, stride, layout.big_endian);
            }
            Ok(layout.big_endian)
        }
        (FLOATING_POINT, 16 | 24 | 32 | 64) => {
            let size = usize::from(bits / 8);
            let mut joined = vec![0; row_bytes];
            for row in bytes.chunks_exact_mut(row_bytes) {
                add_left(row, 1, stride, true);
                join(row, &mut joined, size);
            }
            Ok(true)
        }
        (0 | 1, _) => Ok(layout.big_endian),
        (predictor, _) => {
            let Sample { bits, .. } = layout.sample;
            Err(format!(
                "a TIFF with predictor {predictor} and {bits} bits per sample"
            ))
        }
    }
}

/// Adds to each number of `size` bytes the one of the pixel before it.
fn add_left(row: &mut [u8], size: usize, stride: usize, big_endian: bool) {
    let back = size * stride;
    if size == 1 {
        for at in back..row.len() {
            row[at] = row[at].wrapping_add(row[at - back]);
        }
        return;
    }
    let usable = row.len() / size * size;
    for start in (back..usable).step_by(size) {
        let mut carry = 0;
        for place in 0..size {
            let at = start + if big_endian { size - 1 - place } else { place };
            let sum = u16::from(row[at]) + u16::from(row[at - back]) + carry;
            row[at] = sum as u8;
            carry = sum >> 8;
        }
    }
}

/// From all highest bytes, then all next ones, to numbers.
fn join(row: &mut [u8], joined: &mut [u8], size: usize) {
    let count = row.len() / size;
    for (number, bytes) in joined.chunks_exact_mut(size).enumerate() {
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = row[place * count + number];
        }
    }
    let used = count * size;
    row[..used].copy_from_slice(&joined[..used]);
}
