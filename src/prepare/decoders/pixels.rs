//! What decoders of images have in common: limits, errors, and the way to upright RGB on white.

use std::io;

use image::{DynamicImage, ImageDecoder, ImageError, Limits, Rgb, RgbImage, metadata::Orientation};

use super::colors::blend;
use crate::{
    error::{ErrorKind, PageError, Stage},
    prepare::failure::{not_opened, unreadable},
};

/// Images with more pixels than this are not decoded: a 600 dpi scan of A2 has 140 million.
const MAX_PIXELS: u64 = 200_000_000;
/// Nor are those that take more memory than this, in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 30;

/// What is damaged is read if at least this part of it can be had.
pub(super) const MIN_PART: f64 = 0.05;

/// A page as its file has it.
#[derive(Debug)]
pub(super) struct Decoded {
    image: DynamicImage,
    /// (width, height) in the file; that of the image may have been reduced.
    size: (u32, u32),
    /// Parts of it are missing or broken.
    pub(super) is_damaged: bool,
}

impl Decoded {
    pub(super) fn whole(image: DynamicImage) -> Self {
        Self {
            size: (image.width(), image.height()),
            image,
            is_damaged: false,
        }
    }

    /// An image that was reduced while it was decoded.
    pub(super) fn reduced_from(self, size: (u32, u32)) -> Self {
        Self { size, ..self }
    }

    pub(super) fn damaged_if(self, is_damaged: bool) -> Self {
        Self { is_damaged, ..self }
    }

    pub(super) fn turned(mut self, orientation: Orientation) -> Self {
        use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
        self.image.apply_orientation(orientation);
        let (width, height) = self.size;
        if matches!(
            orientation,
            Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH
        ) {
            self.size = (height, width);
        }
        self
    }

    pub(super) fn size(&self) -> (u32, u32) {
        self.size
    }

    /// 8-bit RGB on white.
    pub(super) fn into_rgb(self) -> RgbImage {
        over_white(self.image)
    }
}

/// Refuses what would not be decoded safely, before memory is taken for it.
pub(super) fn check_pixels(width: u32, height: u32) -> Result<(), PageError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        Err(too_large(width, height))
    } else {
        Ok(())
    }
}

pub(super) fn too_large(width: u32, height: u32) -> PageError {
    let message = format!(
        "the image is {width} × {height} pixels, which take too much memory; reduce it or cut it \
         into pieces"
    );
    PageError::new(ErrorKind::TooLarge, Stage::Prepare, message)
}

pub(super) fn too_much_memory() -> PageError {
    let message = "the image would take too much memory; reduce it or cut it into pieces";
    PageError::new(ErrorKind::TooLarge, Stage::Prepare, message)
}

/// A variant of a format that nothing here decodes.
pub(super) fn unsupported(what: &str) -> PageError {
    let message = format!("{what} is not supported; convert the image to an ordinary PNG");
    PageError::new(ErrorKind::Unsupported, Stage::Prepare, message)
}

pub(super) fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

pub(super) fn check_size(decoder: &impl ImageDecoder) -> Result<(), PageError> {
    let (width, height) = decoder.dimensions();
    check_pixels(width, height)?;
    if decoder.total_bytes() > MAX_BYTES {
        Err(too_large(width, height))
    } else {
        Ok(())
    }
}

/// Decodes an image, to be turned as its EXIF data say.
pub(super) fn finish(mut decoder: impl ImageDecoder) -> Result<Decoded, PageError> {
    let orientation = orientation(&mut decoder);
    let image = DynamicImage::from_decoder(decoder).map_err(not_decoded)?;
    Ok(Decoded::whole(image).turned(orientation))
}

/// How an image is to be turned; one whose metadata is damaged is read as it lies.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    orientation_by(exif.as_deref(), xmp.as_deref())
}

/// How EXIF data turn an image or, where they do not say it, XMP data.
pub(super) fn orientation_by(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    let exif = exif.unwrap_or_default();
    // In a JPEG file these bytes come before the EXIF data, and libvips writes them into WebP files too.
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    Orientation::from_exif_chunk(exif)
        .or_else(|| xmp_orientation(xmp?))
        .unwrap_or(Orientation::NoTransforms)
}

/// The property `tiff:Orientation`, which is an attribute or an element.
fn xmp_orientation(xmp: &[u8]) -> Option<Orientation> {
    const NAME: &[u8] = b"tiff:Orientation";
    let after = &xmp[memchr::memmem::find(xmp, NAME)? + NAME.len()..];
    let between =
        |byte: &u8| matches!(byte, b'=' | b'>' | b'"' | b'\'') || byte.is_ascii_whitespace();
    let digit = after.iter().find(|byte| !between(byte))?;
    Orientation::from_exif(digit.checked_sub(b'0')?)
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

pub(super) fn not_decoded(error: ImageError) -> PageError {
    match error {
        ImageError::Limits(_) => too_much_memory(),
        ImageError::Unsupported(reason) => {
            let message = format!("{reason}; convert the image to an ordinary PNG");
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

/// A page that is reduced by more than this on a side may look blank without being it. A scan at 600 dpi is reduced by 4.
const MAX_REDUCTION: u32 = 6;

/// Whether a page keeps enough of its pixels that what was on it can still be seen.
pub(super) fn shows_enough(original: (u32, u32), image: &RgbImage) -> bool {
    original.0 <= MAX_REDUCTION * image.width()
}
