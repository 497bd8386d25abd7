//! JPEG 2000: `.jp2` files, and the bare codestreams in them.

use std::{fs, path::Path};

use hayro_jpeg2000::{ColorSpace, DecodeSettings, Image};
use image::RgbImage;

use super::{
    colors::{blend, cmyk},
    pixels::{Decoded, check_pixels, unsupported},
};
use crate::{
    error::{PageError, Stage},
    page::PixelBudget,
    prepare::{
        failure::{not_opened, unreadable},
        resize::smart_resize,
    },
};

/// Images of more pixels are decoded at a lower resolution, which the format holds too.
const MAX_FULL: u64 = 40_000_000;
/// Such an image keeps at least this many times the sides that it is resized to.
const GAP: u32 = 2;
/// The end of a codestream.
const END: [u8; 2] = [0xFF, 0xD9];

/// Decodes a file.
///
/// # Errors
/// As [`super::image::ImageFile::page`].
pub(super) fn decode(path: &Path, budget: &PixelBudget) -> Result<Decoded, PageError> {
    let bytes = fs::read(path).map_err(|error| not_opened(&error))?;
    let mut settings = DecodeSettings::default();
    let image = Image::new(&bytes, &settings).map_err(|error| not_decoded(&error))?;
    let size = (image.width(), image.height());
    check_pixels(size.0, size.1)?;
    let image = if u64::from(size.0) * u64::from(size.1) > MAX_FULL {
        let (height, width) = smart_resize(size.1, size.0, budget)?;
        settings.target_resolution = Some((GAP * width, GAP * height));
        Image::new(&bytes, &settings).map_err(|error| not_decoded(&error))?
    } else {
        image
    };
    let samples = image.decode().map_err(|error| not_decoded(&error))?;
    let (width, height) = (image.width(), image.height());
    let colors = usize::from(image.color_space().num_channels());
    let has_alpha = image.has_alpha();
    let rgb = to_rgb(&samples, colors, has_alpha).ok_or_else(|| {
        let is_known = !matches!(image.color_space(), ColorSpace::Unknown { .. });
        unsupported(if is_known {
            "a JPEG 2000 with such colours"
        } else {
            "a JPEG 2000 with unknown colours"
        })
    })?;
    let image = RgbImage::from_raw(width, height, rgb);
    let image = image.ok_or_else(|| unreadable(Stage::Prepare, "the image is damaged"))?;
    let is_damaged = !has_end(&bytes);
    Ok(Decoded::whole(image.into())
        .reduced_from(size)
        .damaged_if(is_damaged))
}

fn not_decoded(error: &dyn std::fmt::Display) -> PageError {
    unreadable(
        Stage::Prepare,
        format!("the image is cut off or damaged: {error}"),
    )
}

/// Samples as RGB on white.
fn to_rgb(samples: &[u8], colors: usize, has_alpha: bool) -> Option<Vec<u8>> {
    let pixels = samples.chunks_exact(colors + usize::from(has_alpha));
    let convert: fn(&[u8]) -> [u8; 3] = match colors {
        1 => |pixel| [pixel[0]; 3],
        3 => |pixel| [pixel[0], pixel[1], pixel[2]],
        4 => |pixel| cmyk([pixel[0], pixel[1], pixel[2], pixel[3]]),
        _ => return None,
    };
    let over_white = |pixel: &[u8]| {
        let rgb = convert(pixel);
        if has_alpha {
            rgb.map(|value| blend(value, pixel[colors]))
        } else {
            rgb
        }
    };
    Some(pixels.flat_map(over_white).collect())
}

/// Whether the codestream is there to its end. The decoder makes do with what there is.
fn has_end(bytes: &[u8]) -> bool {
    let padding = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    let body = &bytes[..bytes.len() - padding];
    body.ends_with(&END) || codestream(bytes).is_some_and(|stream| stream.ends_with(&END))
}

/// The codestream in the boxes of a file (ISO/IEC 15444-1, annex I).
fn codestream(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (length, content) = match u32::from_be_bytes(*length) {
            0 => (bytes.len(), rest),
            1 => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
            }
            length => (length as usize, rest),
        };
        let header = bytes.len() - content.len();
        if kind == b"jp2c" {
            return content.get(..length.checked_sub(header)?);
        }
        bytes = bytes.get(length.max(header)..)?;
    }
}
