//! The order in which the lines of a page are read.
//!
//! Lines come in the order of the page's content, which programs choose as they like: row by row across columns, headers
//! last, from bottom to top. So the order follows from where lines are. A page is cut at its gutters, where enough lines
//! end on one side and begin on the other; what crosses a gutter, as a title does, is read between what is above and
//! below it. Without a gutter, rows are read from top to bottom, where lines that the content gives one below the other, as
//! in a cell of a table, stay together.

use std::collections::HashMap;

use super::frame::Area;

/// Coordinates in which text runs to the right and lines follow each other downwards.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Span {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) right: f32,
    pub(super) bottom: f32,
}

/// A piece of a line without a wide gap in it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) span: Span,
    /// Where its letters stand.
    pub(super) baseline: f32,
    /// Where it is on the upright page.
    pub(super) area: Area,
    /// Its place in the page's content.
    order: usize,
}

/// Baselines that differ by less than this part of a line's height are of one row.
const SAME_ROW: f32 = 0.4;
/// So are raised and lowered letters, of at least this part of a line's height,
const MIN_RAISED: f32 = 0.4;
/// and with this part of their own beside the line.
const MIN_BESIDE: f32 = 0.5;
/// A line is the next one of its block if it is no more than so many line heights below,
const MAX_LEADING: f32 = 1.8;
/// and begins no more than so many beside it.
const MAX_INDENT: f32 = 2.0;
/// The narrowest gutter, in line heights.
const MIN_GUTTER: f32 = 0.6;
/// Lines on each side of a gutter, at least.
const MIN_LINES: usize = 3;
/// Characters of a line in a column, on average; the cells of a table have fewer.
const MIN_LENGTH: usize = 15;
/// Lines that may cross a gutter, for each line beside it.
const MAX_CROSSING: f32 = 1.5;
/// A header or a footer is set apart by this many line heights,
const MIN_APART: f32 = 1.2;
/// and has at most this many rows.
const MAX_ROWS_APART: usize = 2;
/// How finely gutters are looked for, in places across the page.
const PLACES: usize = 600;
/// Columns are not cut into columns more often than this.
const MAX_DEPTH: usize = 6;

impl Span {
    fn height(&self) -> f32 {
        self.bottom - self.top
    }
}

impl Piece {
    /// Whether another one, whose baseline is not above, stands on the same line.
    fn is_beside(&self, other: &Self) -> bool {
        let (low, high) = (self.span.height(), other.span.height());
        let (low, high) = (low.min(high), low.max(high));
        let shared = self.span.bottom.min(other.span.bottom) - self.span.top.max(other.span.top);
        let is_raised = low < 0.9 * high && low >= MIN_RAISED * high && shared >= MIN_BESIDE * low;
        other.baseline - self.baseline <= SAME_ROW * low || is_raised
    }

    /// Whether another one is the line below, in the same block.
    fn is_above(&self, other: &Self) -> bool {
        let height = self.span.height().max(other.span.height());
        let down = other.baseline - self.baseline;
        let aside = (other.span.left - self.span.left).abs();
        down > SAME_ROW * height && down <= MAX_LEADING * height && aside <= MAX_INDENT * height
    }
}

/// The rows of the pieces, as they are read.
pub(super) fn in_order(pieces: Vec<Piece>) -> Vec<Row> {
    let mut rows = Vec::new();
    let pieces = pieces.into_iter().enumerate();
    let pieces = pieces.map(|(order, piece)| Piece { order, ..piece });
    let (head, body, foot) = apart(rows_of(pieces.collect()));
    rows.extend(head);
    cut(body.into_iter().flatten().collect(), 0, &mut rows);
    rows.extend(foot);
    rows
}

/// Pieces on one line.
pub(super) type Row = Vec<Piece>;

