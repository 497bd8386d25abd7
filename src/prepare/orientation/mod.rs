//! How a scan lies, found before a model sees it: upright, on one of its sides, or upside down.
//!
//! [`print_rotation`] looks at the print itself. Letters stand nearer to each other than lines do, which tells the lines'
//! direction; and in the Latin alphabet far more letters rise above an x (b, d, f, h, k, l, t, capitals) than hang below the
//! line (g, j, p, q, y), which tells up from down. It answers only where both are clear: other scripts, capitals, figures and
//! pictures don't show it. On such pages Tesseract is asked, where it is installed with its `osd` data.
//!
//! A wrong turn is worse than none: see `benches/rotation.rs` for what the limits cost and prevent.

mod edges;

use image::RgbImage;

use self::edges::Edges;
use super::{
    print::{Glyph, Ink, glyphs, neighbours},
    resize::resize,
};
use crate::{
    cancel::Cancel,
    error::{Stage, guard},
    page::Rotation,
    tesseract::Tesseract,
};

/// Pieces that count for the direction of lines have a side of so many pixels.
const MIN_SIDE: i32 = 6;
/// So many times as many letters must have their neighbour beside them as above them, or the other way round.
const MIN_LINES: usize = 5;
/// Fewer neighbours show nothing.
const MIN_PAIRS: usize = 60;
/// So many times as many neighbours must differ at their tops as at their feet, in tenths. Three times is Russian upside down.
const MIN_RATIO: usize = 25;
/// The part of all neighbours that must differ there, in percent. Russian and Korean reach 22, English never less than 28.
const MIN_SHARE: usize = 25;
/// The part of all neighbours whose feet must agree, in percent.
const MIN_AGREEING: usize = 60;

/// Tesseract answers at random on pages with fewer pieces of ink.
const MIN_GLYPHS: usize = 100;
/// Below this confidence Tesseract is not believed. It was wrong with up to 12, on scripts that it does not know and small
/// Korean print; where it is right it is mostly above 13, and on Cyrillic, Arabic, Hebrew and Japanese above 17.
const MIN_CONFIDENCE: f64 = 15.0;
/// Pages of fewer pixels are enlarged twice for Tesseract, which is wrong seven times as often without.
const MAX_ENLARGED: u32 = 6_000_000;

/// Finds how pages must be turned to be upright.
#[derive(Debug, Clone)]
pub struct AutoRotate {
    tesseract: Option<Tesseract>,
}

impl AutoRotate {
    /// `tesseract` is asked where the print does not show it.
    #[must_use]
    pub fn new(tesseract: Option<Tesseract>) -> Self {
        Self { tesseract }
    }

    /// The turn that rights a page; none where that is not certain. `of_text` is what its text layer says.
    #[must_use]
    pub fn rotation_of(
        &self,
        page: &RgbImage,
        of_text: Option<Rotation>,
        cancel: &Cancel,
    ) -> Rotation {
        if let Some(rotation) = of_text {
            return rotation;
        }
        let found = guard(Stage::Prepare, "the search for print", || {
            Ok(glyphs(&Ink::of(page)))
        });
        let glyphs = found.unwrap_or_default();
        of_print(&glyphs)
            .or_else(|| self.ask(page, &glyphs, cancel))
            .unwrap_or_default()
    }

    /// What Tesseract says, if it is sure. It takes seconds, so that it is asked of pages with lines alone.
    fn ask(&self, page: &RgbImage, glyphs: &[Glyph], cancel: &Cancel) -> Option<Rotation> {
        let tesseract = self.tesseract.as_ref()?;
        are_rows(count_lines(glyphs, &transposed(glyphs)))?;
        let letters = glyphs
            .iter()
            .filter(|glyph| glyph.longer_side() >= MIN_SIDE);
        if letters.count() < MIN_GLYPHS {
            return None;
        }
        let (width, height) = page.dimensions();
        let enlarged = (width * height < MAX_ENLARGED)
            .then(|| resize(page.clone(), 2 * width, 2 * height).ok());
        let page = enlarged.as_ref().and_then(Option::as_ref).unwrap_or(page);
        match tesseract.orientation(page, cancel) {
            Ok(Some((rotation, confidence))) if confidence >= MIN_CONFIDENCE => Some(rotation),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!("--auto-rotate: {error}");
                None
            }
        }
    }
}

/// The turn that rights a page, if its print shows that.
#[must_use]
pub fn print_rotation(page: &RgbImage) -> Option<Rotation> {
    of_print(&glyphs(&Ink::of(page)))
}

/// The number of neighbouring letters in the page's lines, in whichever direction there are more.
#[must_use]
pub fn count_print(page: &RgbImage) -> usize {
    let glyphs = glyphs(&Ink::of(page));
    let (rows, columns) = count_lines(&glyphs, &transposed(&glyphs));
    rows.max(columns)
}

