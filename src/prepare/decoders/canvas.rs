//! A page that is filled row by row, and reduced meanwhile if it is large: memory follows from what the model sees, not from
//! what was scanned.

use image::RgbImage;

use super::pixels::{Decoded, too_much_memory};
use crate::{error::PageError, page::PixelBudget, prepare::resize::smart_resize};

/// Pages of more pixels are reduced while they are decoded: a 600 dpi scan of A2 is.
const MAX_PIXELS: u64 = 100_000_000;
/// Such a page keeps at least this many times the sides that it is resized to afterwards, as Pillow's `reducing_gap` does.
const GAP: u32 = 3;

/// A page that is filled from the top.
pub(super) struct Canvas {
    /// (width, height) before reduction.
    size: (u32, u32),
    /// So many rows and columns become one.
    factor: u32,
    image: RgbImage,
    row: u32,
    /// The sums of the rows since the last whole one of the image.
    sums: Vec<u32>,
}

impl Canvas {
    /// An empty page of `size`, (width, height), that is to be resized to the budget.
    ///
    /// # Errors
    /// No model takes a page of such sides, or there is no memory for it.
    pub(super) fn new(size: (u32, u32), budget: &PixelBudget) -> Result<Self, PageError> {
        let (width, height) = size;
        let mut factor = 1;
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            let (to_height, to_width) = smart_resize(height, width, budget)?;
            factor = (width / (GAP * to_width)).min(height / (GAP * to_height));
            factor = factor.max(1);
        }
        let (kept_width, kept_height) = (width.div_ceil(factor), height.div_ceil(factor));
        if u64::from(kept_width) * u64::from(kept_height) > 2 * MAX_PIXELS {
            return Err(too_much_memory());
        }
        Ok(Self {
            size,
            factor,
            image: RgbImage::from_pixel(kept_width, kept_height, image::Rgb([255; 3])),
            row: 0,
            sums: vec![
                0;
                if factor == 1 {
                    0
                } else {
                    3 * kept_width as usize
                }
            ],
        })
    }

    /// Fills the next row with RGB.
    pub(super) fn push(&mut self, rgb: &[u8]) {
        if self.row >= self.size.1 {
            return;
        }
        if self.factor == 1 {
            let start = self.row as usize * rgb.len();
            if let Some(row) = self.image.get_mut(start..start + rgb.len()) {
                row.copy_from_slice(rgb);
            }
            self.row += 1;
            return;
        }
        let boxes = rgb.chunks(3 * self.factor as usize);
        for (sums, pixels) in self.sums.chunks_exact_mut(3).zip(boxes) {
            for pixel in pixels.chunks_exact(3) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += u32::from(value);
                }
            }
        }
        self.row += 1;
        if self.row.is_multiple_of(self.factor) || self.row == self.size.1 {
            self.close_boxes();
        }
    }

    /// Makes a row of the image of the sums.
    fn close_boxes(&mut self) {
        let rows = (self.row - 1) % self.factor + 1;
        let row = (self.row - 1) / self.factor;
        let width = self.image.width();
        for column in 0..width {
            let columns = (self.size.0 - column * self.factor).min(self.factor);
            let count = rows * columns;
            let sums = &mut self.sums[3 * column as usize..][..3];
            let mean = |channel: usize| ((sums[channel] + count / 2) / count) as u8;
            let pixel = [mean(0), mean(1), mean(2)];
            self.image.put_pixel(column, row, image::Rgb(pixel));
            sums.fill(0);
        }
    }

    /// The page; rows that were not filled are white.
    pub(super) fn finish(self) -> Decoded {
        Decoded::whole(self.image.into()).reduced_from(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_page_is_reduced_to_box_means() {
        let budget = PixelBudget {
            factor: 1,
            min_pixels: 1,
            max_pixels: 10_000,
        };
        let (width, height) = (20_003_u32, 6_001_u32);
        let mut canvas = Canvas::new((width, height), &budget).unwrap();
        let factor = canvas.factor;
        assert!(factor > 10, "{factor}");
        // The left half is black, and every other row.
        let row: Vec<u8> = (0..width)
            .flat_map(|x| [if x < width / 2 { 0 } else { 200 }; 3])
            .collect();
        let black = vec![0; row.len()];
        for y in 0..height {
            canvas.push(if y % 2 == 0 { &row } else { &black });
        }
        let decoded = canvas.finish();
        assert_eq!(decoded.size(), (width, height));
        let image = decoded.into_rgb();
        assert_eq!(image.width(), width.div_ceil(factor));
        assert_eq!(image.get_pixel(3, 3).0, [0; 3]);
        let grey = image.get_pixel(image.width() - 1, 3).0[0];
        assert!((95..=110).contains(&grey), "{grey}");
    }
}
