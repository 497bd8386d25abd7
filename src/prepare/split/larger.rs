//! How large a page has to be for its print to be read.

use image::RgbImage;

use super::letters::letter_height;
use crate::page::PixelBudget;

/// Models read small letters of this height, in pixels. Those of print of 10 points on A4 have 10 pixels where a model takes two
/// megapixels.
const MIN_LETTERS: f64 = 5.0;
/// Letters that are lower are made so many times as high as they have to be.
const GOOD: f64 = 1.6;
/// Parts of a long page are seen at its own size while their letters are lower than so many times the height that is good.
const LARGE: f64 = 2.0;
/// A longer page is read in parts, whatever its print.
pub(super) const MAX_RATIO: f64 = 4.0;
/// The ratio of the sides of its parts.
pub(super) const PART_RATIO: f64 = 1.4;
/// A page becomes at most so many times as large as the model takes it.
pub const MAX_PARTS: u64 = 16;
/// What is cut where there is no ink is not cut into equal parts.
const WASTE: f64 = 0.8;
/// A page that would become less than so many times as long and wide stays as it is.
const MIN_SCALE: f64 = 1.15;
/// Short pages are seen whole, however they are.
pub(super) const MIN_LENGTH: u32 = 1024;

/// What is known of a page when it has the size that the model takes it in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Page {
    /// (width, height) in pixels.
    pub size: (u32, u32),
    /// The most that it can be made, in the same form: there is no more to be seen in its file.
    pub most: (u32, u32),
    /// The height of its small letters in pixels; none if it is not known.
    pub letters: Option<f64>,
}

impl Page {
    /// The page as it is seen in `image`, which is reduced from `most` pixels.
    #[must_use]
    pub fn seen(image: &RgbImage, most: (u32, u32)) -> Self {
        let mut page = Self {
            size: image.dimensions(),
            most,
            letters: None,
        };
        // Where there is no more to be seen, it does not matter how small the print is.
        if page.most_scale() >= MIN_SCALE {
            page.letters = letter_height(image);
        }
        page
    }

    /// How many times as long and wide it can be made.
    fn most_scale(&self) -> f64 {
        (pixels(self.most) / pixels(self.size)).sqrt()
    }

    fn ratio(&self) -> f64 {
        let (width, height) = self.size;
        f64::from(width.max(height)) / f64::from(width.min(height).max(1))
    }

    fn is_long(&self) -> bool {
        self.ratio() > MAX_RATIO && self.most.0.max(self.most.1) >= MIN_LENGTH
    }
}

/// The height below which small letters are too low for a model that takes `usual` pixels, where it is given `pixels`, both at
/// most: who gives it fewer pixels wants less to be read.
#[must_use]
pub fn min_letters(pixels: u64, usual: u64) -> f64 {
    let part = pixels as f64 / usual.max(1) as f64;
    MIN_LETTERS * part.min(1.0).sqrt()
}

/// The budget of pixels at which the print of a page can be read, if that is more than the model takes at once, or the page
/// is to be cut at the same size.
#[must_use]
pub fn larger(page: &Page, budget: &PixelBudget, min_letters: f64) -> Option<PixelBudget> {
    let good = GOOD * min_letters;
    let for_print = page.letters.filter(|&letters| letters < min_letters);
    let mut scale = for_print.map_or(1.0, |letters| good / letters.max(0.5));
    if page.is_long() && for_print.is_none() {
        let short = f64::from(page.size.0.min(page.size.1));
        let filled = (budget.max_pixels as f64 / PART_RATIO).sqrt() / short;
        let enough = page
            .letters
            .map_or(f64::INFINITY, |letters| LARGE * good / letters);
        scale = filled.min(enough).max(1.0);
    }
    let most = page.most_scale();
    let largest = (budget.max_pixels as f64 * MAX_PARTS as f64 * WASTE / pixels(page.size)).sqrt();
    let scale = scale.min(most).min(largest).max(1.0);
    if scale < MIN_SCALE && !page.is_long() {
        return None;
    }
    let max_pixels = (pixels(page.size) * scale * scale).ceil() as u64;
    Some(PixelBudget {
        max_pixels: max_pixels.max(budget.min_pixels),
        ..*budget
    })
}

fn pixels((width, height): (u32, u32)) -> f64 {
    f64::from(width) * f64::from(height)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: PixelBudget = PixelBudget {
        factor: 32,
        min_pixels: 65_536,
        max_pixels: 2_097_152,
    };

    /// How many times as many pixels a page gets.
    fn times(size: (u32, u32), most: (u32, u32), letters: Option<f64>) -> Option<f64> {
        let page = Page {
            size,
            most,
            letters,
        };
        let pixels = f64::from(size.0) * f64::from(size.1);
        larger(&page, &BUDGET, MIN_LETTERS).map(|budget| budget.max_pixels as f64 / pixels)
    }

    #[test]
    fn pages_of_small_print_are_enlarged_as_far_as_their_file_goes() {
        let (a4, a0) = ((1216, 1696), (9900, 14_000));
        assert_eq!(times(a4, (1654, 2339), Some(9.0)), None);
        assert_eq!(times(a4, (1654, 2339), None), None);
        let newspaper = times(a4, a0, Some(4.0)).unwrap();
        assert!((newspaper - 4.0).abs() < 0.01, "{newspaper}");
        let map = times(a4, a0, Some(1.0)).unwrap();
        assert!((12.0..16.0).contains(&map), "{map}");
        assert_eq!(times(a4, (1300, 1800), Some(3.0)), None, "there is no more");
        let some = times(a4, (2432, 3392), Some(1.0)).unwrap();
        assert!((some - 4.0).abs() < 0.01, "{some}");
    }

    #[test]
    fn long_pages_are_cut_at_their_own_size_and_short_ones_are_not() {
        let receipt = times((384, 5152), (600, 8000), None).unwrap();
        assert!(
            (receipt - 2.43).abs() < 0.05,
            "as it is in its file: {receipt}"
        );
        assert_eq!(times((600, 3000), (600, 3000), Some(14.0)), Some(1.0));
        assert_eq!(times((64, 640), (64, 640), None), None);
    }

    #[test]
    fn smaller_pages_that_were_asked_for_may_have_smaller_print() {
        let same = |pixels, usual, letters: f64| {
            assert!(
                (min_letters(pixels, usual) - letters).abs() < 1e-9,
                "{pixels} of {usual}"
            );
        };
        same(2_097_152, 2_097_152, 5.0);
        same(524_288, 2_097_152, 2.5);
        same(9_000_000, 2_097_152, 5.0);
    }
}