fn of_print(glyphs: &[Glyph]) -> Option<Rotation> {
    let transposed = transposed(glyphs);
    // On its side, a page is looked at with its axes exchanged, which leaves what is left of it above.
    let rotation = if are_rows(count_lines(glyphs, &transposed))? {
        let upright = is_upright(Edges::of(glyphs))?;
        if upright {
            Rotation::None
        } else {
            Rotation::Half
        }
    } else if is_upright(Edges::of(&transposed))? {
        Rotation::Quarter
    } else {
        Rotation::ThreeQuarters
    };
    Some(rotation)
}

fn transposed(glyphs: &[Glyph]) -> Vec<Glyph> {
    glyphs.iter().map(Glyph::transposed).collect()
}

/// Whether lines are rows, or columns; none if it is not clear.
fn are_rows((rows, columns): (usize, usize)) -> Option<bool> {
    let are_rows = rows >= MIN_LINES * (columns + 1);
    let are_clear = are_rows || columns >= MIN_LINES * (rows + 1);
    are_clear.then_some(are_rows)
}

/// The number of letters that are nearer to the one beside them, and of those that are nearer to the one below.
fn count_lines(glyphs: &[Glyph], transposed: &[Glyph]) -> (usize, usize) {
    let gaps = |glyphs: &[Glyph]| -> Vec<Option<i32>> {
        let large = |glyph: &&Glyph| glyph.longer_side() >= MIN_SIDE;
        let glyphs: Vec<Glyph> = glyphs.iter().filter(large).copied().collect();
        let next = neighbours(&glyphs).into_iter().zip(&glyphs);
        next.map(|(next, glyph)| Some((glyphs[next?].left - glyph.right).max(0)))
            .collect()
    };
    let (mut rows, mut columns) = (0, 0);
    for (beside, below) in gaps(glyphs).into_iter().zip(gaps(transposed)) {
        let (beside, below) = match (beside, below) {
            (None, None) => continue,
            (beside, below) => (
                beside.unwrap_or(i32::MAX / 4),
                below.unwrap_or(i32::MAX / 4),
            ),
        };
        rows += usize::from(2 * beside + 1 < below);
        columns += usize::from(2 * below + 1 < beside);
    }
    (rows, columns)
}

/// Whether lines stand on their feet, or on their heads; none if it is not clear.
fn is_upright(edges: Edges) -> Option<bool> {
    let Edges {
        pairs,
        both,
        rise,
        hang,
    } = edges;
    let (more, less) = (rise.max(hang), rise.min(hang));
    let is_clear = pairs >= MIN_PAIRS
        && 10 * more >= MIN_RATIO * (less + 1)
        && 100 * more >= MIN_SHARE * pairs
        && 100 * (more + both) >= MIN_AGREEING * pairs;
    is_clear.then_some(rise > hang)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters as boxes: `x` is 8 high, `l` rises by 4, `p` hangs by 4, `a` does neither; 6 wide, 2 apart.
    fn lines(text: &str, rows: usize) -> RgbImage {
        let mut page = RgbImage::from_pixel(800, 1000, image::Rgb([255; 3]));
        for row in 0..rows {
            let foot = 60 + 28 * row as u32;
            for (place, letter) in text.chars().cycle().take(80).enumerate() {
                let left = 60 + 8 * place as u32;
                let (top, bottom) = match letter {
                    ' ' => continue,
                    'l' => (foot - 12, foot),
                    'p' => (foot - 8, foot + 4),
                    _ => (foot - 8, foot),
                };
                for (x, y) in (left..left + 6).flat_map(|x| (top..bottom).map(move |y| (x, y))) {
                    page.put_pixel(x, y, image::Rgb([20; 3]));
                }
            }
        }
        page
    }

    #[test]
    fn print_is_found_at_each_angle() {
        let page = lines("xlxxlx xllxp lxxl ", 20);
        for turned in Rotation::ALL {
            assert_eq!(
                print_rotation(&turned.turn(&page)),
                Some(turned.reversed()),
                "{turned:?}"
            );
        }
        // White on black.
        let mut dark = Rotation::Half.turn(&page);
        image::imageops::invert(&mut dark);
        assert_eq!(print_rotation(&dark), Some(Rotation::Half));
    }

    #[test]
    fn print_that_does_not_show_its_direction_is_left_alone() {
        let blank = RgbImage::from_pixel(800, 1000, image::Rgb([255; 3]));
        for (what, page) in [
            ("capitals and figures", lines("xxxxx xxxx xxx ", 20)),
            ("as many rise as hang", lines("xlxpxlxp xlxp ", 20)),
            ("few rise", lines("xxxxxxxlxxx xxxxxxp ", 20)),
            ("few letters", lines("xlx ", 1)),
            ("nothing", blank),
            ("a single pixel", RgbImage::new(1, 1)),
        ] {
            for turned in Rotation::ALL {
                let found = print_rotation(&turned.turn(&page));
                assert_eq!(found, None, "{what}, {turned:?}");
            }
        }
    }

    #[test]
    fn text_layer_decides_before_print() {
        let page = lines("xlxxlx xllxp lxxl ", 20);
        let finder = AutoRotate::new(None);
        let found = |of_text| finder.rotation_of(&page, of_text, &Cancel::default());
        assert_eq!(found(Some(Rotation::Quarter)), Rotation::Quarter);
        assert_eq!(found(None), Rotation::None);
    }
}
