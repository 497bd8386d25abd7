//! Run-length encoded BMP files: pixels that they skip have colour 0 of the palette, as in Windows and Pillow; the image
//! library leaves them black.

use std::io::Cursor;

use image::{DynamicImage, ImageResult, RgbImage, codecs::bmp::BmpDecoder};

/// Where the headers say what is needed here (`BITMAPFILEHEADER`, `BITMAPINFOHEADER`).
const INFO_HEADER: usize = 14;
const BIT_COUNT: usize = 28;
const COMPRESSION: usize = 30;
const COLORS_USED: usize = 46;

/// Whether a file is run-length encoded, with 8 or 4 bits per pixel.
pub(super) fn is_run_length_encoded(file: &[u8]) -> bool {
    palette(file).is_some()
}

/// Fills the pixels of `decoded` that the file skips.
///
/// # Errors
/// The file can't be decoded.
pub(super) fn fill_skipped(file: &[u8], decoded: DynamicImage) -> ImageResult<RgbImage> {
    let mut decoded = decoded.into_rgb8();
    let Some((start, length)) = palette(file) else {
        return Ok(decoded);
    };
    let Some(&[blue, green, red, ..]) = file.get(start..start + 4) else {
        return Ok(decoded);
    };
    // With a palette of nothing but white, what is black was skipped.
    let mut white = file.to_vec();
    let end = (start + 4 * length).min(white.len());
    white[start..end].fill(255);
    let drawn = DynamicImage::from_decoder(BmpDecoder::new(Cursor::new(white))?)?.into_rgb8();
    for (pixel, drawn) in decoded.pixels_mut().zip(drawn.pixels()) {
        if drawn.0 == [0; 3] {
            pixel.0 = [red, green, blue];
        }
    }
    Ok(decoded)
}

/// Where the palette of a run-length encoded file starts, and how many colours it has.
fn palette(file: &[u8]) -> Option<(usize, usize)> {
    let short = |at: usize| Some(u16::from_le_bytes(*file.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?));
    let header = long(INFO_HEADER)? as usize;
    let bits = match (long(COMPRESSION)?, short(BIT_COUNT)?) {
        (1, 8) => 8,
        (2, 4) => 4,
        _ => return None,
    };
    let all = 1 << bits;
    let used = match long(COLORS_USED)? as usize {
        0 => all,
        used => used.min(all),
    };
    (header >= 40).then_some((INFO_HEADER.checked_add(header)?, used))
}
