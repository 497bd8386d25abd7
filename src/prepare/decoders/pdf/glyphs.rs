//! Whether the text of a page is seen on it.

use std::collections::{BTreeMap, HashSet};

use image::RgbImage;

use super::frame::Frame;
use crate::prepare::{
    decoders::pdfium::{Char, Page},
    script::Script,
};

/// What differs by more than this from its surroundings may be seen by a model.
const VISIBLE_CONTRAST: u8 = 8;
/// A text whose colour is as near as this to its background's is not meant to be seen.
const HIDDEN_CONTRAST: u8 = 24;
/// What is less opaque is not meant to be seen.
const MIN_ALPHA: u8 = 32;
/// Smaller characters may leave no trace, in pixels.
const MIN_SIDE: u32 = 3;
/// Characters of a script that are missing are its font's fault from this part of them on.
const MIN_MISSING: f64 = 0.1;

/// What of a page's text is seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Characters that leave a trace, by script, and all that should.
    scripts: BTreeMap<Script, Counts>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    drawn: usize,
    /// Not drawn, of a font that is not part of the file.
    missing: usize,
    /// Not drawn, of a font that is.
    other: usize,
}

impl Seen {
    /// Looks for each character of `page`, but for the `hidden` texts, where it should be in its `image`.
    pub(super) fn of(page: &Page, image: &RgbImage, hidden: &HashSet<usize>) -> Self {
        let mut seen = Self::default();
        let frame = Frame::of(page);
        let Some(text) = page.text() else {
            return seen;
        };
        for char in text.chars() {
            let Some(character) = char::from_u32(char.unicode()).filter(|c| c.is_alphanumeric())
            else {
                continue;
            };
            if char
                .object()
                .is_none_or(|object| hidden.contains(&object.id()))
            {
                continue;
            }
            let Some(is_drawn) = is_drawn(&char, &frame, image) else {
                continue;
            };
            let counts = seen.scripts.entry(Script::of(character)).or_default();
            let object = char.object().filter(|_| !is_drawn);
            match object.map(|object| object.has_embedded_font()) {
                _ if is_drawn => counts.drawn += 1,
                Some(false) => counts.missing += 1,
                _ => counts.other += 1,
            }
        }
        seen
    }

    /// Whether any character is seen.
    pub(super) fn any(&self) -> bool {
        self.scripts.values().any(|counts| counts.drawn > 0)
    }

    /// Whether there is any that should be, and is not.
    pub(super) fn any_missing(&self) -> bool {
        self.scripts
            .values()
            .any(|counts| counts.missing + counts.other > 0)
    }

    /// The script of which most characters are missing, since no font has them.
    pub(super) fn missing(&self) -> Option<Script> {
        let missing = self.scripts.iter().filter(|(_, counts)| {
            let all = counts.drawn + counts.missing + counts.other;
            counts.missing > 0 && counts.missing as f64 >= MIN_MISSING * all as f64
        });
        let most = missing.max_by_key(|(_, counts)| counts.missing);
        most.map(|(&script, _)| script)
    }
}

/// Whether a character leaves a trace; `None` if it is not meant to, or too small to tell.
fn is_drawn(char: &Char, frame: &Frame, image: &RgbImage) -> Option<bool> {
    if char.is_generated() || char.object()?.is_invisible_text() {
        return None;
    }
    let area = frame.place_rect(&char.loose_box()?);
    let [left, top, right, bottom] = area.pixels(frame.size(), image.dimensions());
    if right.saturating_sub(left) < MIN_SIDE || bottom.saturating_sub(top) < MIN_SIDE {
        return None;
    }
    let around = spread(image, [left, top, right, bottom]);
    if around
        .iter()
        .any(|(low, high)| high - low > VISIBLE_CONTRAST)
    {
        return Some(true);
    }
    let [colour @ .., alpha] = char.fill()?;
    let is_hidden = around
        .iter()
        .zip(colour)
        .all(|((low, _), channel)| low.abs_diff(channel) <= HIDDEN_CONTRAST);
    (alpha >= MIN_ALPHA && !is_hidden).then_some(false)
}

/// The smallest and the largest value of each channel.
pub(super) fn spread(image: &RgbImage, [left, top, right, bottom]: [u32; 4]) -> [(u8, u8); 3] {
    let mut spread = [(255, 0); 3];
    let width = image.width() as usize;
    for y in top..bottom {
        let row = y as usize * width;
        let row = &image.as_raw()[3 * (row + left as usize)..3 * (row + right as usize)];
        for pixel in row.chunks_exact(3) {
            for ((low, high), &value) in spread.iter_mut().zip(pixel) {
                *low = value.min(*low);
                *high = value.max(*high);
            }
        }
    }
    spread
}

/// Whether a text that is not part of the file's fonts is on the page: only that can be missing.
pub(super) fn may_miss_fonts(page: &Page) -> bool {
    super::objects::leaves(page)
        .iter()
        .any(|leaf| leaf.is_text() && !leaf.object.has_embedded_font())
}
