//! TIFF files as pages: every image file directory is one, in any of the colour models of paper scans.
//!
//! Strips and tiles are decoded one row of them at a time, by the decoder made for their compression, and painted onto a
//! page that is reduced meanwhile if it is large.

mod bytes;
mod chunk;
mod directory;
mod fax;
mod jpeg;
mod layout;
mod paint;
mod predictor;
mod rows;
mod samples;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{Read, Seek},
    path::Path,
};

use image::metadata::Orientation;

use self::{
    chunk::{Chunks, NoChunk},
    directory::{Directories, Directory},
    layout::{Flaw, Layout, compression, tag},
    paint::Painter,
};
use super::{
    canvas::Canvas,
    jpeg::decode_bytes,
    pixels::{Decoded, MAX_BYTES, MIN_PART, too_large, too_much_memory, unsupported},
};
use crate::{
    error::{PageError, Stage},
    page::PixelBudget,
    prepare::failure::{not_opened, unreadable},
};

/// A page's samples take at most so many bytes, all strips together.
const MAX_PAGE_BYTES: u64 = 4 << 30;

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

/// The page at `directory`, one of [`pages`], upright.
///
/// # Errors
///
/// As [`super::image::ImageFile::page`].
pub fn page(path: &Path, directory: u64, budget: &PixelBudget) -> Result<Decoded, PageError> {
    let file = File::open(path).map_err(|error| not_opened(&error))?;
    let mut file = Directories::open(file).map_err(|_| damaged(Stage::Prepare))?;
    page_of(&mut file, directory, budget)
}

fn page_of<R: Read + Seek>(
    file: &mut Directories<R>,
    directory: u64,
    budget: &PixelBudget,
) -> Result<Decoded, PageError> {
    let (directory, _) = file
        .directory(directory)
        .map_err(|_| damaged(Stage::Prepare))?;
    let layout = Layout::read(file, &directory).map_err(|flaw| match flaw {
        Flaw::Damaged => damaged(Stage::Prepare),
        Flaw::Unsupported(what) => unsupported(&what),
    })?;
    let orientation = file
        .number(&directory, tag::ORIENTATION)
        .and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?))
        .unwrap_or(Orientation::NoTransforms);
    if layout.compression == compression::OLD_JPEG {
        let jpeg = jpeg::old_style(file, &directory, &layout);
        let decoded = decode_bytes(&jpeg.ok_or_else(|| damaged(Stage::Prepare))?)?;
        return Ok(decoded.turned(orientation));
    }
    let bytes = layout
        .chunk_bytes(layout.height)
        .saturating_mul(u64::from(layout.planes()) * u64::from(layout.across));
    if bytes > MAX_PAGE_BYTES {
        return Err(too_large(layout.width, layout.height));
    }
    let mut painter = Painter::new(file, &directory, &layout).map_err(|what| unsupported(&what))?;
    let (mut canvas, mut part) = paint(file, &directory, &layout, &mut painter, budget)?;
    if painter.learn_range() {
        (canvas, part) = paint(file, &directory, &layout, &mut painter, budget)?;
    }
    if part < MIN_PART {
        return Err(damaged(Stage::Prepare));
    }
    let decoded = canvas.finish().damaged_if(part < 1.0);
    Ok(decoded.turned(orientation))
}

/// Paints a page. Says which part of it is there.
fn paint<R: Read + Seek>(
    file: &mut Directories<R>,
    directory: &Directory,
    layout: &Layout,
    painter: &mut Painter,
    budget: &PixelBudget,
) -> Result<(Canvas, f64), PageError> {
    let mut canvas = Canvas::new((layout.width, layout.height), budget)?;
    let mut chunks = Chunks::new(file, directory, layout);
    let per_band = u64::from(layout.planes()) * u64::from(layout.across);
    if per_band.saturating_mul(layout.chunk_bytes(layout.chunk.1.min(layout.height))) > MAX_BYTES {
        return Err(too_large(layout.width, layout.height));
    }
    let mut rgb = vec![0; 3 * layout.width as usize];
    let mut painted = 0_u64;
    for down in 0..layout.down {
        let mut band = Vec::new();
        for plane in 0..layout.planes() {
            for across in 0..layout.across {
                let chunk = chunks.read(plane, across, down);
                band.push(chunk.map_err(|error| match error {
                    NoChunk::TooLarge => too_much_memory(),
                    NoChunk::Unsupported(what) => unsupported(&what),
                })?);
            }
        }
        for y in 0..layout.rows_in(down) {
            painted += painter.row(layout, &band, y, &mut rgb) as u64;
            canvas.push(&rgb);
        }
    }
    let all = u64::from(layout.width) * u64::from(layout.height);
    Ok((
        canvas,
        if painted == all {
            1.0
        } else {
            painted as f64 / all as f64
        },
    ))
}

fn damaged(stage: Stage) -> PageError {
    unreadable(stage, "the image is cut off or damaged")
}