/// Pieces that stand on one line, from left to right; the rows from top to bottom.
fn rows_of(mut pieces: Vec<Piece>) -> Vec<Row> {
    pieces.sort_by(|a, b| a.baseline.total_cmp(&b.baseline));
    let mut rows: Vec<Row> = Vec::new();
    for piece in pieces {
        let Some(row) = rows.last_mut().filter(|row| row[0].is_beside(&piece)) else {
            rows.push(vec![piece]);
            continue;
        };
        row.push(piece);
        // The tallest piece stands for its row.
        let last = row.len() - 1;
        if row[last].span.height() > row[0].span.height() {
            row.swap(0, last);
        }
    }
    for row in &mut rows {
        row.sort_by(|a, b| a.span.left.total_cmp(&b.span.left));
    }
    rows
}

/// The rows of a part without a gutter; the lines of a block stay together.
fn rows_of_blocks(mut pieces: Vec<Piece>) -> Vec<Row> {
    pieces.sort_by_key(|piece| piece.order);
    let mut blocks: HashMap<usize, Vec<Piece>> = HashMap::new();
    let mut firsts: Vec<Piece> = Vec::new();
    let mut pieces = pieces.into_iter().peekable();
    while let Some(piece) = pieces.next() {
        // What the content goes on with on the same line makes it a row, and no line of a block.
        let is_row = pieces.peek().is_some_and(|next| {
            let (upper, lower) = if next.baseline < piece.baseline {
                (next, &piece)
            } else {
                (&piece, next)
            };
            upper.is_beside(lower)
        });
        let block = firsts.last().and_then(|first| blocks.get_mut(&first.order));
        let block =
            block.filter(|block| !is_row && block.last().is_some_and(|last| last.is_above(&piece)));
        if let Some(block) = block {
            block.push(piece);
        } else {
            blocks.insert(piece.order, vec![piece.clone()]);
            firsts.push(piece);
        }
    }
    let mut rows = Vec::new();
    for firsts in rows_of(firsts) {
        let mut row = Vec::new();
        for first in firsts {
            let mut lines = blocks.remove(&first.order).unwrap_or_default().into_iter();
            row.extend(lines.next());
            let is_one_line = lines.len() == 0;
            for line in lines {
                rows.push(std::mem::replace(&mut row, vec![line]));
            }
            if !is_one_line {
                rows.push(std::mem::take(&mut row));
            }
        }
        if !row.is_empty() {
            rows.push(row);
        }
    }
    rows
}

/// Separates the first and the last rows if they stand apart.
fn apart(mut rows: Vec<Row>) -> (Vec<Row>, Vec<Row>, Vec<Row>) {
    let top = |row: &Row| {
        row.iter()
            .map(|piece| piece.span.top)
            .fold(f32::INFINITY, f32::min)
    };
    let bottom = |row: &Row| {
        row.iter()
            .map(|piece| piece.span.bottom)
            .fold(f32::NEG_INFINITY, f32::max)
    };
    let is_apart = |above: &Row, below: &Row| {
        let height = (bottom(above) - top(above)).min(bottom(below) - top(below));
        top(below) - bottom(above) >= MIN_APART * height
    };
    let places = 1..=MAX_ROWS_APART.min(rows.len().saturating_sub(1));
    let foot = places.clone().map(|rows_apart| rows.len() - rows_apart);
    let foot = foot.clone().find(|&at| is_apart(&rows[at - 1], &rows[at]));
    let foot = rows.split_off(foot.unwrap_or(rows.len()));
    let places = 1..=MAX_ROWS_APART.min(rows.len().saturating_sub(1));
    let head = places
        .clone()
        .find(|&at| is_apart(&rows[at - 1], &rows[at]));
    let body = rows.split_off(head.unwrap_or(0));
    (rows, body, foot)
}

