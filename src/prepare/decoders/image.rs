//! Page images as pixels: every format to upright 8-bit RGB on white, within limits.

use std::{fs::File, io::BufReader, path::Path};

use image::{ImageFormat, ImageReader};

use super::{
    bmp, jpeg, jpeg2000,
    pixels::{Decoded, check_size, finish, limits, not_decoded},
    png, tiff,
};
use crate::{
    error::{PageError, Stage},
    formats::DecoderKind,
    page::{Format, PixelBudget, Warning},
    prepare::{
        decoder::Rendered,
        failure::{not_opened, unreadable},
        resize::{resize, smart_resize},
    },
};

/// An image file whose pages are known.
#[derive(Debug)]
pub struct ImageFile {
    decoder: DecoderKind,
    /// Where the pages of a TIFF file are.
    directories: Vec<u64>,
}

impl ImageFile {
    /// Finds the pages of a file: one, but for TIFF.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unreadable`](crate::error::ErrorKind::Unreadable) for a TIFF without a first page.
    pub fn open(path: &Path, format: Format) -> Result<Self, PageError> {
        let decoder = format.info().decoder;
        let directories = match decoder {
            DecoderKind::Tiff => tiff::pages(path)?,
            _ => Vec::new(),
        };
        Ok(Self {
            decoder,
            directories,
        })
    }

    /// Number of pages, at least 1.
    pub fn page_count(&self) -> u32 {
        self.directories.len().max(1) as u32
    }

    /// Page `number` (1-based), at the size at which the model sees it, and what there is to say about it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`](crate::error::ErrorKind::TooLarge) for an image that would take too much memory, [`ErrorKind::Unreadable`](crate::error::ErrorKind::Unreadable) for a damaged one,
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for an unknown variant of its format, [`ErrorKind::Render`](crate::error::ErrorKind::Render) as in [`smart_resize`].
    pub fn page(
        &self,
        path: &Path,
        number: u32,
        budget: &PixelBudget,
    ) -> Result<(Rendered, Vec<Warning>), PageError> {
        let directory = (number as usize).checked_sub(1);
        let directory = directory.and_then(|index| self.directories.get(index));
        let decoded = match (self.decoder, directory) {
            (DecoderKind::Tiff, Some(&directory)) => tiff::page(path, directory, budget)?,
            (DecoderKind::Jpeg, _) => jpeg::decode(path)?,
            (DecoderKind::Jpeg2000, _) => jpeg2000::decode(path, budget)?,
            (DecoderKind::Image(ImageFormat::Png), _) => png::decode(path, budget)?,
            (DecoderKind::Image(ImageFormat::Bmp), _) => bmp::decode(path, budget)?,
            (DecoderKind::Image(format), _) => decode(path, format)?,
            (DecoderKind::Tiff | DecoderKind::Pdf, _) => {
                return Err(unreadable(Stage::Prepare, "the file has no such page"));
            }
        };
        let (original, is_damaged) = (decoded.size(), decoded.is_damaged);
        let (height, width) = smart_resize(original.1, original.0, budget)?;
        let image = resize(decoded.into_rgb(), width, height)?;
        let warnings = is_damaged.then_some(Warning::DamagedFile);
        let rendered = Rendered { image, original };
        Ok((rendered, warnings.into_iter().collect()))
    }
}

fn decode(path: &Path, format: ImageFormat) -> Result<Decoded, PageError> {
    let file = File::open(path).map_err(|error| not_opened(&error))?;
    let mut reader = ImageReader::with_format(BufReader::new(file), format);
    reader.limits(limits());
    let decoder = reader.into_decoder().map_err(not_decoded)?;
    check_size(&decoder)?;
    finish(decoder)
}
