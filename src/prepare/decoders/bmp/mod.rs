//! BMP files of Windows and OS/2, as far as they go: with palettes, bit masks and run-length encoding. Pixels that such an
//! encoding skips have colour 0 of the palette, as in Windows and Pillow. Fields as in `BITMAPFILEHEADER` and
//! `BITMAPV5HEADER`.

mod runs;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use super::{
    canvas::Canvas,
    colors::blend,
    pixels::{Decoded, MAX_BYTES, MIN_PART, check_pixels, unsupported},
};
use crate::{
    error::{PageError, Stage},
    page::PixelBudget,
    prepare::failure::{not_opened, unreadable},
};

/// Length of the file's header, after which the image's begins.
const FILE_HEADER: u64 = 14;
/// Most bytes of the image's header, bit masks after it included.
const MAX_HEADER: usize = 124 + 16;

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    /// Rows that are padded to 4 bytes, of palette indices or of colours by bit masks.
    Rows,
    /// Run-length encoded indices.
    Runs,
}

/// What the headers say.
#[derive(Debug)]
struct Header {
    width: u32,
    height: u32,
    /// The first row of the file is the uppermost.
    top_down: bool,
    bits: u32,
    storage: Storage,
    /// Bits of red, green, blue and opacity.
    masks: [u32; 4],
    palette: Vec<[u8; 3]>,
    /// Where the pixels start.
    start: u64,
}

/// Decodes a file.
///
/// # Errors
/// As [`super::image::ImageFile::page`].
pub(super) fn decode(path: &Path, budget: &PixelBudget) -> Result<Decoded, PageError> {
    let mut file = File::open(path).map_err(|error| not_opened(&error))?;
    decode_from(&mut file, budget)
}

fn decode_from(file: &mut (impl Read + Seek), budget: &PixelBudget) -> Result<Decoded, PageError> {
    let header = Header::read(file)?;
    match header.storage {
        Storage::Rows => header.rows(file, budget),
        Storage::Runs => header.runs(file, budget),
    }
}

fn damaged(reason: &str) -> PageError {
    let message = format!("the image is cut off or damaged: {reason}");
    unreadable(Stage::Prepare, message)
}

/// Reads as much as there is, at most the buffer's length.
fn read_at(file: &mut (impl Read + Seek), at: u64, buffer: &mut [u8]) -> Result<usize, PageError> {
    let read = |file: &mut dyn Read, buffer: &mut [u8]| {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..])? {
                0 => break,
                more => filled += more,
            }
        }
        Ok(filled)
    };
    file.seek(SeekFrom::Start(at))
        .and_then(|_| read(file, buffer))
        .map_err(|error| not_opened(&error))
}

impl Header {
    fn read(file: &mut (impl Read + Seek)) -> Result<Self, PageError> {
        let mut bytes = [0; FILE_HEADER as usize + MAX_HEADER];
        let length = read_at(file, 0, &mut bytes)?;
        if length < 26 {
            return Err(damaged("its header ends early"));
        }
        let long = |at: usize| {
            let bytes = bytes[at..].first_chunk().copied();
            u32::from_le_bytes(bytes.unwrap_or_default())
        };
        let short = |at: usize| long(at) & 0xffff;
        let size = long(14) as usize;
        let is_core = size == 12;
        if !(is_core || (16..=124).contains(&size)) {
            return Err(unsupported(&format!("a BMP header of {size} bytes")));
        }
        // Fields behind the end of a header are 0.
        let field = |at: usize| if at + 4 <= 14 + size { long(at) } else { 0 };
        let (width, height, bits) = if is_core {
            (short(18) as i32, short(20) as i32, short(24))
        } else {
            (long(18) as i32, long(22) as i32, short(28))
        };
        if width <= 0 || height == 0 {
            return Err(damaged(&format!("it is {width} × {height} pixels")));
        }
        let compression = if is_core { 0 } else { field(30) };
        // Headers of OS/2 have other numbers for it.
        let is_os2 = size == 64;
        let (storage, has_masks) = match (compression, bits) {
            (0, 1 | 2 | 4 | 8 | 16 | 24 | 32) => (Storage::Rows, false),
            (1, 8) | (2, 4) => (Storage::Runs, false),
            (3 | 6, 16 | 32) if !is_os2 => (Storage::Rows, true),
            (4, _) if !is_os2 => return Err(unsupported("a BMP with a JPEG file in it")),
            (5, _) => return Err(unsupported("a BMP with a PNG file in it")),
            _ => {
                let what = format!("BMP compression {compression} with {bits} bits per pixel");
                return Err(unsupported(&what));
            }
        };
        let mut end = FILE_HEADER + size as u64;
        let masks = match (has_masks, bits) {
            (true, _) => {
                // In shorter headers they come after it.
                if size < 52 {
                    end += if compression == 6 { 16 } else { 12 };
                }
                let has_opacity = size >= 56 || size < 52 && compression == 6;
                let opacity = if has_opacity { long(66) } else { 0 };
                [long(54), long(58), long(62), opacity]
            }
            (false, 16) => [0x7c00, 0x03e0, 0x001f, 0],
            _ => [0xff_0000, 0xff00, 0xff, 0],
        };
        let mut start = u64::from(long(10));
        let palette = if bits <= 8 {
            let entry = if is_core { 3 } else { 4 };
            let all = 1 << bits;
            let used = match field(46) as usize {
                0 => all,
                used => used.min(all),
            };
            // A palette ends where the pixels begin.
            let room = start.saturating_sub(end) / entry;
            let used = if start > end {
                used.min(room as usize)
            } else {
                used
            };
            let mut bytes = vec![0; used * entry as usize];
            read_at(file, end, &mut bytes)?;
            end += bytes.len() as u64;
            let entries = bytes.chunks_exact(entry as usize);
            entries.map(|bgr| [bgr[2], bgr[1], bgr[0]]).collect()
        } else {
            Vec::new()
        };
        // Some programs write where the palette starts, or nothing.
        if start < FILE_HEADER + size as u64 || bits <= 8 && start < end {
            start = end;
        }
        Ok(Self {
            width: width.unsigned_abs(),
            height: height.unsigned_abs(),
            top_down: height < 0,
            bits,
            storage,
            masks,
            palette,
            start,
        })
    }

