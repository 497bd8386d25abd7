//! Page images as pixels: every format to upright 8-bit RGB on white, within limits.

use std::{
    fs::{self, File},
    io::{self, BufReader, Cursor},
    path::Path,
};

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage,
    codecs::jpeg::JpegDecoder, metadata::Orientation,
};
use zune_jpeg::zune_core::{bytestream::ZCursor, options::DecoderOptions};

use super::{
    pixels::{MAX_BYTES, blend, check_pixels, too_large, too_much_memory},
    tiff,
};
use crate::{
    error::{ErrorKind, PageError, Stage},
    formats::DecoderKind,
    page::{Format, PixelBudget},
    prepare::{
        decoder::Rendered,
        failure::{not_opened, unreadable},
        resize::{resize, smart_resize},
    },
};

/// Number of pages in an image file: 1, but for TIFF.
///
/// # Errors
///
/// [`ErrorKind::Unreadable`] for a TIFF without a first page.
pub fn page_count(path: &Path, format: Format) -> Result<u32, PageError> {
    match format.info().decoder {
        DecoderKind::Tiff => tiff::page_count(path),
        _ => Ok(1),
    }
}

/// Page `number` (1-based) of an image file, at the size at which the model sees it.
///
/// # Errors
///
/// [`ErrorKind::TooLarge`] for an image that would take too much memory, [`ErrorKind::Unreadable`] for a damaged one,
/// [`ErrorKind::Unsupported`] for an unknown variant of its format, [`ErrorKind::Render`] as in [`smart_resize`].
pub fn page(
    path: &Path,
    format: Format,
    number: u32,
    budget: &PixelBudget,
) -> Result<Rendered, PageError> {
    let image = match format.info().decoder {
        DecoderKind::Tiff => tiff::page(path, number)?,
        DecoderKind::Jpeg => decode_jpeg(path)?,
        DecoderKind::Image(format) => decode(path, format)?,
        DecoderKind::Pdf => return Err(unreadable(Stage::Prepare, "a PDF is not an image")),
    };
    let original = image.dimensions();
    let (height, width) = smart_resize(original.1, original.0, budget)?;
    let image = resize(image, width, height)?;
    Ok(Rendered { image, original })
}

fn decode(path: &Path, format: ImageFormat) -> Result<RgbImage, PageError> {
    let file = File::open(path).map_err(|error| not_opened(&error))?;
    let mut reader = ImageReader::with_format(BufReader::new(file), format);
    reader.limits(limits());
    let decoder = reader.into_decoder().map_err(not_decoded)?;
    check_size(&decoder)?;
    finish(decoder)
}

fn decode_jpeg(path: &Path) -> Result<RgbImage, PageError> {
    let bytes = fs::read(path).map_err(|error| not_opened(&error))?;
    let decoder = JpegDecoder::new(Cursor::new(&bytes)).map_err(not_decoded)?;
    check_size(&decoder)?;
    if !is_whole_jpeg(&bytes) {
        return Err(unreadable(
            Stage::Prepare,
            "the image is cut off or damaged",
        ));
    }
    finish(decoder)
}

/// Whether a JPEG goes on to its end, where the decoder would fill up a shorter one with grey.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    let padding = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    if bytes[..bytes.len() - padding].ends_with(&[0xFF, 0xD9]) {
        return true;
    }
    // Without its end marker, or with something after it, only decoding tells.
    let strict = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), strict)
        .decode()
        .is_ok()
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

fn check_size(decoder: &impl ImageDecoder) -> Result<(), PageError> {
    let (width, height) = decoder.dimensions();
    check_pixels(width, height)?;
    if decoder.total_bytes() > MAX_BYTES {
        Err(too_large(width, height))
    } else {
        Ok(())
    }
}

fn finish(mut decoder: impl ImageDecoder) -> Result<RgbImage, PageError> {
    // An image whose metadata is damaged is read as it lies.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(not_decoded)?;
    image.apply_orientation(orientation);
    Ok(over_white(image))
}

fn over_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    let mut white = RgbImage::new(image.width(), image.height());
    for (pixel, over) in white.pixels_mut().zip(image.pixels()) {
        let [r, g, b, alpha] = over.0;
        *pixel = Rgb([r, g, b].map(|value| blend(value, alpha)));
    }
    white
}

fn not_decoded(error: ImageError) -> PageError {
    match error {
        ImageError::Limits(_) => too_much_memory(),
        ImageError::Unsupported(reason) => {
            let message = format!("{reason}; save the image as an ordinary PNG and read that");
            PageError::new(ErrorKind::Unsupported, Stage::Prepare, message)
        }
        ImageError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => PageError {
            stage: Stage::Prepare,
            ..not_opened(&error)
        },
        error => {
            let message = format!("the image is cut off or damaged: {error}");
            unreadable(Stage::Prepare, message)
        }
    }
}
