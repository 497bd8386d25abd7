//! Images on a page that can't be decoded.

use image::RgbImage;

use super::{
    frame::Frame,
    glyphs::spread,
    objects::{Leaf, leaves},
};
use crate::prepare::decoders::pdfium::{ObjectKind, Page, Rect};

/// An image that covers less of its page is passed over,
const MIN_SHARE: f32 = 0.05;
/// or, on a page that came out blank, less than this.
const MIN_SHARE_OF_BLANK: f32 = 0.001;
/// Images that are decoded once more, at most.
const MAX_DECODED: usize = 64;

/// Whether an image that covers a good part of the page can't be decoded, and left nothing there.
///
/// Decoding takes long, so only images are tried where the page has one colour.
pub(super) fn any_undecodable(page: &Page, image: &RgbImage, is_blank: bool) -> bool {
    let frame = Frame::of(page);
    let all = leaves(page);
    let least = if is_blank {
        MIN_SHARE_OF_BLANK
    } else {
        MIN_SHARE
    };
    let candidates = all.iter().enumerate().filter(|(place, leaf)| {
        let Some(bounds) = leaf.bounds().filter(|_| leaf.kind == ObjectKind::Image) else {
            return false;
        };
        let shown = bounds.shared_with(&frame.shown);
        shown.area() >= least * frame.shown.area()
            && is_of_one_colour(image, &frame, &shown, &all[place + 1..])
    });
    candidates
        .take(MAX_DECODED)
        .any(|(_, leaf)| !leaf.object.is_decodable())
}

/// Whether there is nothing in a part of the page but one colour, and what is drawn over it.
fn is_of_one_colour(image: &RgbImage, frame: &Frame, part: &Rect, over: &[Leaf]) -> bool {
    let pixels = |rect: &Rect| {
        frame
            .place_rect(rect)
            .pixels(frame.size(), image.dimensions())
    };
    // The outermost pixels show what is beside the part, too.
    let [left, top, right, bottom] = pixels(part);
    let inner = [
        left + 1,
        top + 1,
        right.saturating_sub(1),
        bottom.saturating_sub(1),
    ];
    let [left, top, right, bottom] = inner;
    if left >= right || top >= bottom {
        return false;
    }
    let is_one = |spread: [(u8, u8); 3]| spread.iter().all(|(low, high)| high <= low);
    if is_one(spread(image, inner)) {
        return true;
    }
    let width = (right - left) as usize;
    let mut is_covered = vec![false; width * (bottom - top) as usize];
    for rect in over.iter().filter_map(Leaf::bounds) {
        let covering = pixels(&rect);
        let columns = covering[0].saturating_sub(1).max(left)..(covering[2] + 1).min(right);
        for y in covering[1].saturating_sub(1).max(top)..(covering[3] + 1).min(bottom) {
            let row = (y - top) as usize * width;
            for x in columns.clone() {
                is_covered[row + (x - left) as usize] = true;
            }
        }
    }
    let mut first = None;
    let mut places = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
    let is_one = places.all(|(x, y)| {
        let is_covered = is_covered[(y - top) as usize * width + (x - left) as usize];
        let pixel = image.get_pixel(x, y).0;
        is_covered || *first.get_or_insert(pixel) == pixel
    });
    is_one && first.is_some()
}
