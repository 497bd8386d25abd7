//! TIFF files as pages: every image file directory is one, in any of the colour models of paper scans.

use std::{
    fs::{self, File},
    io::{BufReader, Cursor, Read, Seek},
    path::Path,
};

use image::{DynamicImage, RgbImage, metadata::Orientation};
use tiff::{
    ColorType, TiffError,
    decoder::{Decoder, DecodingResult, Limits},
    tags::{ByteOrder, Tag},
};

use super::pixels::{MAX_BYTES, blend, check_pixels, too_large, too_much_memory, unsupported};
use crate::{
    error::{PageError, Stage},
    prepare::failure::{not_opened, unreadable},
};

/// Values of the tags that the colours depend on (TIFF 6.0, `PhotometricInterpretation` and `ExtraSamples`).
const PHOTOMETRIC_BLACK_IS_ZERO: u16 = 1;
const PHOTOMETRIC_PALETTE: u16 = 3;
const PREMULTIPLIED_ALPHA: u16 = 1;
const ALPHA: u16 = 2;

/// Number of pages in a TIFF file. One that is damaged beyond a page counts that page too, so that it is not passed over.
///
/// # Errors
///
/// [`ErrorKind::Unreadable`](crate::error::ErrorKind::Unreadable) if there is no first page.
pub fn page_count(path: &Path) -> Result<u32, PageError> {
    let mut decoder = open(path).map_err(|error| PageError {
        stage: Stage::Open,
        ..error
    })?;
    let mut count = 1;
    while decoder.more_images() {
        count += 1;
        if decoder.next_image().is_err() {
            break;
        }
    }
    Ok(count)
}

/// Page `number` (1-based), upright, as 8-bit RGB on white.
///
/// # Errors
///
/// As [`super::image::page`].
pub fn page(path: &Path, number: u32) -> Result<RgbImage, PageError> {
    let mut decoder = open(path)?;
    let index = number as usize - 1;
    decoder.seek_to_image(index).map_err(not_decoded)?;
    let (width, height) = decoder.dimensions().map_err(not_decoded)?;
    check_pixels(width, height)?;
    let photometric = tag(&mut decoder, Tag::PhotometricInterpretation)?;
    let rgb = if photometric == Some(PHOTOMETRIC_PALETTE) {
        palette_colors(path, index, &mut decoder)?
    } else {
        colors(&mut decoder)?
    };
    let image = RgbImage::from_raw(width, height, rgb)
        .ok_or_else(|| unreadable(Stage::Prepare, "the image is cut off or damaged"))?;
    let orientation = tag(&mut decoder, Tag::Orientation)?
        .and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?))
        .unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

fn open(path: &Path) -> Result<Decoder<BufReader<File>>, PageError> {
    let file = File::open(path).map_err(|error| not_opened(&error))?;
    Ok(Decoder::new(BufReader::new(file))
        .map_err(not_decoded)?
        .with_limits(limits()))
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_BYTES as usize;
    limits.intermediate_buffer_size = MAX_BYTES as usize;
    limits.ifd_value_size = 1 << 24;
    limits
}

/// The first value of a tag that holds small numbers.
fn tag<R: Read + Seek>(decoder: &mut Decoder<R>, tag: Tag) -> Result<Option<u16>, PageError> {
    let values = decoder
        .find_tag_unsigned_vec::<u16>(tag)
        .map_err(not_decoded)?;
    Ok(values.and_then(|values| values.first().copied()))
}

