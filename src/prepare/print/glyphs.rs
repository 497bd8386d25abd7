//! What is printed on a page: the boxes of connected ink.

use super::ink::Ink;

/// Larger pieces of ink are no letters, and smaller ones are dirt.
const SIDES: (i32, i32) = (2, 120);

/// The box of a connected piece of ink, in pixels; right and bottom are beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glyph {
    pub left: i32,
    pub top: i32,
    pub right: i32,
    pub bottom: i32,
}

impl Glyph {
    pub fn width(&self) -> i32 {
        self.right - self.left
    }

    pub fn height(&self) -> i32 {
        self.bottom - self.top
    }

    pub fn longer_side(&self) -> i32 {
        self.width().max(self.height())
    }

    pub fn with(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// The box with its axes exchanged: what was on its side then lies in lines.
    pub fn transposed(&self) -> Self {
        Self {
            left: self.top,
            top: self.left,
            right: self.bottom,
            bottom: self.right,
        }
    }
}

/// The pieces of ink that may be letters, in the pixels of `ink`.
#[must_use]
pub fn glyphs(ink: &Ink) -> Vec<Glyph> {
    let mut pieces = Pieces::default();
    let (mut before, mut row) = (Vec::new(), Vec::new());
    for (y, ink) in ink.rows().enumerate() {
        pieces.add_row(ink, y as i32, &before, &mut row);
        std::mem::swap(&mut before, &mut row);
        row.clear();
    }
    let (least, most) = SIDES;
    let mut found = pieces.whole();
    found.retain(|glyph| (least..=most).contains(&glyph.longer_side()));
    found
}

/// What something is part of in the end. Each thing is part of another one or, in the end, of itself.
pub fn root(part_of: &mut [usize], mut place: usize) -> usize {
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
