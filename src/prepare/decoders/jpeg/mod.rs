//! JPEG files: which kind they are, and whether all of them is there.

mod frame;
mod huffman;
mod markers;
mod picture;
mod planes;
mod scan;

use std::{fs, io::Cursor, path::Path};

use image::{DynamicImage, GrayImage, RgbImage, codecs::jpeg::JpegDecoder};
use zune_jpeg::zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

use self::markers::undecodable;
pub(super) use self::{
    frame::{Color, NoPicture},
    markers::{FrameHeader, Segments},
    picture::{Picture, decode as decode_whatever_is_there},
};
use super::{
    colors,
    pixels::{Decoded, MIN_PART, check_pixels, orientation_by, too_much_memory, unsupported},
};
use crate::{
    error::{PageError, Stage},
    prepare::failure::{not_opened, unreadable},
};

/// Decodes a file.
///
/// # Errors
/// As [`super::image::ImageFile::page`].
pub(super) fn decode(path: &Path) -> Result<Decoded, PageError> {
    decode_bytes(&fs::read(path).map_err(|error| not_opened(&error))?)
}

/// The same for the content of a file.
///
/// # Errors
/// As [`decode`].
pub(super) fn decode_bytes(bytes: &[u8]) -> Result<Decoded, PageError> {
    let header = header(bytes).ok_or_else(cut_off)?;
    if let Some(kind) = undecodable(&header) {
        return Err(unsupported(kind));
    }
    check_pixels(header.width.into(), header.height.into())?;
    let image = match decode_fast(bytes, &header) {
        Some(image) => Decoded::whole(image),
        None => decode_slowly(bytes)?,
    };
    let [exif, xmp] = markers::metadata(bytes);
    Ok(image.turned(orientation_by(exif, xmp)))
}

fn cut_off() -> PageError {
    unreadable(Stage::Prepare, "the image is cut off or damaged")
}

/// The first frame header.
pub(super) fn header(bytes: &[u8]) -> Option<FrameHeader> {
    let mut segments = Segments::new(bytes, 0);
    segments.find_map(FrameHeader::read)
}

/// Decodes what is whole, without a flaw, and of a kind that the image library's decoder reads right.
fn decode_fast(bytes: &[u8], header: &FrameHeader) -> Option<DynamicImage> {
    let (width, height) = (header.width.into(), header.height.into());
    let samples = |output| strictly(bytes, header, |_| Some(output));
    match header.components.len() {
        1 => GrayImage::from_raw(width, height, samples(ColorSpace::Luma)?).map(Into::into),
        3 => RgbImage::from_raw(width, height, samples(ColorSpace::RGB)?).map(Into::into),
        _ => {
            strictly(bytes, header, Some)?;
            let decoder = JpegDecoder::new(Cursor::new(bytes)).ok()?;
            DynamicImage::from_decoder(decoder).ok()
        }
    }
}

/// The samples of what is whole, and without a flaw, in the colours that `output` makes of the file's.
pub(super) fn strictly(
    bytes: &[u8],
    header: &FrameHeader,
    output: impl FnOnce(ColorSpace) -> Option<ColorSpace>,
) -> Option<Vec<u8>> {
    let scan = Segments::new(bytes, 0).find(|segment| segment.marker == markers::marker::SOS)?;
    let in_scan = usize::from(*scan.content.first()?);
    // Of a picture that comes in one scan for each component it makes stripes, and of one that comes in several ways of
    // precision it does not say whether all are there.
    if header.precision != 8 || header.is_progressive() || in_scan != header.components.len() {
        return None;
    }
    // Before an end marker it makes up for what is missing, but not where there is none.
    let bytes = without_end(bytes);
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    let output = output(decoder.input_colorspace()?)?;
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    decoder.decode().ok()
}

/// What comes before a file's end marker, if there is one, with nothing but padding after it.
fn without_end(bytes: &[u8]) -> &[u8] {
    let padding = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    let body = bytes[..bytes.len() - padding].strip_suffix(&[0xFF, markers::marker::EOI]);
    body.unwrap_or(bytes)
}

/// Decodes what is there.
fn decode_slowly(bytes: &[u8]) -> Result<Decoded, PageError> {
    let picture = decode_whatever_is_there(bytes).map_err(|error| match error {
        NoPicture::Damaged => cut_off(),
        NoPicture::TooLarge => too_much_memory(),
        NoPicture::Unsupported(kind) => unsupported(kind),
    })?;
    if picture.part < MIN_PART {
        return Err(cut_off());
    }
    let rgb = to_rgb(&picture).ok_or_else(|| unsupported("a JPEG with such colours"))?;
    let image = RgbImage::from_raw(picture.width, picture.height, rgb).ok_or_else(cut_off)?;
    Ok(Decoded::whole(image.into()).damaged_if(!picture.is_whole))
}

/// A picture's pixels as RGB, white where they are missing.
fn to_rgb(picture: &Picture) -> Option<Vec<u8>> {
    let pixels = picture.samples.chunks_exact(picture.components);
    let ink = |inverted: [u8; 4]| {
        let [red, green, blue, black] = inverted;
        [red, green, blue].map(|value| colors::multiply(value, black))
    };
    let mut rgb: Vec<u8> = match picture.color {
        Color::Grey => pixels.flat_map(|pixel| [pixel[0]; 3]).collect(),
        Color::Rgb => pixels.flatten().copied().collect(),
        Color::YCbCr => pixels
            .flat_map(|pixel| colors::ycbcr(pixel[0], pixel[1], pixel[2]))
            .collect(),
        Color::Cmyk { is_inverted } => pixels
            .flat_map(|pixel| {
                let pixel = [pixel[0], pixel[1], pixel[2], pixel[3]];
                ink(if is_inverted {
                    pixel
                } else {
                    pixel.map(|value| 255 - value)
                })
            })
            .collect(),
        Color::Ycck => pixels
            .flat_map(|pixel| {
                let [red, green, blue] = colors::ycbcr(pixel[0], pixel[1], pixel[2]);
                ink([red, green, blue, pixel[3]])
            })
            .collect(),
        Color::Other => return None,
    };
    if picture.part < 1.0 {
        let width = picture.width as usize;
        for (index, pixel) in rgb.chunks_exact_mut(3).enumerate() {
            if !picture.seen.shows(index % width, index / width) {
                pixel.fill(255);
            }
        }
    }
    Some(rgb)
}
