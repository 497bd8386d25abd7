//! Lines of print: which pieces of ink stand beside each other.

use super::glyphs::Glyph;

/// Rows of pixels that are searched together.
const BAND: i32 = 16;
/// A neighbour is nearer than this many pixels, and than this many heights in tenths.
const MAX_GAP: (i32, i32) = (240, 15);

/// The nearest piece on the right of each, in the same line.
#[must_use]
pub fn neighbours(glyphs: &[Glyph]) -> Vec<Option<usize>> {
    let bands = |glyph: &Glyph| (glyph.top / BAND) as usize..=((glyph.bottom - 1) / BAND) as usize;
    let count = glyphs.iter().map(|glyph| *bands(glyph).end() + 1).max();
    let mut by_band = vec![Vec::new(); count.unwrap_or(0)];
    let mut in_order: Vec<usize> = (0..glyphs.len()).collect();
    in_order.sort_unstable_by_key(|&place| glyphs[place].left);
    for place in in_order {
        for band in bands(&glyphs[place]) {
            by_band[band].push(place);
        }
    }
    let nearest = |place: usize| {
        let glyph = &glyphs[place];
        let mut nearest = None;
        for band in &by_band[bands(glyph)] {
            let from = band.partition_point(|&other| glyphs[other].left < glyph.left);
            for &other in &band[from..] {
                let gap = glyphs[other].left - glyph.right;
                if gap > MAX_GAP.0 || nearest.is_some_and(|(least, _)| gap >= least) {
                    break;
                }
                if other != place && follows(glyph, &glyphs[other]) {
                    nearest = Some((gap, other));
                }
            }
        }
        nearest.map(|(_, other)| other)
    };
    (0..glyphs.len()).map(nearest).collect()
}

/// Whether a piece stands in the line of another one, on its right.
fn follows(glyph: &Glyph, next: &Glyph) -> bool {
    let shared = glyph.bottom.min(next.bottom) - glyph.top.max(next.top);
    let is_beside = 2 * shared >= glyph.height().min(next.height());
    let narrower = glyph.width().min(next.width());
    let is_right = next.left + next.right > glyph.left + glyph.right + narrower;
    let gap = next.left - glyph.right;
    is_beside && is_right && gap * 10 <= MAX_GAP.1 * glyph.height().max(next.height())
}
