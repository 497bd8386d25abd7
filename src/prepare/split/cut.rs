//! Where a page is cut.
//!
//! From top to bottom, between lines, so that rows of tables and receipts stay whole. Only columns of running text are cut
//! apart first, since lines that stand beside each other there don't belong together.

use image::RgbImage;

use super::{
    larger::{MAX_RATIO, MIN_LENGTH},
    letters::height_in,
};
use crate::{
    page::{Joint, Part, PixelBudget},
    prepare::print::Ink,
};

/// Parts have this part of the height that they may have, so that a place to cut can be found near their ends.
const ROOM: f64 = 0.9;
/// A part is at most so many times as high as wide.
const MAX_PART_RATIO: f64 = 3.5;
/// The height of small letters where there is no print, in pixels.
const USUAL_LETTERS: usize = 8;
/// Ink in a row or column of more than this part of the page's shorter side is a line that is drawn, not a letter.
const RULE: usize = 12;
/// One pixel in so many may be ink where a page is cut: dust.
const DUST: usize = 1000;
/// Fewer spaces between lines say nothing of how large they mostly are.
const MIN_GAPS: usize = 4;
/// In letters' heights: what two parts share where they overlap, the space between columns, and the narrowest column.
const OVERLAP: usize = 10;
const GUTTER: usize = 1;
const MIN_COLUMN: usize = 16;
/// Running text has so many lines, of which half reach over this part of the column, in percent.
const PROSE: (usize, usize) = (6, 75);
/// A row of ink is a line of text up to so many letters' heights.
const MAX_LINE: usize = 5;

/// The parts that a page is read in, in reading order; none if the model takes it whole. Its longer side has `length` pixels in
/// the file.
#[must_use]
pub fn parts(page: &RgbImage, length: u32, budget: &PixelBudget) -> Vec<Part> {
    let (width, height) = page.dimensions();
    let is_large = u64::from(width) * u64::from(height) > budget.max_pixels;
    let is_long = length >= MIN_LENGTH && f64::from(height) > MAX_RATIO * f64::from(width);
    if !is_large && !is_long {
        return Vec::new();
    }
    let ink = Ink::of(page);
    let step = ink.step();
    let mut cutter = Cutter::new(ink, budget.max_pixels as f64);
    let whole = Area {
        left: 0,
        top: 0,
        right: cutter.width,
        bottom: cutter.height,
    };
    cutter.divide(whole, Joint::Paragraph);
    let found = cutter.parts;
    if found.len() < 2 {
        return Vec::new();
    }
    let full = |at: usize, end: usize, side: u32| {
        // What was left over when the page was reduced belongs to the last parts.
        if at == end { side } else { (at * step) as u32 }
    };
    let full = |(area, joint): (Area, Joint)| Part {
        area: [
            (area.left * step) as u32,
            (area.top * step) as u32,
            full(area.right, whole.right, width),
            full(area.bottom, whole.bottom, height),
        ],
        joint: match joint {
            Joint::Overlap(rows) => Joint::Overlap(rows * step as u32),
            joint => joint,
        },
    };
    found.into_iter().map(full).collect()
}

/// A rectangle, in the pixels of the ink; right and bottom are beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Area {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Area {
    fn width(&self) -> usize {
        self.right - self.left
    }

    fn height(&self) -> usize {
        self.bottom - self.top
    }

    /// One of its rows, from its top.
    fn row(&self, y: usize) -> Self {
        Self {
            top: self.top + y,
            bottom: self.top + y + 1,
            ..*self
        }
    }

    /// One of its columns, from its left side.
    fn column(&self, x: usize) -> Self {
        Self {
            left: self.left + x,
            right: self.left + x + 1,
            ..*self
        }
    }
}

struct Cutter {
    width: usize,
    height: usize,
    /// The ink above and to the left of each corner of a pixel.
    sums: Vec<u32>,
    /// The height of small letters.
    letters: usize,
    max_area: f64,
    parts: Vec<(Area, Joint)>,
}

impl Cutter {
    fn new(mut ink: Ink, max_pixels: f64) -> Self {
        let (width, height, step) = (ink.width(), ink.height(), ink.step());
        let letters =
            height_in(&ink).map_or(USUAL_LETTERS / step, |height| height.round() as usize);
        remove_rules(&mut ink, width.min(height) / RULE);
        let mut sums = vec![0; (width + 1) * (height + 1)];
        for (y, row) in ink.rows().enumerate() {
            let mut sum = 0;
            for (x, &is_ink) in row.iter().enumerate() {
                sum += u32::from(is_ink);
                let at = (y + 1) * (width + 1) + x + 1;
                sums[at] = sums[at - width - 1] + sum;
            }
        }
        Self {
            width,
            height,
            sums,
            letters: letters.max(2),
            max_area: max_pixels / (step * step) as f64,
            parts: Vec::new(),
        }
    }

