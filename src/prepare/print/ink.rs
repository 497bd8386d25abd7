//! What is ink on a page, and what is paper.

use std::slice::ChunksExact;

use image::RgbImage;

/// Pages of more pixels are looked at reduced.
const MAX_PIXELS: usize = 4_000_000;
/// The paper's brightness is that around a square of so many pixels.
const SQUARE: usize = 32;
/// Ink is darker than this part of the paper around it, in percent, and by at least so many levels.
const DARKER: (u32, u32) = (80, 20);
/// Pages darker than this are printed in white.
const DARK: u64 = 100;

/// Where a page has ink.
#[derive(Debug, Clone)]
pub struct Ink {
    /// Row by row.
    pixels: Vec<bool>,
    width: usize,
    step: usize,
}

impl Ink {
    /// Finds what is darker than the paper around it, or brighter on a dark page. A large page is looked at reduced.
    #[must_use]
    pub fn of(page: &RgbImage) -> Self {
        let pixels = page.width() as usize * page.height() as usize;
        let step = pixels.div_ceil(MAX_PIXELS).isqrt().max(1);
        let (light, width) = brightness(page, step);
        Self {
            pixels: darker(&light, width),
            width,
            step,
        }
    }

    /// Pixels of the page in a row or column of which one is made here.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Pixels in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.pixels.len() / self.width
    }

    /// From the top.
    pub fn rows(&self) -> ChunksExact<'_, bool> {
        self.pixels.chunks_exact(self.width)
    }

    /// From the top, to be changed.
    pub fn rows_mut(&mut self) -> std::slice::ChunksExactMut<'_, bool> {
        self.pixels.chunks_exact_mut(self.width)
    }
}

/// The brightness of each pixel, and the pixels of a row, where each stands for so many pixels beside and above each other.
fn brightness(page: &RgbImage, step: usize) -> (Vec<u8>, usize) {
    let (width, height) = (page.width() as usize, page.height() as usize);
    let (columns, rows) = ((width / step).max(1), (height / step).max(1));
    let mut light = Vec::with_capacity(columns * rows);
    for y in 0..rows {
        for x in 0..columns {
            let mut sum = 0_u32;
            for (x, y) in
                (0..step).flat_map(|dy| (0..step).map(move |dx| (x * step + dx, y * step + dy)))
            {
                let [red, green, blue] = page.get_pixel(x as u32, y as u32).0.map(u32::from);
                sum += (2 * red + 5 * green + blue) / 8;
            }
            light.push((sum / (step * step) as u32) as u8);
        }
    }
    let mean = light.iter().map(|&light| u64::from(light)).sum::<u64>() / light.len().max(1) as u64;
    if mean < DARK {
        for light in &mut light {
            *light = u8::MAX - *light;
        }
    }
    (light, columns)
}

/// Whether each pixel is darker than the paper around it.
fn darker(light: &[u8], width: usize) -> Vec<bool> {
    let height = light.len() / width;
    let (columns, rows) = (width.div_ceil(SQUARE), height.div_ceil(SQUARE));
    let mut sums = vec![(0_u32, 0_u32); columns * rows];
    for (y, row) in light.chunks_exact(width).enumerate() {
        for (x, square) in row.chunks(SQUARE).enumerate() {
            let (sum, count) = &mut sums[y / SQUARE * columns + x];
            *sum += square.iter().map(|&light| u32::from(light)).sum::<u32>();
            *count += square.len() as u32;
        }
    }
    let around = |x: usize, y: usize| {
        let (mut all, mut pixels) = (0, 0);
        for y in y.saturating_sub(1)..(y + 2).min(rows) {
            for (sum, count) in &sums[y * columns..][x.saturating_sub(1)..(x + 2).min(columns)] {
                all += sum;
                pixels += count;
            }
        }
        all / pixels.max(1)
    };
    let (percent, levels) = DARKER;
    let mut ink = Vec::with_capacity(light.len());
    for (y, row) in light.chunks_exact(width).enumerate() {
        for (x, square) in row.chunks(SQUARE).enumerate() {
            let paper = around(x, y / SQUARE);
            let is_ink = |&light: &u8| {
                let light = u32::from(light);
                light * 100 < paper * percent && light + levels < paper
            };
            ink.extend(square.iter().map(is_ink));
        }
    }
    ink
}