/// Adds the rows of a part of a page in the order in which they are read.
fn cut(pieces: Vec<Piece>, depth: usize, rows: &mut Vec<Row>) {
    let Some(gutter) = gutter(&pieces).filter(|_| depth < MAX_DEPTH) else {
        rows.extend(rows_of_blocks(pieces));
        return;
    };
    let (mut crossing, mut beside) = (Vec::new(), Vec::new());
    for piece in pieces {
        let crosses = piece.span.left < gutter && piece.span.right > gutter;
        if crosses { &mut crossing } else { &mut beside }.push(piece);
    }
    beside.sort_by(|a, b| a.baseline.total_cmp(&b.baseline));
    let mut beside = beside.into_iter().peekable();
    let mut add_until = |baseline: f32, rows: &mut Vec<Row>| {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        while let Some(piece) = beside.next_if(|piece| piece.baseline < baseline) {
            let is_left = piece.span.right <= gutter;
            if is_left { &mut left } else { &mut right }.push(piece);
        }
        if left.len() < 2 || right.len() < 2 {
            left.append(&mut right);
            rows.extend(rows_of_blocks(left));
        } else {
            cut(left, depth + 1, rows);
            cut(right, depth + 1, rows);
        }
    };
    for row in rows_of(crossing) {
        add_until(row[0].baseline, rows);
        rows.push(row);
    }
    add_until(f32::INFINITY, rows);
}

/// The place of the gutter with the most lines beside it, if there is any.
fn gutter(pieces: &[Piece]) -> Option<f32> {
    let left = pieces
        .iter()
        .map(|piece| piece.span.left)
        .fold(f32::INFINITY, f32::min);
    let right = pieces
        .iter()
        .map(|piece| piece.span.right)
        .fold(f32::NEG_INFINITY, f32::max);
    let step = (right - left) / PLACES as f32;
    if !(step.is_finite() && step > 0.0) || pieces.len() < 2 * MIN_LINES {
        return None;
    }
    let place = |x: f32| (((x - left) / step) as usize).min(PLACES);
    // How many pieces are over each place, how many end before it, how many begin after it.
    let (mut begin, mut end) = (vec![0_i32; PLACES + 2], vec![0_i32; PLACES + 2]);
    for piece in pieces {
        begin[place(piece.span.left)] += 1;
        end[place(piece.span.right) + 1] += 1;
    }
    let mut heights: Vec<_> = pieces.iter().map(|piece| piece.span.height()).collect();
    let middle = heights.len() / 2;
    let height = *heights.select_nth_unstable_by(middle, f32::total_cmp).1;
    let width = (MIN_GUTTER * height / step).ceil().max(1.0) as usize;
    let (mut begun, mut ended) = (Vec::new(), Vec::new());
    let (mut so_far, mut past) = (0, 0);
    for at in 0..=PLACES {
        so_far += begin[at];
        past += end[at];
        begun.push(so_far);
        ended.push(past);
    }
    let all = pieces.len() as i32;
    let mut best = None;
    for at in 1..PLACES.saturating_sub(width) {
        let before = ended[at];
        let after = all - begun[at + width - 1];
        let crossing = all - before - after;
        let fewer = before.min(after);
        if fewer < MIN_LINES as i32 || crossing as f32 > MAX_CROSSING * fewer as f32 {
            continue;
        }
        let score = fewer - 3 * crossing;
        if best.is_none_or(|(most, _)| score > most) {
            let middle = left + (at as f32 + width as f32 / 2.0) * step;
            best = Some((score, middle));
        }
    }
    let (_, gutter) = best?;
    are_columns(pieces, gutter).then_some(gutter)
}

