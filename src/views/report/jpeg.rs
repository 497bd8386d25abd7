//! Pictures in a report: small JPEGs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{RgbImage, codecs::jpeg::JpegEncoder};

use crate::views::pictures::{Picture, Size};

/// Print of 10 points can still be read.
pub(super) const SIZE: Size = Size {
    dpi: 100.0,
    max_pixels: 900_000,
};
/// Quality of the JPEGs.
const QUALITY: u8 = 72;

/// The picture of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// A `data:` URL, the width and the height in pixels.
    Jpeg(String, u32, u32),
    /// There is none, for this reason.
    Missing(String),
}

impl Shown {
    pub(super) fn of(picture: Picture) -> Self {
        match picture {
            Ok(pixels) => encode(&pixels),
            Err(why) => Self::Missing(why),
        }
    }
}

fn encode(pixels: &RgbImage) -> Shown {
    let mut jpeg = Vec::new();
    match JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(pixels) {
        Ok(()) => {
            let url = format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg));
            Shown::Jpeg(url, pixels.width(), pixels.height())
        }
        Err(error) => Shown::Missing(format!("the picture cannot be written: {error}")),
    }
}
