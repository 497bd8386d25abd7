//! How the tops and feet of neighbouring letters agree.

use crate::prepare::print::{Glyph, neighbours, root};

/// Fewer pieces in a row are no line.
const MIN_LINE: usize = 5;
/// Smaller letters have too few pixels to be compared.
const MIN_HEIGHT: i32 = 6;
/// Edges that differ by at most this part of the height, in percent, agree; those that differ by more than the other one
/// don't.
const AGREE: (i32, i32) = (12, 22);
/// The height of an x as a part of that of an l, or of a p, in percent.
const SMALL_LETTERS: (i32, i32) = (55, 90);

/// How the tops and feet of neighbours agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Edges {
    pub(super) pairs: usize,
    /// Both agree.
    pub(super) both: usize,
    /// The feet agree, and one of the two rises as an l does beside an x.
    pub(super) rise: usize,
    /// The tops agree, and one of the two hangs as a p does beside an x.
    pub(super) hang: usize,
}

impl Edges {
    pub(super) fn of(glyphs: &[Glyph]) -> Self {
        let glyphs = with_marks(glyphs);
        let next = neighbours(&glyphs);
        let lengths = line_lengths(&next);
        let mut edges = Self::default();
        let pairs = next.iter().enumerate().zip(lengths);
        for ((place, next), length) in pairs {
            let Some(next) = next.filter(|_| length >= MIN_LINE) else {
                continue;
            };
            edges.add(&glyphs[place], &glyphs[next]);
        }
        edges
    }

    fn add(&mut self, one: &Glyph, other: &Glyph) {
        let (higher, lower) = (
            one.height().max(other.height()),
            one.height().min(other.height()),
        );
        if higher < MIN_HEIGHT {
            return;
        }
        self.pairs += 1;
        let tops = (one.top - other.top).abs();
        let feet = (one.bottom - other.bottom).abs();
        let agree = |distance: i32| distance <= (higher * AGREE.0 / 100).max(1);
        let differ = |distance: i32| distance >= (higher * AGREE.1 / 100).max(2);
        let (least, most) = SMALL_LETTERS;
        let are_letters = (least..=most).contains(&(lower * 100 / higher));
        if agree(feet) && agree(tops) {
            self.both += 1;
        } else if are_letters && agree(feet) && differ(tops) {
            self.rise += 1;
        } else if are_letters && agree(tops) && differ(feet) {
            self.hang += 1;
        }
    }
}

/// The number of pieces in the line of each.
fn line_lengths(next: &[Option<usize>]) -> Vec<usize> {
    let mut line: Vec<usize> = (0..next.len()).collect();
    for (place, next) in next.iter().enumerate() {
        if let Some(next) = *next {
            let (here, there) = (root(&mut line, place), root(&mut line, next));
            line[here] = there;
        }
    }
    let roots: Vec<usize> = (0..next.len())
        .map(|place| root(&mut line, place))
        .collect();
    let mut lengths = vec![0; next.len()];
    for &root in &roots {
        lengths[root] += 1;
    }
    roots.into_iter().map(|root| lengths[root]).collect()
}

/// The pieces with the dots and accents above or below them: an i is one letter.
fn with_marks(glyphs: &[Glyph]) -> Vec<Glyph> {
    let mut heights: Vec<i32> = glyphs.iter().map(Glyph::height).collect();
    heights.retain(|&height| height >= MIN_HEIGHT - 1);
    heights.sort_unstable();
    let Some(&usual) = heights.get(heights.len() / 2) else {
        return glyphs.to_vec();
    };
    let mut joined = glyphs.to_vec();
    joined.sort_unstable_by_key(|glyph| glyph.left);
    let lefts: Vec<i32> = joined.iter().map(|glyph| glyph.left).collect();
    let widest = joined.iter().map(Glyph::width).max().unwrap_or(0);
    let mut is_gone = vec![false; joined.len()];
    for place in 0..joined.len() {
        let mark = joined[place];
        if mark.height() * 10 > usual * 6 || mark.width() * 10 > usual * 13 {
            continue;
        }
        let from = lefts.partition_point(|&left| left < mark.left - widest);
        let to = lefts.partition_point(|&left| left < mark.right);
        let mut nearest = None;
        for other in (from..to).filter(|&other| other != place && !is_gone[other]) {
            let letter = &joined[other];
            let shared = mark.right.min(letter.right) - mark.left.max(letter.left);
            let gap = (letter.top - mark.bottom).max(mark.top - letter.bottom);
            let is_letter = (usual * 5..=usual * 25).contains(&(letter.height() * 10));
            if 2 * shared >= mark.width()
                && is_letter
                && gap * 10 <= usual * 5
                && nearest.is_none_or(|(least, _)| gap < least)
            {
                nearest = Some((gap, other));
            }
        }
        if let Some((_, letter)) = nearest {
            joined[letter] = joined[letter].with(&mark);
            is_gone[place] = true;
        }
    }
    let mut gone = is_gone.into_iter();
    joined.retain(|_| !gone.next().unwrap_or(false));
    joined
}
