//! Pages with nothing on them, recognised before a model can invent something.

use image::RgbImage;

/// The edge in which scanners leave shadows, as a part of the page's sides, or of twice the shorter one.
const MARGIN: f64 = 0.02;
/// How far a channel must be from the background's to be ink: at least so much, and as much as this on noisy paper.
const CONTRAST: (u8, u8) = (12, 32);
/// Noise of three quarters of the pixels, times this, is no ink yet.
const ABOVE_NOISE: u8 = 5;
/// So many of a pixel's eight neighbours must be ink for it to count: noise stands alone, strokes don't.
const NEIGHBOURS: usize = 3;
/// The part of the page that must be ink. The digit 1 in 10 points, alone on an A4 page, covers twice as much.
const COVERAGE: f64 = 2e-5;
/// With what is in the margin it must be so many times as much: more specks lie there.
const COVERAGE_WITH_MARGIN: usize = 8;

/// Whether there is no ink on a page: nothing but its background, noise, single specks and shadows at the edge.
///
/// The background is whatever colour most of the page has, so a dark page without writing is blank too. Where this errs,
/// it errs towards reading the page.
#[must_use]
pub fn is_blank(page: &RgbImage) -> bool {
    let (width, height) = (page.width() as usize, page.height() as usize);
    let distances = distances(page);
    let contrast = contrast(&distances);
    let mut is_ink: Vec<bool> = distances
        .iter()
        .map(|&distance| distance > contrast)
        .collect();
    let (left, top) = (margin(width, height), margin(height, width));
    let is_inside =
        |x: usize, y: usize| (left..width - left).contains(&x) && (top..height - top).contains(&y);
    remove_shadows(&mut is_ink, width, |x, y| !is_inside(x, y));
    let enough = (COVERAGE * (width * height) as f64).max(1.0) as usize;
    let (mut inside, mut anywhere) = (0, 0);
    for at in (0..is_ink.len()).filter(|&at| is_ink[at]) {
        let (x, y) = (at % width, at / width);
        if neighbours(&is_ink, width, height, x, y) >= NEIGHBOURS {
            anywhere += 1;
            inside += usize::from(is_inside(x, y));
        }
        if inside >= enough || anywhere >= COVERAGE_WITH_MARGIN * enough {
            return false;
        }
    }
    true
}

fn margin(side: usize, other: usize) -> usize {
    (MARGIN * side.min(2 * other) as f64) as usize
}

/// How far each pixel is from the background, in the channel in which it is farthest.
fn distances(page: &RgbImage) -> Vec<u8> {
    let background = background(page);
    let distance = |pixel: &image::Rgb<u8>| {
        let channels = pixel.0.iter().zip(background);
        let channels = channels.map(|(&value, ground)| value.abs_diff(ground));
        channels.max().unwrap_or(0)
    };
    page.pixels().map(distance).collect()
}

/// The distance that makes ink on such paper. Print may be faint where the paper is even.
fn contrast(distances: &[u8]) -> u8 {
    let mut counts = [0_usize; 256];
    for &distance in distances {
        counts[usize::from(distance)] += 1;
    }
    let mut below = 0;
    let noise = counts.iter().position(|count| {
        below += count;
        4 * below >= 3 * distances.len()
    });
    let noise = noise.unwrap_or(0).min(255) as u8;
    let (least, most) = CONTRAST;
    noise.saturating_mul(ABOVE_NOISE).clamp(least, most)
}

/// Takes out the ink that goes on to the edge of the page without a gap, as far as the margin reaches.
fn remove_shadows(is_ink: &mut [bool], width: usize, is_margin: impl Fn(usize, usize) -> bool) {
    let height = is_ink.len() / width.max(1);
    let rows = [0, height.saturating_sub(1)];
    let columns = [0, width.saturating_sub(1)];
    let horizontal = rows.iter().flat_map(|&y| (0..width).map(move |x| (x, y)));
    let vertical = columns
        .iter()
        .flat_map(|&x| (0..height).map(move |y| (x, y)));
    let mut open: Vec<_> = horizontal.chain(vertical).collect();
    while let Some((x, y)) = open.pop() {
        if x >= width || y >= height || !is_margin(x, y) || !is_ink[y * width + x] {
            continue;
        }
        is_ink[y * width + x] = false;
        open.extend([
            (x + 1, y),
            (x, y + 1),
            (x.wrapping_sub(1), y),
            (x, y.wrapping_sub(1)),
        ]);
    }
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

    /// Letters of a kind: stems of 3 by 14 pixels, so many from (`x`, `y`) on.
    fn letters(page: &mut RgbImage, (x, y): (u32, u32), count: u32, ink: u8) {
        for letter in 0..count {
            fill(page, x + 9 * letter, y, 3, 14, [ink; 3]);
        }
    }

    #[test]
    fn faint_print_is_not_blank() {
        for (ground, ink) in [(200, 170), (255, 224), (255, 240), (30, 50)] {
            let mut page = page([ground; 3]);
            letters(&mut page, (300, 300), 5, ink);
            assert!(!is_blank(&page), "{ink} on {ground}");
        }
        // On paper that is not quite even.
        let mut state = 1;
        let mut page = page([230; 3]);
        for pixel in page.pixels_mut() {
            *pixel = Rgb([228 + dice(&mut state, 5) as u8; 3]);
        }
        assert!(is_blank(&page));
        letters(&mut page, (300, 300), 5, 200);
        assert!(!is_blank(&page));
    }

    #[test]
    fn text_in_the_margin_is_not_blank_but_shadows_are() {
        let mut strip = RgbImage::from_pixel(8000, 300, Rgb([255; 3]));
        letters(&mut strip, (20, 100), 12, 0);
        assert!(!is_blank(&strip), "at the start of a strip");
        let mut header = page([255; 3]);
        letters(&mut header, (400, 8), 40, 0);
        assert!(!is_blank(&header), "a header");
        let mut shadow = page([255; 3]);
        for y in 0..HEIGHT {
            // Ragged, with a soft rim.
            let depth = 5 + (y * 7 % 13);
            fill(&mut shadow, 0, y, depth, 1, [60; 3]);
            fill(&mut shadow, depth, y, 4, 1, [200; 3]);
        }
        letters(&mut shadow, (1225, 900), 1, 0);
        assert!(is_blank(&shadow), "a shadow and a speck");
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