    fn ink(&self, area: Area) -> usize {
        let sum = |x: usize, y: usize| self.sums[y * (self.width + 1) + x] as usize;
        let Area {
            left,
            top,
            right,
            bottom,
        } = area;
        sum(right, bottom) + sum(left, top) - sum(left, bottom) - sum(right, top)
    }

    /// The height that a part of an area may have.
    fn max_height(&self, area: Area) -> usize {
        let width = area.width() as f64;
        let height = (self.max_area / width).min(MAX_PART_RATIO * width);
        (height as usize).max(1)
    }

    /// Cuts an area until each part can be read.
    fn divide(&mut self, area: Area, joint: Joint) {
        let (mut rest, mut joint) = (area, joint);
        while rest.height() > self.max_height(rest) {
            let columns = self.columns(rest);
            if columns.len() > 1 {
                for column in columns {
                    self.divide(column, std::mem::replace(&mut joint, Joint::Paragraph));
                }
                return;
            }
            if let Some(middle) = self.middle_gap(rest) {
                let left = Area {
                    right: middle,
                    ..rest
                };
                let right = Area {
                    left: middle,
                    ..rest
                };
                self.divide(left, joint);
                self.divide(right, Joint::Paragraph);
                return;
            }
            let (end, next, next_joint) = self.row_cut(rest);
            let first = Area {
                bottom: end,
                ..rest
            };
            self.parts.push((first, joint));
            rest.top = next;
            joint = next_joint;
        }
        self.parts.push((rest, joint));
    }

    /// Where the first part of an area ends, where the next one begins, and how that goes on.
    fn row_cut(&self, area: Area) -> (usize, usize, Joint) {
        let most = self.max_height(area);
        let parts = (area.height() as f64 / (ROOM * most as f64)).ceil() as usize;
        let ideal = area.height() / parts;
        let from = (ideal / 2).max(1);
        let is_quiet = |y: usize| self.ink(area.row(y)) * DUST <= area.width();
        let gaps = gaps(most.min(area.height()), is_quiet);
        let worth = |gap: &(usize, usize)| {
            let space = (gap.1 - gap.0).min(3 * self.letters) as f64 / self.letters as f64;
            space - 3.0 * middle(gap).abs_diff(ideal) as f64 / most as f64
        };
        let in_time = gaps.iter().filter(|gap| middle(gap) >= from);
        let best = in_time.max_by(|one, other| worth(one).total_cmp(&worth(other)));
        // What is above the columns of a page, for which a whole part is too much.
        let earlier = || {
            let gaps = gaps.iter().rev();
            gaps.clone().find(|gap| middle(gap) >= 4 * self.letters)
        };
        if let Some(gap) = best.or_else(earlier) {
            let at = area.top + middle(gap);
            let is_paragraph = 2 * (gap.1 - gap.0) > 3 * usual_gap(&gaps, self.letters);
            let joint = if is_paragraph {
                Joint::Paragraph
            } else {
                Joint::Line
            };
            return (at, at, joint);
        }
        let overlap = (OVERLAP * self.letters).min(most / 4);
        let end = area.top + most.min(ideal + overlap);
        (end, end - overlap, Joint::Overlap(overlap as u32))
    }

    /// The columns of an area that is running text in columns, else one or none.
    fn columns(&self, area: Area) -> Vec<Area> {
        let quiet = self.quiet_columns(area, GUTTER * self.letters);
        let mut columns = Vec::new();
        let mut left = 0;
        for (from, to) in quiet.into_iter().chain([(area.width(), area.width())]) {
            let column = Area {
                left: area.left + left,
                right: area.left + from,
                ..area
            };
            if from > left {
                columns.push(column);
            }
            left = to;
        }
        if columns.len() < 2 || !columns.iter().all(|&column| self.is_prose(column)) {
            return Vec::new();
        }
        // Each gets the space up to the next one.
        let ends: Vec<_> = columns
            .windows(2)
            .map(|pair| usize::midpoint(pair[0].right, pair[1].left))
            .collect();
        for (place, &end) in ends.iter().enumerate() {
            columns[place].right = end;
            columns[place + 1].left = end;
        }
        if let [first, .., last] = columns.as_mut_slice() {
            (first.left, last.right) = (area.left, area.right);
        }
        columns
    }

