//! What decoders of images have in common: limits, and colours over white.

use crate::error::{ErrorKind, PageError, Stage};

/// Images with more pixels than this are not decoded: a 600 dpi scan of A2 has 140 million.
const MAX_PIXELS: u64 = 200_000_000;
/// Nor are those that take more memory than this, in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 30;

/// Refuses what would not be decoded safely, before memory is taken for it.
pub(super) fn check_pixels(width: u32, height: u32) -> Result<(), PageError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        Err(too_large(width, height))
    } else {
        Ok(())
    }
}

pub(super) fn too_large(width: u32, height: u32) -> PageError {
    let message = format!(
        "the image is {width} × {height} pixels; at most {} million are decoded, so reduce it or \
         cut it into pieces",
        MAX_PIXELS / 1_000_000
    );
    PageError::new(ErrorKind::TooLarge, Stage::Prepare, message)
}

pub(super) fn too_much_memory() -> PageError {
    let message = "the image would take too much memory; reduce it or cut it into pieces";
    PageError::new(ErrorKind::TooLarge, Stage::Prepare, message)
}

/// A variant of a format that nothing here decodes.
pub(super) fn unsupported(what: &str) -> PageError {
    let message =
        format!("{what} is not known here; save the image as an ordinary PNG and read that");
    PageError::new(ErrorKind::Unsupported, Stage::Prepare, message)
}

/// A value with this opacity over white.
pub(super) fn blend(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}
