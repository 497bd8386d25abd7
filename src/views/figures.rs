//! Figures of an output, cut out of pictures of their pages.

use std::{io::Cursor, path::Path};

use anyhow::{Context, Result};
use image::{
    ExtendedColorType, RgbImage,
    codecs::webp::WebPEncoder,
    imageops::{crop_imm, rotate90, rotate180, rotate270},
};

use super::pictures::{Originals, Pictures, Size, Wanted};
use crate::{
    block::{Bbox, Block, BlockType},
    cancel::Cancel,
};

/// How large the pages are that figures are cut out of.
const SIZE: Size = Size {
    dpi: 200.0,
    max_pixels: 8_000_000,
};
/// A figure has at least so many pixels in each direction.
const MIN_SIDE: u32 = 4;

/// The figures of some pages, in the order of the pages.
pub struct Figures {
    pictures: Pictures,
}

/// A page with figures.
#[derive(Debug, Clone, Copy)]
pub struct PageWithFigures<'a> {
    /// Its document's file.
    pub file: &'a Path,
    /// Its number.
    pub number: u32,
    /// The document that was read.
    pub doc_id: Option<&'a str>,
    /// How far the page was turned to be read, in degrees clockwise.
    pub rotation: u16,
    /// Its blocks.
    pub blocks: &'a [Block],
}

/// The place of a figure among the blocks of its page, and its file in WebP.
pub type Cut = (usize, Vec<u8>);

impl Figures {
    /// Starts to prepare the pages, which are sorted by document and number.
    ///
    /// # Errors
    /// No thread or worker process can be started.
    pub fn start(wanted: &[Wanted], originals: &Originals, cancel: &Cancel) -> Result<Self> {
        let pictures = Pictures::start(wanted, SIZE, originals, cancel)?;
        Ok(Self { pictures })
    }

    /// The figures of a page that comes behind all that were asked for before, or why there are none.
    ///
    /// # Errors
    /// The preparation can't go on, or a figure can't be encoded.
    pub fn of(&mut self, page: PageWithFigures) -> Result<Result<Vec<Cut>, String>> {
        let picture = self.pictures.of(page.file, page.number, page.doc_id)?;
        let picture = match picture {
            Ok(picture) => picture,
            Err(why) => return Ok(Err(why)),
        };
        let cuts = places(page.blocks).filter_map(|(place, bbox)| {
            let figure = cut(&picture, bbox)?;
            let figure = match page.rotation {
                90 => rotate90(&figure),
                180 => rotate180(&figure),
                270 => rotate270(&figure),
                _ => figure,
            };
            Some(webp(&figure).map(|file| (place, file)))
        });
        cuts.collect::<Result<_>>().map(Ok)
    }
}

/// The figures among some blocks that have a place on their page.
pub fn places(blocks: &[Block]) -> impl Iterator<Item = (usize, Bbox)> + '_ {
    let figures = blocks.iter().enumerate();
    let figures = figures.filter(|(_, block)| block.kind == BlockType::Figure);
    figures.filter_map(|(place, block)| Some((place, block.bbox?)))
}

fn cut(page: &RgbImage, [x0, y0, x1, y1]: Bbox) -> Option<RgbImage> {
    let (width, height) = page.dimensions();
    let begin = |at: f64, side: u32| (at * f64::from(side)).floor() as u32;
    let end = |at: f64, side: u32| ((at * f64::from(side)).ceil() as u32).min(side);
    let (left, top) = (begin(x0, width), begin(y0, height));
    let (right, bottom) = (end(x1, width), end(y1, height));
    let (wide, high) = (right.checked_sub(left)?, bottom.checked_sub(top)?);
    let is_large = wide >= MIN_SIDE && high >= MIN_SIDE;
    is_large.then(|| crop_imm(page, left, top, wide, high).to_image())
}

fn webp(figure: &RgbImage) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    let (width, height) = figure.dimensions();
    WebPEncoder::new_lossless(&mut file)
        .encode(figure, width, height, ExtendedColorType::Rgb8)
        .context("cannot encode a figure")?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_cut_out_at_their_boxes() {
        let page = RgbImage::from_fn(100, 200, |x, y| [x as u8, y as u8, 0].into());
        let figure = cut(&page, [0.5, 0.25, 0.75, 1.0]).unwrap();
        assert_eq!(figure.dimensions(), (25, 150));
        assert_eq!(figure.get_pixel(0, 0).0, [50, 50, 0]);
        assert!(cut(&page, [0.5, 0.5, 0.51, 0.9]).is_none());
        let file = webp(&figure).unwrap();
        let back = image::load_from_memory(&file).unwrap().into_rgb8();
        assert_eq!(back, figure);
    }
}