/// The page's pixels as RGB.
fn colors<R: Read + Seek>(decoder: &mut Decoder<R>) -> Result<Vec<u8>, PageError> {
    let color = decoder.colortype().map_err(not_decoded)?;
    let alpha = tag(decoder, Tag::ExtraSamples)?;
    let samples = samples(decoder)?;
    let over_white = |value: u8, opacity: u8| match alpha {
        Some(PREMULTIPLIED_ALPHA) => value.saturating_add(255 - opacity),
        _ => blend(value, opacity),
    };
    let rgb = match color {
        ColorType::Gray(bits) => {
            let white = if bits < 8 { (1_u8 << bits) - 1 } else { 255 };
            samples
                .iter()
                .flat_map(|&grey| [(u16::from(grey) * 255 / u16::from(white)) as u8; 3])
                .collect()
        }
        ColorType::Multiband { num_samples, .. }
            if matches!(alpha, Some(PREMULTIPLIED_ALPHA | ALPHA)) =>
        {
            samples
                .chunks_exact(usize::from(num_samples))
                .flat_map(|pixel| [over_white(pixel[0], pixel[1]); 3])
                .collect()
        }
        ColorType::Multiband { num_samples, .. } => samples
            .chunks_exact(usize::from(num_samples))
            .flat_map(|pixel| [pixel[0]; 3])
            .collect(),
        ColorType::RGB(_) => samples,
        ColorType::RGBA(_) => samples
            .chunks_exact(4)
            .flat_map(|pixel| {
                [pixel[0], pixel[1], pixel[2]].map(|value| over_white(value, pixel[3]))
            })
            .collect(),
        ColorType::CMYK(_) | ColorType::CMYKA(_) => samples
            .chunks_exact(usize::from(color.num_samples()))
            .flat_map(|pixel| {
                [pixel[0], pixel[1], pixel[2]].map(|ink| multiply(255 - ink, 255 - pixel[3]))
            })
            .collect(),
        ColorType::YCbCr(_) => samples
            .chunks_exact(3)
            .flat_map(|pixel| ycbcr(pixel[0], pixel[1], pixel[2]))
            .collect(),
        _ => {
            return Err(unsupported(&format!(
                "TIFF with colours of the kind {color:?}"
            )));
        }
    };
    Ok(rgb)
}

/// The pixels of a page with a colour table, which the decoder knows only as shades of grey: so that is what it is told.
fn palette_colors(
    path: &Path,
    index: usize,
    decoder: &mut Decoder<BufReader<File>>,
) -> Result<Vec<u8>, PageError> {
    let table = decoder
        .find_tag_unsigned_vec::<u16>(Tag::ColorMap)
        .map_err(not_decoded)?;
    let table = table.unwrap_or_default();
    let (reds, rest) = table.split_at(table.len() / 3);
    let (greens, blues) = rest.split_at(rest.len() / 2);
    let directory = decoder.ifd_pointer().map_or(0, |pointer| pointer.0);
    if fs::metadata(path).is_ok_and(|file| file.len() > MAX_BYTES) {
        return Err(unsupported("TIFF of this size with a colour table"));
    }
    let mut bytes = fs::read(path).map_err(|error| not_opened(&error))?;
    relabel_as_grey(&mut bytes, directory as usize, decoder.byte_order())
        .ok_or_else(|| unreadable(Stage::Prepare, "the image is cut off or damaged"))?;
    let mut decoder = Decoder::new(Cursor::new(bytes))
        .map_err(not_decoded)?
        .with_limits(limits());
    decoder.seek_to_image(index).map_err(not_decoded)?;
    let samples = samples(&mut decoder)?;
    let color = |table: &[u16], index: u8| {
        table
            .get(usize::from(index))
            // The high byte: some programs write 255 as 0xFF00, others as 0xFFFF.
            .map_or(0, |&value| value.to_be_bytes()[0])
    };
    Ok(samples
        .iter()
        .flat_map(|&index| [reds, greens, blues].map(|table| color(table, index)))
        .collect())
}

