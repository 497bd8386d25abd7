//! Rows of text as paragraphs: their text, and where they are.

use std::ops::Range;

use super::{
    frame::Area,
    order::{Piece, Row},
};

/// The next row of a paragraph is at most so many line heights below the first two, and
const MAX_LEADING: f32 = 1.8;
/// at most so many times as far as its rows before are from each other.
const MAX_CHANGE: f32 = 1.25;
/// Print that is larger or smaller by more than this is another paragraph.
const MAX_SIZES: f32 = 1.25;

/// Text, and its paragraphs.
#[derive(Debug, Default)]
pub(super) struct Paragraphs {
    /// A line for each row.
    pub(super) text: String,
    /// The bytes of each paragraph, and where it is.
    pub(super) areas: Vec<(Range<usize>, Area)>,
}

/// What of a row decides whether another one goes on with it.
#[derive(Clone, Copy)]
struct Last {
    left: f32,
    right: f32,
    height: f32,
    baseline: f32,
    /// How far it is below the one before.
    leading: Option<f32>,
}

impl Paragraphs {
    /// Adds rows in the order in which they are read.
    pub(super) fn add(&mut self, rows: Vec<Row>) {
        let mut before: Option<Last> = None;
        for row in rows {
            let Some((first, others)) = row.split_first() else {
                continue;
            };
            let (mut last, mut area) = (Last::of(first), first.area);
            let mut text = first.text.trim_matches(' ').to_owned();
            for piece in others {
                last.take(piece);
                area = area.around(&piece.area);
                text.push(' ');
                text.push_str(piece.text.trim_matches(' '));
            }
            let leading = before.and_then(|before| before.leading_to(&last));
            last.leading = leading;
            self.push(&text, area, leading.is_some());
            before = Some(last);
        }
    }

    /// Adds a piece that is on no row.
    pub(super) fn add_alone(&mut self, piece: &Piece) {
        self.push(&piece.text, piece.area, false);
    }

    fn push(&mut self, text: &str, area: Area, goes_on: bool) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let start = self.text.len();
        self.text.push_str(text);
        let end = self.text.len();
        match self.areas.last_mut().filter(|_| goes_on) {
            Some((bytes, whole)) => {
                bytes.end = end;
                *whole = whole.around(&area);
            }
            None => self.areas.push((start..end, area)),
        }
    }
}

impl Last {
    fn of(piece: &Piece) -> Self {
        Self {
            left: piece.span.left,
            right: piece.span.right,
            height: piece.span.bottom - piece.span.top,
            baseline: piece.baseline,
            leading: None,
        }
    }

    fn take(&mut self, piece: &Piece) {
        let other = Self::of(piece);
        self.left = self.left.min(other.left);
        self.right = self.right.max(other.right);
        if other.height > self.height {
            (self.height, self.baseline) = (other.height, other.baseline);
        }
    }

    /// How far below the next row is, if it is of the same paragraph.
    fn leading_to(&self, next: &Self) -> Option<f32> {
        let leading = next.baseline - self.baseline;
        let (low, high) = (self.height.min(next.height), self.height.max(next.height));
        let most = match self.leading {
            Some(leading) => MAX_CHANGE * leading,
            None => MAX_LEADING * high,
        };
        let shares_a_column = self.left < next.right && next.left < self.right;
        let goes_on =
            leading > 0.0 && leading <= most && high <= MAX_SIZES * low && shares_a_column;
        goes_on.then_some(leading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::decoders::pdf::order::Span;

    /// A row of letters 10 points high, or a title twice as high.
    fn row(left: f32, baseline: f32, text: &str) -> Row {
        let height = if text == "Title" { 20.0 } else { 10.0 };
        let (top, right) = (baseline - 0.8 * height, left + 5.0 * text.len() as f32);
        let mut piece = Piece::default();
        text.clone_into(&mut piece.text);
        piece.span = Span {
            left,
            top,
            right,
            bottom: top + height,
        };
        piece.area = Area {
            left,
            top,
            right,
            bottom: top + height,
        };
        piece.baseline = baseline;
        vec![piece]
    }

    #[test]
    fn rows_become_paragraphs_by_size_distance_and_column() {
        let mut paragraphs = Paragraphs::default();
        paragraphs.add(vec![
            row(50.0, 40.0, "Title"),
            row(50.0, 60.0, "one line"),
            row(60.0, 72.0, "and another"),
            row(50.0, 84.0, "the third"),
            row(50.0, 102.0, "a paragraph"),
            row(300.0, 60.0, "a column"),
        ]);
        let read = paragraphs.areas.iter().map(|(bytes, area)| {
            let text = &paragraphs.text[bytes.clone()];
            (text, area.left as u32, area.top as u32, area.bottom as u32)
        });
        let read: Vec<_> = read.collect();
        let expected = [
            ("Title", 50, 24, 44),
            ("one line\nand another\nthe third", 50, 52, 86),
            ("a paragraph", 50, 94, 104),
            ("a column", 300, 52, 62),
        ];
        assert_eq!(read, expected);
        assert_eq!(paragraphs.text.lines().count(), 6);
    }
}
