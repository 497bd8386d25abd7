//! What is printed on a page: the boxes of connected ink.

use image::RgbImage;

/// Pages of more pixels are looked at reduced.
const MAX_PIXELS: usize = 4_000_000;
/// The paper's brightness is that around a square of so many pixels.
const SQUARE: usize = 32;
/// Ink is darker than this part of the paper around it, in percent, and by at least so many levels.
const DARKER: (u32, u32) = (80, 20);
/// Pages darker than this are printed in white.
const DARK: u64 = 100;
/// Larger pieces of ink are no letters, and smaller ones are dirt.
const SIDES: (i32, i32) = (2, 120);

/// The box of a connected piece of ink, in pixels; right and bottom are beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glyph {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) right: i32,
    pub(super) bottom: i32,
}

impl Glyph {
    pub(super) fn width(&self) -> i32 {
        self.right - self.left
    }

    pub(super) fn height(&self) -> i32 {
        self.bottom - self.top
    }

    pub(super) fn longer_side(&self) -> i32 {
        self.width().max(self.height())
    }

    pub(super) fn with(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// The box with its axes exchanged: what was on its side then lies in lines.
    pub(super) fn transposed(&self) -> Self {
        Self {
            left: self.top,
            top: self.left,
            right: self.bottom,
            bottom: self.right,
        }
    }
}

/// The pieces of ink on a page that may be letters.
pub(super) fn glyphs(page: &RgbImage) -> Vec<Glyph> {
    let (light, width) = brightness(page);
    let ink = ink(&light, width);
    let mut pieces = Pieces::default();
    let (mut before, mut row) = (Vec::new(), Vec::new());
    for (y, ink) in ink.chunks_exact(width).enumerate() {
        pieces.add_row(ink, y as i32, &before, &mut row);
        std::mem::swap(&mut before, &mut row);
        row.clear();
    }
    let (least, most) = SIDES;
    let mut found = pieces.whole();
    found.retain(|glyph| (least..=most).contains(&glyph.longer_side()));
    found
}

/// The brightness of each pixel, and the pixels of a row. A large page is reduced.
fn brightness(page: &RgbImage) -> (Vec<u8>, usize) {
    let (width, height) = (page.width() as usize, page.height() as usize);
    let step = (width * height).div_ceil(MAX_PIXELS).isqrt().max(1);
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
fn ink(light: &[u8], width: usize) -> Vec<bool> {
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

/// What something is part of in the end. Each thing is part of another one or, in the end, of itself.
pub(super) fn root(part_of: &mut [usize], mut place: usize) -> usize {
    while part_of[place] != place {
        part_of[place] = part_of[part_of[place]];
        place = part_of[place];
    }
    place
}

/// Pieces of ink as they grow row by row. A piece that has met another one points to it.
#[derive(Default)]
struct Pieces {
    boxes: Vec<Glyph>,
    part_of: Vec<usize>,
}

/// Ink in a row: from a column to another one, and its piece.
type Run = (i32, i32, usize);

impl Pieces {
    fn add_row(&mut self, ink: &[bool], y: i32, before: &[Run], row: &mut Vec<Run>) {
        let (mut x, mut first) = (0, 0);
        while x < ink.len() {
            if !ink[x] {
                x += 1;
                continue;
            }
            let left = x;
            while ink.get(x).is_some_and(|&ink| ink) {
                x += 1;
            }
            let (left, right) = (left as i32, x as i32);
            let mut run = Glyph {
                left,
                right,
                top: y,
                bottom: y + 1,
            };
            // What touches it above, also at a corner.
            while before.get(first).is_some_and(|above| above.1 < left) {
                first += 1;
            }
            let mut piece = None;
            let above = before[first..].iter().take_while(|above| above.0 <= right);
            for &(_, _, above) in above {
                let root = root(&mut self.part_of, above);
                match piece {
                    None => piece = Some(root),
                    Some(piece) if piece != root => {
                        run = run.with(&self.boxes[root]);
                        self.part_of[root] = piece;
                    }
                    Some(_) => {}
                }
            }
            let piece = if let Some(piece) = piece {
                self.boxes[piece] = self.boxes[piece].with(&run);
                piece
            } else {
                self.boxes.push(run);
                self.part_of.push(self.part_of.len());
                self.part_of.len() - 1
            };
            row.push((left, right, piece));
        }
    }

    fn whole(self) -> Vec<Glyph> {
        let boxes = self.boxes.into_iter().zip(self.part_of).enumerate();
        let whole = boxes.filter(|(place, (_, part_of))| place == part_of);
        whole.map(|(_, (glyph, _))| glyph).collect()
    }
}
