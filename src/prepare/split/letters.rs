//! The size of print.

use image::RgbImage;

use crate::prepare::print::{Glyph, Ink, glyphs, neighbours};

/// Fewer letters say nothing of a page.
const MIN_LETTERS: usize = 40;
/// Letters of a line are nearer to each other than this part of their height, in percent.
const CLOSE: i32 = 60;

/// The height of the small letters on a page in pixels, by the ink on it; none where there is no print to speak of.
#[must_use]
pub fn letter_height(page: &RgbImage) -> Option<f64> {
    let ink = Ink::of(page);
    height_in(&ink).map(|height| height * ink.step() as f64)
}

/// The same in the pixels of `ink`.
pub(super) fn height_in(ink: &Ink) -> Option<f64> {
    let upright = glyphs(ink);
    let turned: Vec<_> = upright.iter().map(Glyph::transposed).collect();
    // A page may lie on its side.
    let (rows, columns) = (heights(&upright), heights(&turned));
    let mut heights = if rows.len() >= columns.len() {
        rows
    } else {
        columns
    };
    if heights.len() < MIN_LETTERS {
        return None;
    }
    let middle = heights.len() / 2;
    let (_, &mut median, _) = heights.select_nth_unstable(middle);
    Some(f64::from(median))
}

/// The heights of letters that have another one close by in their line.
fn heights(glyphs: &[Glyph]) -> Vec<i32> {
    let next = neighbours(glyphs).into_iter().zip(glyphs);
    let close = next.filter_map(|(next, glyph)| {
        let gap = glyphs[next?].left - glyph.right;
        (gap * 100 <= CLOSE * glyph.height()).then(|| glyph.height())
    });
    close.collect()
}