    /// Spaces from top to bottom of at least this width, from the area's left side.
    fn quiet_columns(&self, area: Area, width: usize) -> Vec<(usize, usize)> {
        let is_quiet = |x: usize| self.ink(area.column(x)) * DUST <= area.height();
        let mut gaps = gaps(area.width(), is_quiet);
        gaps.retain(|gap| gap.1 - gap.0 >= width.max(1));
        gaps
    }

    /// The widest space from top to bottom near the middle of an area that is much wider than high.
    fn middle_gap(&self, area: Area) -> Option<usize> {
        if (area.width() as f64) < MAX_RATIO * area.height() as f64 {
            return None;
        }
        let gaps = self.quiet_columns(area, GUTTER * self.letters);
        let (from, to) = (area.width() / 4, 3 * area.width() / 4);
        let central = gaps.iter().filter(|gap| (from..to).contains(&middle(gap)));
        let widest = central.max_by_key(|gap| gap.1 - gap.0)?;
        Some(area.left + middle(widest))
    }

    /// Whether most lines of an area reach from one side to the other.
    fn is_prose(&self, area: Area) -> bool {
        if area.width() < MIN_COLUMN * self.letters {
            return false;
        }
        let mut lines = gaps(area.height(), |y| self.ink(area.row(y)) > 0);
        lines.retain(|line| line.1 - line.0 <= MAX_LINE * self.letters);
        let mut reach: Vec<_> = lines
            .iter()
            .map(|line| {
                let line = Area {
                    top: area.top + line.0,
                    bottom: area.top + line.1,
                    ..area
                };
                self.reach(line) * 100 / area.width()
            })
            .collect();
        let (count, percent) = PROSE;
        let middle = reach.len() / 2;
        reach.len() >= count && *reach.select_nth_unstable(middle).1 >= percent
    }

    /// From the first to the last column with ink.
    fn reach(&self, line: Area) -> usize {
        let has_ink = |&x: &usize| self.ink(line.column(x)) > 0;
        let first = (0..line.width()).find(has_ink);
        let last = (0..line.width()).rfind(has_ink);
        first.zip(last).map_or(0, |(first, last)| last + 1 - first)
    }
}

fn middle(gap: &(usize, usize)) -> usize {
    usize::midpoint(gap.0, gap.1)
}

/// The space between two lines: that between most of them, if there are some.
fn usual_gap(gaps: &[(usize, usize)], letters: usize) -> usize {
    let mut spaces: Vec<_> = gaps.iter().map(|gap| gap.1 - gap.0).collect();
    spaces.sort_unstable();
    let middle = spaces
        .get(spaces.len() / 2)
        .filter(|_| spaces.len() >= MIN_GAPS);
    middle.copied().unwrap_or(letters)
}

/// The runs of places below `length` for which this holds.
fn gaps(length: usize, holds: impl Fn(usize) -> bool) -> Vec<(usize, usize)> {
    let mut gaps = Vec::new();
    let mut from = None;
    for place in 0..=length {
        match (place < length && holds(place), from) {
            (true, None) => from = Some(place),
            (false, Some(first)) => {
                gaps.push((first, place));
                from = None;
            }
            _ => {}
        }
    }
    gaps
}

/// Takes out drawn lines: runs of ink in a row or a column that are longer than any letter.
fn remove_rules(ink: &mut Ink, longest: usize) {
    let longest = longest.max(1);
    let width = ink.width();
    let mut above = vec![0_usize; width];
    let mut upright: Vec<(usize, usize, usize)> = Vec::new();
    for (y, row) in ink.rows().enumerate() {
        for (x, (&is_ink, above)) in row.iter().zip(&mut above).enumerate() {
            if is_ink {
                *above += 1;
            } else {
                if *above > longest {
                    upright.push((x, y - *above, y));
                }
                *above = 0;
            }
        }
    }
    let height = ink.height();
    upright.extend(
        (0..width)
            .filter(|&x| above[x] > longest)
            .map(|x| (x, height - above[x], height)),
    );
    for row in ink.rows_mut() {
        let runs = gaps(width, |x| row[x]);
        for (from, to) in runs.into_iter().filter(|run| run.1 - run.0 > longest) {
            row[from..to].fill(false);
        }
    }
    for (x, from, to) in upright {
        for row in ink.rows_mut().skip(from).take(to - from) {
            row[x] = false;
        }
    }
}

#[cfg(test)]
mod tests;
