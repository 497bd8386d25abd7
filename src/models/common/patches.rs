//! A prepared page as the vision tower's input rows, and the order in which everything about patches is listed.

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use image::RgbImage;

/// How pixels become patches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PatchSettings {
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Side of a block of patches that becomes one image token.
    pub merge_size: usize,
    /// Channel means that pixels in 0..=1 are normalised with.
    pub mean: [f32; 3],
    /// Channel deviations that pixels in 0..=1 are normalised with.
    pub std: [f32; 3],
}

impl PatchSettings {
    /// Sides of a prepared page are multiples of this many pixels.
    #[must_use]
    pub fn factor(&self) -> usize {
        self.patch_size * self.merge_size
    }
}

/// The patches of one page, before merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub cols: usize,
}

impl Grid {
    /// The grid of an image of `width` × `height` pixels.
    ///
    /// # Errors
    /// A side is not a positive multiple of the patch size times the merge size.
    pub fn of(width: u32, height: u32, settings: &PatchSettings) -> Result<Self> {
        let (width, height, factor) = (width as usize, height as usize, settings.factor());
        ensure!(
            width > 0
                && height > 0
                && width.is_multiple_of(factor)
                && height.is_multiple_of(factor),
            "a page of {width}×{height} pixels is not a multiple of {factor} on both sides"
        );
        Ok(Self {
            rows: height / settings.patch_size,
            cols: width / settings.patch_size,
        })
    }

    /// Number of patches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Whether there is no patch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The grid of merged patches: one image token each.
    #[must_use]
    pub fn merged(&self, merge: usize) -> Self {
        Self {
            rows: self.rows / merge,
            cols: self.cols / merge,
        }
    }

    /// `(row, col)` of every patch in the model's order: merge blocks in reading order, and the patches of a block in
    /// reading order inside it.
    pub fn merge_order(self, merge: usize) -> impl Iterator<Item = (usize, usize)> {
        let blocks = self.merged(merge);
        (0..self.len()).map(move |index| {
            let (block, inside) = (index / (merge * merge), index % (merge * merge));
            (
                block / blocks.cols * merge + inside / merge,
                block % blocks.cols * merge + inside % merge,
            )
        })
    }
}

/// The rows that the patch embedding multiplies: shape `(patches, channels · patch²)`, normalised.
///
/// The reference's rows are twice as wide, since it repeats a still image as two frames; see
/// [`load_patch_embed`](super::tower::load_patch_embed) for how the weight is folded instead.
///
/// # Errors
/// The image does not fit the patch grid.
pub fn patchify(
    image: &RgbImage,
    settings: &PatchSettings,
    device: &Device,
    dtype: DType,
) -> Result<(Tensor, Grid)> {
    let grid = Grid::of(image.width(), image.height(), settings)?;
    let rows = patch_rows(image, grid, settings);
    let tensor = Tensor::from_vec(rows, (grid.len(), 3 * settings.patch_size.pow(2)), device)?;
    Ok((tensor.to_dtype(dtype)?, grid))
}

fn patch_rows(image: &RgbImage, grid: Grid, settings: &PatchSettings) -> Vec<f32> {
    let patch = settings.patch_size;
    let table = normalised_levels(settings);
    let (pixels, stride) = (image.as_raw(), image.width() as usize * 3);
    let mut rows = Vec::with_capacity(pixels.len());
    for (row, col) in grid.merge_order(settings.merge_size) {
        for (channel, levels) in table.iter().enumerate() {
            for y in row * patch..(row + 1) * patch {
                let start = y * stride + col * patch * 3;
                let line = &pixels[start..start + patch * 3];
                rows.extend(
                    line.iter()
                        .skip(channel)
                        .step_by(3)
                        .map(|&level| levels[level as usize]),
                );
            }
        }
    }
    rows
}

/// What each of the 256 levels becomes, per channel: `(level / 255 − mean) / std`.
fn normalised_levels(settings: &PatchSettings) -> [[f32; 256]; 3] {
    std::array::from_fn(|channel| {
        let (mean, std) = (
            settings.mean[channel] * 255.0,
            settings.std[channel] * 255.0,
        );
        std::array::from_fn(|level| (level as f32 - mean) / std)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn merge_order_goes_block_by_block() {
        let order: Vec<_> = Grid { rows: 2, cols: 4 }.merge_order(2).collect();
        assert_eq!(
            order,
            [
                (0, 0),
                (0, 1),
                (1, 0),
                (1, 1),
                (0, 2),
                (0, 3),
                (1, 2),
                (1, 3)
            ]
        );
    }

    /// Puts the rows back together by the published order `(h/2, w/2, 2, 2)` of rows and `(C, 16, 16)` of columns.
    fn unpatchify(rows: &[Vec<f32>], width: usize, height: usize) -> RgbImage {
        let mut image = RgbImage::new(width as u32, height as u32);
        let mut rows = rows.iter();
        for (block_y, block_x) in
            (0..height / 32).flat_map(|y| (0..width / 32).map(move |x| (y, x)))
        {
            for (inner_y, inner_x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let (top, left) = (block_y * 32 + inner_y * 16, block_x * 32 + inner_x * 16);
                for (i, &value) in rows.next().unwrap().iter().enumerate() {
                    let (channel, y, x) = (i / 256, i / 16 % 16, i % 16);
                    let level = ((value * 0.5 + 0.5) * 255.0).round() as u8;
                    image.get_pixel_mut((left + x) as u32, (top + y) as u32)[channel] = level;
                }
            }
        }
        image
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn patches_reassemble_to_the_page(cols in 1_u32..5, rows in 1_u32..5, seed: u32) {
            let settings = PatchSettings { patch_size: 16, merge_size: 2, mean: [0.5; 3], std: [0.5; 3] };
            let level = |n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8;
            let page = RgbImage::from_fn(cols * 32, rows * 32, |x, y| {
                let n = seed ^ (y * 1_000 + x);
                image::Rgb([level(n), level(n + 7), level(n + 13)])
            });
            let (patches, _) = patchify(&page, &settings, &Device::Cpu, DType::F32).unwrap();
            let again = unpatchify(&patches.to_vec2().unwrap(), 32 * cols as usize, 32 * rows as usize);
            prop_assert!(again == page);
        }
    }
}
