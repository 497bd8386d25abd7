//! Pages with nothing on them, recognised before a model can invent something.

use image::RgbImage;

/// The edge that is not looked at, as a part of the page's sides: scanners leave shadows there.
const MARGIN: f64 = 0.02;
/// How far a channel must be from the background's to be ink.
const CONTRAST: u8 = 32;
/// So many of a pixel's eight neighbours must be ink for it to count: noise stands alone, strokes don't.
const NEIGHBOURS: usize = 3;
/// The part of the page that must be ink. The digit 1 in 10 points, alone on an A4 page, covers twice as much.
const COVERAGE: f64 = 2e-5;

/// Whether there is no ink on a page: nothing but its background, noise, single specks and shadows at the edge.
///
/// The background is whatever colour most of the page has, so a dark page without writing is blank too. Where this errs,
/// it errs towards reading the page.
#[must_use]
pub fn is_blank(page: &RgbImage) -> bool {
    let (width, height) = (page.width() as usize, page.height() as usize);
    let background = background(page);
    let is_ink: Vec<bool> = page
        .pixels()
        .map(|pixel| {
            pixel
                .0
                .iter()
                .zip(background)
                .any(|(&value, ground)| value.abs_diff(ground) > CONTRAST)
        })
        .collect();
    let (left, top) = (margin(width), margin(height));
    let enough = (COVERAGE * (width * height) as f64).max(1.0) as usize;
    let rows = top..height - top;
    let ink = rows.flat_map(|y| (left..width - left).map(move |x| (x, y)));
    ink.filter(|&(x, y)| {
        is_ink[y * width + x] && neighbours(&is_ink, width, height, x, y) >= NEIGHBOURS
    })
    .nth(enough - 1)
    .is_none()
}

fn margin(side: usize) -> usize {
    (MARGIN * side as f64) as usize
}

/// The commonest value of each channel.
fn background(page: &RgbImage) -> [u8; 3] {
    let mut counts = [[0_u32; 256]; 3];
    for pixel in page.pixels() {
        for (counts, &value) in counts.iter_mut().zip(&pixel.0) {
            counts[usize::from(value)] += 1;
        }
    }
    counts.map(|counts| {
        let commonest = counts.iter().enumerate().max_by_key(|&(_, count)| count);
        commonest.map_or(255, |(value, _)| value as u8)
    })
}

fn neighbours(is_ink: &[bool], width: usize, height: usize, x: usize, y: usize) -> usize {
    let (columns, rows) = (
        x.saturating_sub(1)..(x + 2).min(width),
        y.saturating_sub(1)..(y + 2).min(height),
    );
    let around: usize = rows
        .map(|y| {
            is_ink[y * width..][columns.clone()]
                .iter()
                .filter(|&&ink| ink)
                .count()
        })
        .sum();
    // The pixel itself is no neighbour of its own.
    around - usize::from(is_ink[y * width + x])
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// An A4 page at 150 dpi.
    const WIDTH: u32 = 1240;
    const HEIGHT: u32 = 1754;

    fn page(color: [u8; 3]) -> RgbImage {
        RgbImage::from_pixel(WIDTH, HEIGHT, Rgb(color))
    }

    /// A reproducible number below `below` for each call.
    fn dice(state: &mut u64, below: u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*state >> 33) % below
    }

    fn fill(page: &mut RgbImage, x: u32, y: u32, width: u32, height: u32, color: [u8; 3]) {
        for y in y..y + height {
            for x in x..x + width {
                page.put_pixel(x, y, Rgb(color));
            }
        }
    }

    #[test]
    fn white_coloured_and_black_pages_are_blank() {
        for color in [[255; 3], [250, 240, 210], [120, 160, 200], [0; 3]] {
            assert!(is_blank(&page(color)), "{color:?}");
        }
        assert!(is_blank(&RgbImage::from_pixel(1, 1, Rgb([7; 3]))));
    }

    #[test]
    fn noise_dust_and_edge_shadows_are_blank() {
        let mut state = 1;
        let mut scan = page([240; 3]);
        for pixel in scan.pixels_mut() {
            *pixel = Rgb([230 + dice(&mut state, 21) as u8; 3]);
        }
        for _ in 0..500 {
            let (x, y) = (
                dice(&mut state, WIDTH.into()),
                dice(&mut state, HEIGHT.into()),
            );
            scan.put_pixel(x as u32, y as u32, Rgb([20; 3]));
        }
        fill(&mut scan, 0, 0, WIDTH / 60, HEIGHT, [60; 3]);
        fill(
            &mut scan,
            0,
            HEIGHT - HEIGHT / 60,
            WIDTH,
            HEIGHT / 60,
            [60; 3],
        );
        assert!(is_blank(&scan));
    }

    #[test]
    fn page_with_only_a_number_is_not_blank() {
        // The stem of a 1 in 10 points, in black and in a grey that can just be seen.
        for ink in [[0; 3], [200; 3]] {
            let mut page = page([255; 3]);
            fill(&mut page, WIDTH / 2, HEIGHT - 80, 3, 20, ink);
            assert!(!is_blank(&page), "{ink:?}");
        }
    }

    #[test]
    fn yellow_on_white_and_white_on_black_are_not_blank() {
        for (ground, ink) in [([255; 3], [255, 255, 0]), ([0; 3], [255; 3])] {
            let mut page = page(ground);
            fill(&mut page, 300, 300, 200, 4, ink);
            assert!(!is_blank(&page));
        }
    }
}
