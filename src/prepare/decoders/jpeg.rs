//! JPEG files: which kind they are, and whether all of them is there.

use std::{fs, io::Cursor, path::Path};

use image::{
    ColorType, DynamicImage, GrayImage, ImageDecoder, RgbImage, codecs::jpeg::JpegDecoder,
};
use zune_jpeg::zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

use super::pixels::{check_size, finish, not_decoded, unsupported, upright};
use crate::{
    error::{PageError, Stage},
    prepare::failure::{not_opened, unreadable},
};

/// The end marker.
const END: [u8; 2] = [0xFF, 0xD9];

/// Decodes a file.
///
/// # Errors
/// As [`super::image::ImageFile::page`].
pub(super) fn decode(path: &Path) -> Result<RgbImage, PageError> {
    let bytes = fs::read(path).map_err(|error| not_opened(&error))?;
    let is_progressive = match frame(&bytes) {
        Frame::Undecodable(kind) => return Err(unsupported(kind)),
        Frame::Progressive => true,
        Frame::Other => false,
    };
    let decoder = JpegDecoder::new(Cursor::new(&bytes)).map_err(not_decoded)?;
    check_size(&decoder)?;
    let (color, size) = (decoder.color_type(), decoder.dimensions());
    let image = match without_end(&bytes) {
        // The decoder makes up for what is missing before an end marker, but not where there is none.
        Some(body) if !is_progressive => decode_strictly(body, color, size),
        Some(_) => None,
        None => Some(decode_strictly(&bytes, color, size).ok_or_else(cut_off)?),
    };
    if let Some(image) = image {
        return Ok(upright(decoder, image));
    }
    let image = finish(decoder)?;
    if without_end(&bytes).is_some_and(|body| is_cut_off(body, &image)) {
        return Err(cut_off());
    }
    Ok(image)
}

fn cut_off() -> PageError {
    unreadable(Stage::Prepare, "the image is cut off or damaged")
}

/// Decodes what is whole, and without a flaw.
fn decode_strictly(
    bytes: &[u8],
    color: ColorType,
    (width, height): (u32, u32),
) -> Option<DynamicImage> {
    let output = match color {
        ColorType::L8 => ColorSpace::Luma,
        ColorType::Rgb8 => ColorSpace::RGB,
        _ => return None,
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(output);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let pixels = decoder.decode().ok()?;
    match color {
        ColorType::L8 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    }
}

/// Whether a file whose bytes before the end marker are `body`, and which decodes to `image`, should have gone on: then
/// something else comes out where something else follows.
fn is_cut_off(body: &[u8], image: &RgbImage) -> bool {
    let noise = (0..256_u32).map(|index| (index * 97 % 251) as u8);
    let longer: Vec<u8> = body.iter().copied().chain(noise).chain(END).collect();
    let decoder = JpegDecoder::new(Cursor::new(longer)).map_err(not_decoded);
    decoder.and_then(finish).is_ok_and(|other| other != *image)
}

/// What comes before a file's end marker, if there is one, with nothing but padding after it.
fn without_end(bytes: &[u8]) -> Option<&[u8]> {
    let padding = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    bytes[..bytes.len() - padding].strip_suffix(&END)
}

/// What a frame header says of its file.
enum Frame {
    /// Nothing here decodes it, since it is of this kind.
    Undecodable(&'static str),
    Progressive,
    Other,
}

/// Reads the frame header (ITU-T T.81, table B.1; JPEG-LS is T.87).
fn frame(bytes: &[u8]) -> Frame {
    let (marker, precision) = frame_marker(bytes).unwrap_or_default();
    Frame::Undecodable(match marker {
        0xC0..=0xC2 if precision == 12 => "a JPEG with 12 bits per sample",
        0xC2 => return Frame::Progressive,
        0xC3 => "a lossless JPEG",
        0xC5..=0xC7 => "a hierarchical JPEG",
        0xC9 | 0xCA => "a JPEG with arithmetic coding",
        0xCB => "a lossless JPEG with arithmetic coding",
        0xCD..=0xCF => "a hierarchical JPEG with arithmetic coding",
        0xF7 => "a JPEG-LS",
        _ => return Frame::Other,
    })
}

/// The marker of the first frame, and its bits per sample.
fn frame_marker(bytes: &[u8]) -> Option<(u8, u8)> {
    let mut rest = bytes.strip_prefix(&[0xFF, 0xD8])?;
    loop {
        let (marker, after) = next_marker(rest)?;
        let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
        // Tables and a reserved number lie among the frames.
        if matches!(marker, 0xC0..=0xCF | 0xF7) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
            return Some((marker, *after.get(2)?));
        }
        if marker == 0xDA {
            return None;
        }
        rest = after.get(length..)?;
    }
}

/// The next marker that has a length, and what follows it.
fn next_marker(mut bytes: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let at = bytes.iter().position(|&byte| byte == 0xFF)?;
        let after = bytes[at..].iter().position(|&byte| byte != 0xFF)? + at;
        let (marker, rest) = (bytes[after], &bytes[after + 1..]);
        match marker {
            0 | 0x01 | 0xD0..=0xD9 => bytes = rest,
            _ => return Some((marker, rest)),
        }
    }
}