/// Whether what is beside a gutter reads like text, side by side.
fn are_columns(pieces: &[Piece], gutter: f32) -> bool {
    let side = |is_left: bool| {
        let of_side = pieces.iter().filter(move |piece| {
            let is_beside = piece.span.right <= gutter || piece.span.left >= gutter;
            is_beside && (piece.span.right <= gutter) == is_left
        });
        let (mut count, mut length) = (0, 0);
        let (mut top, mut bottom) = (f32::INFINITY, f32::NEG_INFINITY);
        for piece in of_side {
            count += 1;
            length += piece.text.chars().count();
            top = top.min(piece.span.top);
            bottom = bottom.max(piece.span.bottom);
        }
        (count, length, top, bottom)
    };
    let (left, right) = (side(true), side(false));
    let is_text = |(count, length, ..): (usize, usize, f32, f32)| {
        count >= MIN_LINES && length >= MIN_LENGTH * count
    };
    is_text(left) && is_text(right) && left.2.max(right.2) < left.3.min(right.3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::decoders::pdf::paragraphs::Paragraphs;

    fn in_order(pieces: Vec<Piece>) -> String {
        let mut paragraphs = Paragraphs::default();
        paragraphs.add(super::in_order(pieces));
        paragraphs.text
    }

    /// A piece of 10 points' height with letters 5 points wide.
    fn piece(left: f32, baseline: f32, text: &str) -> Piece {
        let span = Span {
            left,
            top: baseline - 8.0,
            right: left + 5.0 * text.len() as f32,
            bottom: baseline + 2.0,
        };
        Piece {
            text: text.to_owned(),
            span,
            baseline,
            area: Area::default(),
            order: 0,
        }
    }

    #[test]
    fn columns_written_row_by_row_are_read_one_after_the_other() {
        let mut pieces = vec![piece(50.0, 20.0, &"a title over both columns ".repeat(3))];
        for line in 0..5 {
            let y = 60.0 + 12.0 * line as f32;
            pieces.push(piece(50.0, y, &format!("left column, its line {line}")));
            pieces.push(piece(250.0, y, &format!("right column, its line {line}")));
        }
        pieces.push(piece(50.0, 200.0, "12"));
        let text = in_order(pieces);
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.get(..4).unwrap_or(line))
            .collect();
        let (left, right) = (["left"; 5], ["righ"; 5]);
        assert_eq!(lines[0], "a ti");
        assert_eq!(lines[1..6], left);
        assert_eq!(lines[6..11], right);
        assert_eq!(text.lines().last(), Some("12"));
    }

    #[test]
    fn tables_are_read_row_by_row() {
        let mut pieces = Vec::new();
        for row in 0..5 {
            for column in 0..3 {
                let (x, y) = (50.0 + 100.0 * column as f32, 12.0 * row as f32);
                pieces.push(piece(x, y, &format!("{row}{column}")));
            }
        }
        let text = in_order(pieces);
        assert_eq!(text.lines().next(), Some("00 01 02"));
        assert_eq!(text.lines().last(), Some("40 41 42"));
    }

    #[test]
    fn cells_below_a_title_stay_on_their_row() {
        let pieces = [
            (0.0, 0.0, "Price list"),
            (0.0, 14.0, "Item"),
            (90.0, 14.0, "Price"),
        ];
        let pieces = pieces.map(|(left, baseline, text)| piece(left, baseline, text));
        assert_eq!(in_order(pieces.into()), "Price list\nItem Price");
    }

    #[test]
    fn lines_from_bottom_to_top_are_turned_over() {
        let lines = [(44.0, "last"), (32.0, "middle"), (20.0, "first")];
        let pieces = lines.map(|(baseline, text)| piece(50.0, baseline, text));
        assert_eq!(in_order(pieces.into()), "first\nmiddle\nlast");
    }

    #[test]
    fn any_page_keeps_all_of_its_pieces() {
        assert_eq!(in_order(Vec::new()), "");
        let wild = [f32::NAN, f32::INFINITY, -1e30, 0.0, 7.0];
        let mut pieces = Vec::new();
        for (place, left) in wild.into_iter().enumerate() {
            for baseline in wild {
                pieces.push(piece(left, baseline, &format!("{place}")));
            }
        }
        let text = in_order(pieces);
        assert_eq!(text.split_whitespace().count(), 25);
    }
}
