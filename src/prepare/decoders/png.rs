//! PNG files, row by row, with what is there of a damaged one.

use std::{
    fs::File,
    io::{BufReader, Seek},
    path::Path,
};

use image::metadata::Orientation;
use png::{BitDepth, ColorType, DecodingError, InterlaceInfo, Limits, Reader, Transformations};

use super::{
    canvas::Canvas,
    colors::{blend, narrow},
    pixels::{Decoded, MAX_BYTES, MIN_PART, orientation_by, too_large, too_much_memory},
};
use crate::{
    error::{PageError, Stage},
    page::PixelBudget,
    prepare::failure::{not_opened, unreadable},
};

type PngReader = Reader<BufReader<File>>;

/// Decodes a file.
///
/// # Errors
/// As [`super::image::ImageFile::page`].
pub(super) fn decode(path: &Path, budget: &PixelBudget) -> Result<Decoded, PageError> {
    let attempt = Attempt::make(path, budget, false)?;
    if attempt.error.is_none() {
        return Ok(attempt.decoded);
    }
    // Damage may be no more than a checksum.
    let again = Attempt::make(path, budget, true)?;
    let best = if again.part > attempt.part {
        again
    } else {
        attempt
    };
    match best.error {
        Some(DecodingError::LimitsExceeded) => Err(too_much_memory()),
        error if best.part < MIN_PART => {
            let error = error.map_or_else(String::new, |error| format!(": {error}"));
            Err(damaged(&error))
        }
        _ => Ok(best.decoded.damaged_if(true)),
    }
}

fn damaged(reason: &str) -> PageError {
    unreadable(
        Stage::Prepare,
        format!("the image is cut off or damaged{reason}"),
    )
}

/// What came of decoding.
struct Attempt {
    decoded: Decoded,
    /// The part of the rows that were decoded.
    part: f64,
    error: Option<DecodingError>,
}

impl Attempt {
    fn make(path: &Path, budget: &PixelBudget, ignore_checksums: bool) -> Result<Self, PageError> {
        let file = File::open(path).map_err(|error| not_opened(&error))?;
        let limits = Limits {
            bytes: MAX_BYTES as usize,
        };
        let mut decoder = png::Decoder::new_with_limits(BufReader::new(file), limits);
        decoder.set_transformations(Transformations::EXPAND);
        decoder.ignore_checksums(ignore_checksums);
        let mut reader = match decoder.read_info() {
            Ok(reader) => reader,
            Err(DecodingError::LimitsExceeded) => return Err(too_much_memory()),
            Err(error) => return Err(damaged(&format!(": {error}"))),
        };
        let (width, height) = reader.info().size();
        let bytes = reader.info().raw_row_length() as u64 * u64::from(height);
        if bytes > MAX_BYTES {
            return Err(too_large(width, height));
        }
        let mut canvas = Canvas::new((width, height), budget)?;
        let (part, mut error) = if reader.info().interlaced {
            interlaced_rows(&mut reader, &mut canvas)?
        } else {
            rows(&mut reader, &mut canvas)
        };
        if error.is_none() {
            error = reader.finish().err();
        }
        let orientation = orientation(reader.info());
        Ok(Self {
            decoded: canvas.finish().turned(orientation),
            part,
            error,
        })
    }
}

/// Fills the canvas as far as there are rows. Says which part of them that is.
fn rows<R: std::io::BufRead + Seek>(
    reader: &mut Reader<R>,
    canvas: &mut Canvas,
) -> (f64, Option<DecodingError>) {
    let (width, height) = reader.info().size();
    let (color, depth) = reader.output_color_type();
    let mut rgb = vec![0; 3 * width as usize];
    for row in 0..height {
        match reader.next_row() {
            Ok(Some(samples)) => to_rgb(samples.data(), color, depth, &mut rgb),
            Ok(None) => return (f64::from(row) / f64::from(height), None),
            Err(error) => return (f64::from(row) / f64::from(height), Some(error)),
        }
        canvas.push(&rgb);
    }
    (1.0, None)
}