/// Overwrites the value of `PhotometricInterpretation` in the directory at `start`; none if there is no such entry.
fn relabel_as_grey(bytes: &mut [u8], start: usize, order: ByteOrder) -> Option<()> {
    let big = matches!(order, ByteOrder::BigEndian);
    let short = |bytes: &[u8], at: usize| {
        let pair = [*bytes.get(at)?, *bytes.get(at + 1)?];
        Some(if big {
            u16::from_be_bytes(pair)
        } else {
            u16::from_le_bytes(pair)
        })
    };
    // A BigTIFF (version 43) has wider counts and offsets.
    let (count, entry, value) = if short(bytes, 2)? == 43 {
        (8, 20, 12)
    } else {
        (2, 12, 8)
    };
    let photometric = Tag::PhotometricInterpretation.to_u16();
    let at = (start + count..)
        .step_by(entry)
        .take(u16::MAX.into())
        .find(|&at| short(bytes, at).is_none_or(|tag| tag >= photometric))?;
    if short(bytes, at)? != photometric {
        return None;
    }
    let grey = if big {
        PHOTOMETRIC_BLACK_IS_ZERO.to_be_bytes()
    } else {
        PHOTOMETRIC_BLACK_IS_ZERO.to_le_bytes()
    };
    bytes
        .get_mut(at + value..at + value + 2)?
        .copy_from_slice(&grey);
    Some(())
}

/// The page's samples, one byte each, those of a pixel side by side. Samples of less than 8 bits keep their values.
fn samples<R: Read + Seek>(decoder: &mut Decoder<R>) -> Result<Vec<u8>, PageError> {
    let (width, height) = decoder.dimensions().map_err(not_decoded)?;
    let color = decoder.colortype().map_err(not_decoded)?;
    let mut buffer = DecodingResult::U8(Vec::new());
    let layout = decoder
        .read_image_to_buffer(&mut buffer)
        .map_err(not_decoded)?;
    if buffer.as_buffer(0).byte_len() < layout.complete_len {
        return Err(too_large(width, height));
    }
    let samples = match (buffer, color.bit_depth()) {
        (DecodingResult::U8(packed), bits @ (1 | 2 | 4)) if color.num_samples() == 1 => {
            unpack(&packed, bits, width as usize)
        }
        (DecodingResult::U8(samples), 8) => samples,
        (DecodingResult::U16(samples), 16) => samples.into_iter().map(narrow).collect(),
        (DecodingResult::F32(samples), _) => samples
            .into_iter()
            .map(|sample| (sample * 255.0).round() as u8)
            .collect(),
        (_, bits) => return Err(unsupported(&format!("TIFF with {bits} bits per sample"))),
    };
    if layout.planes == 1 {
        return Ok(samples);
    }
    let plane = samples.len() / layout.planes;
    Ok((0..plane)
        .flat_map(|pixel| samples.iter().skip(pixel).step_by(plane).copied())
        .collect())
}

/// Samples of 1, 2 or 4 bits, whose rows begin at whole bytes, as one byte each.
fn unpack(packed: &[u8], bits: u8, width: usize) -> Vec<u8> {
    let per_byte = usize::from(8 / bits);
    let mask = (1 << bits) - 1;
    let row = |bytes: &[u8]| -> Vec<u8> {
        let sample = |at: usize| {
            bytes[at / per_byte] >> (8 - usize::from(bits) * (at % per_byte + 1)) & mask
        };
        (0..width).map(sample).collect()
    };
    packed
        .chunks_exact(width.div_ceil(per_byte))
        .flat_map(row)
        .collect()
}

/// 16 bits to 8, rounded.
fn narrow(sample: u16) -> u8 {
    ((u32::from(sample) + 128) / 257) as u8
}

fn multiply(a: u8, b: u8) -> u8 {
    ((u16::from(a) * u16::from(b) + 127) / 255) as u8
}

/// ITU-R BT.601 at full range, as in JPEG files (JFIF 1.02).
fn ycbcr(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let (luma, blue, red) = (
        f32::from(luma),
        f32::from(blue) - 128.0,
        f32::from(red) - 128.0,
    );
    [
        luma + 1.402 * red,
        luma - 0.344_136 * blue - 0.714_136 * red,
        luma + 1.772 * blue,
    ]
    .map(|value| value.round() as u8)
}

fn not_decoded(error: TiffError) -> PageError {
    match error {
        TiffError::LimitsExceeded => too_much_memory(),
        TiffError::UnsupportedError(reason) => {
            unsupported(&format!("this kind of TIFF ({reason})"))
        }
        error => unreadable(
            Stage::Prepare,
            format!("the image is cut off or damaged: {error}"),
        ),
    }
}