    /// Which row of the file row `y` of the page is.
    fn row_of(&self, y: u32) -> u32 {
        if self.top_down {
            y
        } else {
            self.height - 1 - y
        }
    }

    fn color(&self, index: u8) -> [u8; 3] {
        let color = self.palette.get(usize::from(index));
        color.copied().unwrap_or_default()
    }

    fn rows(
        &self,
        file: &mut (impl Read + Seek),
        budget: &PixelBudget,
    ) -> Result<Decoded, PageError> {
        let stride = (u64::from(self.width) * u64::from(self.bits)).div_ceil(32) * 4;
        let length = file
            .seek(SeekFrom::End(0))
            .map_err(|error| not_opened(&error))?;
        let there = length.saturating_sub(self.start) / stride;
        if (there as f64) < MIN_PART * f64::from(self.height) {
            return Err(damaged("its pixels are missing"));
        }
        let mut canvas = Canvas::new((self.width, self.height), budget)?;
        let mut bytes = vec![0; stride as usize];
        let has_opacity = self.is_seen(file, &mut bytes, there)?;
        let mut rgb = vec![0; 3 * self.width as usize];
        let mut is_damaged = false;
        for y in 0..self.height {
            let at = self.start + u64::from(self.row_of(y)) * stride;
            if read_at(file, at, &mut bytes)? == bytes.len() {
                self.to_rgb(&bytes, has_opacity, &mut rgb);
            } else {
                is_damaged = true;
                rgb.fill(255);
            }
            canvas.push(&rgb);
        }
        Ok(canvas.finish().damaged_if(is_damaged))
    }

    /// Whether opacity is stored and anything is opaque: many programs write zeros there and mean nothing by it.
    fn is_seen(
        &self,
        file: &mut (impl Read + Seek),
        row: &mut [u8],
        rows: u64,
    ) -> Result<bool, PageError> {
        let opacity = self.masks[3];
        if self.bits <= 8 || opacity == 0 {
            return Ok(false);
        }
        for y in 0..rows.min(u64::from(self.height)) {
            read_at(file, self.start + y * row.len() as u64, row)?;
            if self.pixels(row).any(|pixel| pixel & opacity != 0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The pixels of a row as numbers of 16, 24 or 32 bits.
    fn pixels<'a>(&self, row: &'a [u8]) -> impl Iterator<Item = u32> + use<'a> {
        let bytes = row.chunks_exact(self.bits as usize / 8);
        let pixels = bytes.map(|bytes| {
            let value = |number, &byte: &u8| number << 8 | u32::from(byte);
            bytes.iter().rev().fold(0, value)
        });
        pixels.take(self.width as usize)
    }

    fn to_rgb(&self, row: &[u8], has_opacity: bool, rgb: &mut [u8]) {
        let targets = rgb.chunks_exact_mut(3);
        if self.bits > 8 {
            let [red, green, blue, opacity] = self.masks;
            for (target, pixel) in targets.zip(self.pixels(row)) {
                let mut color = [red, green, blue].map(|mask| channel(pixel, mask));
                if has_opacity {
                    let opacity = channel(pixel, opacity);
                    color = color.map(|value| blend(value, opacity));
                }
                target.copy_from_slice(&color);
            }
            return;
        }
        let per_byte = 8 / self.bits;
        for (x, target) in (0_u32..).zip(targets) {
            let shift = 8 - self.bits * (x % per_byte + 1);
            let index = row[(x / per_byte) as usize] >> shift & ((1_u16 << self.bits) - 1) as u8;
            target.copy_from_slice(&self.color(index));
        }
    }

    fn runs(
        &self,
        file: &mut (impl Read + Seek),
        budget: &PixelBudget,
    ) -> Result<Decoded, PageError> {
        check_pixels(self.width, self.height)?;
        let mut encoded = Vec::new();
        file.seek(SeekFrom::Start(self.start))
            .and_then(|_| file.take(MAX_BYTES).read_to_end(&mut encoded))
            .map_err(|error| not_opened(&error))?;
        let size = (self.width as usize, self.height as usize);
        let runs = runs::decode(&encoded, self.bits == 4, size);
        if (runs.rows as f64) < MIN_PART * f64::from(self.height) {
            return Err(damaged("its pixels are missing"));
        }
        let mut canvas = Canvas::new((self.width, self.height), budget)?;
        let mut rgb = vec![0; 3 * size.0];
        for y in 0..self.height {
            let row = self.row_of(y) as usize;
            for (target, &index) in rgb.chunks_exact_mut(3).zip(&runs.indices[row * size.0..]) {
                // Rows that never came are no colour of the page.
                let color = if row < runs.rows {
                    self.color(index)
                } else {
                    [255; 3]
                };
                target.copy_from_slice(&color);
            }
            canvas.push(&rgb);
        }
        Ok(canvas
            .finish()
            .damaged_if(runs.rows < size.1 || runs.are_too_long))
    }
}

/// What a mask takes of a pixel, of 255.
fn channel(pixel: u32, mask: u32) -> u8 {
    if mask == 0 {
        return 0;
    }
    let shift = mask.trailing_zeros();
    let most = u64::from(mask >> shift);
    let value = u64::from((pixel & mask) >> shift);
    ((value * 255 + most / 2) / most) as u8
}