/// The same for an image that comes in seven passes, which needs memory for all of it.
fn interlaced_rows(
    reader: &mut PngReader,
    canvas: &mut Canvas,
) -> Result<(f64, Option<DecodingError>), PageError> {
    let (width, height) = reader.info().size();
    let (color, depth) = reader.output_color_type();
    let stride = reader.output_line_size(width).unwrap_or(usize::MAX);
    let size = stride.checked_mul(height as usize);
    let size = size.filter(|&size| size as u64 <= MAX_BYTES);
    let mut pixels = vec![0xFF; size.ok_or_else(|| too_large(width, height))?];
    let bits = color.samples() * if depth == BitDepth::Sixteen { 16 } else { 8 };
    let (mut rows, mut error) = (0, None);
    loop {
        match reader.next_interlaced_row() {
            Ok(Some(row)) => {
                if let InterlaceInfo::Adam7(pass) = row.interlace() {
                    png::expand_interlaced_row(&mut pixels, stride, row.data(), pass, bits as u8);
                }
                rows += 1;
            }
            Ok(None) => break,
            Err(broken) => {
                error = Some(broken);
                break;
            }
        }
    }
    let mut rgb = vec![0; 3 * width as usize];
    for row in pixels.chunks_exact(stride.max(1)) {
        to_rgb(row, color, depth, &mut rgb);
        canvas.push(&rgb);
    }
    // The first pass shows all of the image already, if coarsely.
    let first_pass = f64::from(height.div_ceil(8));
    Ok(((f64::from(rows) / first_pass).min(1.0), error))
}

/// A row's samples as RGB on white.
fn to_rgb(samples: &[u8], color: ColorType, depth: BitDepth, rgb: &mut [u8]) {
    let narrowed: Vec<u8>;
    let samples = if depth == BitDepth::Sixteen {
        let pairs = samples.chunks_exact(2);
        narrowed = pairs
            .map(|pair| narrow(u16::from_be_bytes([pair[0], pair[1]])))
            .collect();
        &narrowed
    } else {
        samples
    };
    let pixels = samples.chunks_exact(color.samples());
    for (rgb, pixel) in rgb.chunks_exact_mut(3).zip(pixels) {
        rgb.copy_from_slice(&match *pixel {
            [grey] => [grey; 3],
            [grey, alpha] => [blend(grey, alpha); 3],
            [red, green, blue] => [red, green, blue],
            [red, green, blue, alpha] => [red, green, blue].map(|value| blend(value, alpha)),
            _ => continue,
        });
    }
}

/// How the image is to be turned: by its EXIF chunk, by the text that ImageMagick and older programs write instead, or by its
/// XMP data.
fn orientation(info: &png::Info) -> Orientation {
    let exif = match &info.exif_metadata {
        Some(exif) => Some(exif.to_vec()),
        None => exif_text(info).and_then(|text| raw_profile(&text)),
    };
    let mut texts = info.utf8_text.iter();
    let xmp = texts.find(|chunk| chunk.keyword == "XML:com.adobe.xmp");
    let xmp = xmp.and_then(|chunk| chunk.get_text().ok());
    orientation_by(exif.as_deref(), xmp.as_deref().map(str::as_bytes))
}

fn exif_text(info: &png::Info) -> Option<String> {
    let is_exif =
        |keyword: &str| matches!(keyword, "Raw profile type exif" | "Raw profile type APP1");
    let plain = info.uncompressed_latin1_text.iter();
    let plain = plain
        .filter(|chunk| is_exif(&chunk.keyword))
        .map(|chunk| Some(chunk.text.clone()));
    let packed = info.compressed_latin1_text.iter();
    let packed = packed
        .filter(|chunk| is_exif(&chunk.keyword))
        .map(|chunk| chunk.get_text().ok());
    plain.chain(packed).flatten().next()
}

/// The bytes of such a text: a name, their number, and they themselves as hexadecimal digits.
fn raw_profile(text: &str) -> Option<Vec<u8>> {
    let mut words = text.split_ascii_whitespace();
    let (_name, length) = (words.next()?, words.next()?.parse::<usize>().ok()?);
    let digits: Vec<u8> = words
        .flat_map(str::bytes)
        .map(|digit| (digit as char).to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2).take(length);
    Some(pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}
