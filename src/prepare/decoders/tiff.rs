//! TIFF files as pages: every image file directory is one, in any of the colour models of paper scans.

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    path::Path,
};

use image::{DynamicImage, RgbImage, metadata::Orientation};
use tiff::{
    ColorType, TiffError,
    decoder::{Decoder, DecodingResult, Limits},
    tags::Tag,
};

use super::{
    overlay::Overlay,
    pixels::{MAX_BYTES, blend, check_pixels, too_large, too_much_memory, unsupported},
    tiff_directory::Directories,
};
use crate::{
    error::{PageError, Stage},
    prepare::failure::{not_opened, unreadable},
};

/// Values of the tags that the colours depend on (TIFF 6.0, `PhotometricInterpretation` and `ExtraSamples`).
const PHOTOMETRIC_PALETTE: u16 = 3;
const PREMULTIPLIED_ALPHA: u16 = 1;
const ALPHA: u16 = 2;

type TiffDecoder = Decoder<BufReader<Overlay<File>>>;

/// Where the pages of a TIFF file are, at least one. What is damaged beyond a page is a page too, so that it is not passed
/// over.
///
/// # Errors
///
/// [`ErrorKind::Unreadable`](crate::error::ErrorKind::Unreadable) if there is no first page.
pub fn pages(path: &Path) -> Result<Vec<u64>, PageError> {
    let file = File::open(path).map_err(|error| not_opened(&error))?;
    let pages = Directories::open(file).and_then(|mut directories| directories.pages());
    match pages {
        Ok(pages) if !pages.is_empty() => Ok(pages),
        _ => Err(damaged(Stage::Open)),
    }
}

/// The page at `directory`, one of [`pages`], upright, as 8-bit RGB on white.
///
/// # Errors
///
/// As [`super::image::ImageFile::page`].
pub fn page(path: &Path, directory: u64) -> Result<RgbImage, PageError> {
    let mut decoder = open(path, directory, false)?;
    let (width, height) = decoder.dimensions().map_err(not_decoded)?;
    check_pixels(width, height)?;
    let photometric = tag(&mut decoder, Tag::PhotometricInterpretation)?;
    let rgb = if photometric == Some(PHOTOMETRIC_PALETTE) {
        palette_colors(path, directory, &mut decoder)?
    } else {
        colors(&mut decoder)?
    };
    let image = RgbImage::from_raw(width, height, rgb).ok_or_else(|| damaged(Stage::Prepare))?;
    let orientation = tag(&mut decoder, Tag::Orientation)?
        .and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?))
        .unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// A decoder of the page at `directory`, to which that is the first one, whatever is before it in the file.
fn open(path: &Path, directory: u64, grey: bool) -> Result<TiffDecoder, PageError> {
    let file = || File::open(path).map_err(|error| not_opened(&error));
    let corrections = Directories::open(file()?)
        .and_then(|mut directories| directories.corrections(directory, grey))
        .map_err(|_| damaged(Stage::Prepare))?;
    let corrected = Overlay::new(file()?, corrections);
    Ok(Decoder::new(BufReader::new(corrected))
        .map_err(not_decoded)?
        .with_limits(limits()))
}

fn damaged(stage: Stage) -> PageError {
    unreadable(stage, "the image is cut off or damaged")
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
            return Err(unsupported(&format!("TIFF with the colour type {color:?}")));
        }
    };
    Ok(rgb)
}

/// The pixels of a page with a colour table, which the decoder knows only as shades of grey: so that is what it is told.
fn palette_colors(
    path: &Path,
    directory: u64,
    decoder: &mut TiffDecoder,
) -> Result<Vec<u8>, PageError> {
    let table = decoder
        .find_tag_unsigned_vec::<u16>(Tag::ColorMap)
        .map_err(not_decoded)?;
    let table = table.unwrap_or_default();
    // Some programs write colours of 8 bits where 16 belong, as libtiff's `checkcmap` finds out too.
    let is_narrow = table.iter().all(|&value| value < 256);
    let (reds, rest) = table.split_at(table.len() / 3);
    let (greens, blues) = rest.split_at(rest.len() / 2);
    let mut decoder = open(path, directory, true)?;
    let per_pixel = decoder.colortype().map_err(not_decoded)?.num_samples();
    let samples = samples(&mut decoder)?;
    let color = |table: &[u16], index: u8| {
        let value = table.get(usize::from(index)).map_or(0, |value| *value);
        // The high byte: some programs write 255 as 0xFF00, others as 0xFFFF.
        value.to_be_bytes()[usize::from(is_narrow)]
    };
    Ok(samples
        .chunks_exact(usize::from(per_pixel.max(1)))
        .flat_map(|pixel| [reds, greens, blues].map(|table| color(table, pixel[0])))
        .collect())
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
