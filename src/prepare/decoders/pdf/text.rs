//! A page's text layer: the characters that are on the page, in reading order.

use std::collections::HashSet;

use super::{
    frame::{Area, Frame},
    objects::leaves,
    order::{Piece, Span, in_order},
    paragraphs::Paragraphs,
};
use crate::{
    page::{Rotation, TextPlace},
    prepare::decoders::pdfium::{Char, ObjectKind, Page, Rect},
};

/// An image that covers this part of its page is a scan,
const SCAN: f32 = 0.85;
/// of which a layer with fewer letters and digits does not say what it shows.
const MIN_LETTERS_OF_SCAN: usize = 40;
/// A gap of more line heights ends a piece of a line.
const MAX_GAP: f32 = 1.5;
/// So does a step up or down of more.
const MAX_STEP: f32 = 0.5;
/// Text that runs in no quarter's direction within this angle, in radians, is read last.
const MAX_SLOPE: f32 = 0.35;
/// Where more than one character in so many is a guess, none is believed.
const MAX_GUESSED: usize = 5;
/// A page lies as so many percent of its letters do.
const MIN_UPRIGHT: usize = 90;
/// The height of an x as a part of that of a letter's box, which holds ascenders, descenders and some space.
const SMALL_LETTERS: f32 = 0.42;
/// What is as bright in all channels is as good as white.
const WHITE: u8 = 240;
/// PDFium's sign for a hyphen at a line's end.
const HYPHENS: [u32; 2] = [0x2, 0xFFFE];

/// A page's text.
pub(super) struct PageLayer {
    pub(super) text: String,
    /// Where its paragraphs are.
    pub(super) places: Vec<TextPlace>,
    /// Whether the page is an image with next to no text over it.
    pub(super) is_scan: bool,
    /// The turn that rights the page, by the text that is seen on it; none if there is little of it, or it runs in several
    /// directions.
    pub(super) upright: Option<Rotation>,
    /// Whether all of it is white, or nearly so.
    pub(super) is_white: bool,
    /// The height of small letters in the page's units: a quarter of all letters that are seen are smaller; none if there are
    /// few.
    pub(super) letters: Option<f32>,
}

impl PageLayer {
    /// The text of a page, but for the texts with these ids, and for what nobody can see: outside of the page, or invisible
    /// with no image under it.
    pub(super) fn of(page: &Page, hidden: &HashSet<usize>) -> Option<Self> {
        let layer = page.text()?;
        let frame = Frame::of(page);
        let images = images(page, &frame);
        let mut runs = Runs {
            is_white: true,
            ..Runs::default()
        };
        for char in layer.chars() {
            runs.add(&char, &frame, &images, hidden);
        }
        let is_scan = images
            .iter()
            .any(|image| image.area() >= SCAN * frame.shown.area());
        let is_scan = is_scan && runs.letters < MIN_LETTERS_OF_SCAN;
        let (is_white, upright) = (runs.is_white, runs.upright());
        let letters = runs.small_letters();
        let is_guessed = runs.unmapped * MAX_GUESSED > runs.marks;
        let Paragraphs { text, areas } = runs.paragraphs();
        let mut layer = Self {
            places: areas
                .into_iter()
                .map(|(bytes, area)| TextPlace {
                    bytes,
                    bbox: area.ten_thousandths(frame.size()),
                })
                .collect(),
            text,
            is_scan,
            upright,
            is_white,
            letters,
        };
        if is_guessed {
            layer.text = layer.text.replace(|c: char| !c.is_whitespace(), "\u{FFFD}");
            layer.places.clear();
        }
        Some(layer)
    }
}

/// Where the page shows images.
fn images(page: &Page, frame: &Frame) -> Vec<Rect> {
    let leaves = leaves(page).into_iter();
    let images = leaves.filter(|leaf| leaf.kind == ObjectKind::Image);
    let shown = images.filter_map(|leaf| Some(leaf.bounds()?.shared_with(&frame.shown)));
    shown.filter(|image| image.area() > 0.0).collect()
}

/// The direction that text runs in, in quarter turns with the clock; `None` for any other.
type Direction = Option<u8>;

/// Pieces of lines as they come together.
#[derive(Debug, Default)]
struct Runs {
    /// By direction, the other ones last.
    pieces: [Vec<Piece>; 5],
    units: Vec<u16>,
    last: Option<Last>,
    current: Piece,
    /// Number of letters and digits.
    letters: usize,
    /// The number of those that are seen, by direction, the other ones last.
    seen: [usize; 5],
    /// The heights of their boxes.
    heights: Vec<f32>,
    /// Characters other than spaces, and those of them of which PDFium only guesses what they are.
    marks: usize,
    unmapped: usize,
    /// Whether nothing visible has another colour than white.
    is_white: bool,
    /// Whether the rest of a word comes, which a hyphen at a line's end has cut.
    is_mid_word: bool,
}

/// The character before.
#[derive(Debug, Clone, Copy)]
struct Last {
    direction: Direction,
    span: Span,
    baseline: f32,
    is_invisible: bool,
}

impl Runs {
    fn add(&mut self, char: &Char, frame: &Frame, images: &[Rect], hidden: &HashSet<usize>) {
        let unicode = char.unicode();
        if char.is_generated() {
            match char::from_u32(unicode) {
                Some('\n' | '\r') => self.end(),
                Some(c) if c.is_whitespace() && self.is_mid_word => self.end(),
                Some(c) if c.is_whitespace() && self.last.is_some() => self.units.push(0x20),
                _ => {}
            }
            return;
        }
        if HYPHENS.contains(&unicode) {
            self.is_mid_word = self.last.is_some();
            return;
        }
        let character = char::from_u32(unicode);
        let place = (char.origin(), char.loose_box(), char.object());
        let (Some((x, y)), Some(rect), Some(object)) = place else {
            // A space may be nowhere.
            if character.is_some_and(char::is_whitespace) && self.last.is_some() {
                self.units.push(0x20);
            }
            return;
        };
        let (middle_x, middle_y) = (
            f32::midpoint(rect.left, rect.right),
            f32::midpoint(rect.bottom, rect.top),
        );
        let is_on_page = frame.shown.holds(middle_x, middle_y) || frame.shown.holds(x, y);
        let is_invisible = object.is_invisible_text();
        let is_seen = !is_invisible || images.iter().any(|image| image.holds(middle_x, middle_y));
        if !is_on_page || !is_seen || hidden.contains(&object.id()) {
            return;
        }
        let direction = direction(frame.turn(char.angle()));
        let area = frame.place_rect(&rect);
        let span = span(&area, direction);
        let baseline = span_of_point(frame.place(x, y), direction);
        let last = Last {
            direction,
            span,
            baseline,
            is_invisible,
        };
        if character.is_some_and(|c| c.is_control() && c != '\t') {
            return;
        }
        if self.is_mid_word && character.is_some_and(char::is_whitespace) {
            self.end();
        }
        if !self.is_mid_word && self.last.is_some_and(|before| before.ends_before(&last)) {
            self.end();
        }
        match self.last {
            None => {
                self.current.span = span;
                self.current.baseline = baseline;
                self.current.area = area;
            }
            // The rest of a word is on another line.
            Some(_) if self.is_mid_word => {}
            Some(_) => {
                let whole = &mut self.current.span;
                whole.left = whole.left.min(span.left);
                whole.top = whole.top.min(span.top);
                whole.right = whole.right.max(span.right);
                whole.bottom = whole.bottom.max(span.bottom);
            }
        }
        self.current.area = self.current.area.around(&area);
        self.last = Some(last);
        let letters = usize::from(character.is_some_and(char::is_alphanumeric));
        self.letters += letters;
        if !is_invisible {
            self.seen[direction.map_or(4, usize::from)] += letters;
            if letters > 0 {
                self.heights.push(span.bottom - span.top);
            }
        }
        self.is_white &= !is_invisible
            && char
                .fill()
                .is_some_and(|[colour @ .., _]| colour.iter().all(|&c| c >= WHITE));
        if character.is_none_or(|c| !c.is_whitespace()) {
            self.marks += 1;
            self.unmapped += usize::from(char.is_unmapped());
        }
        match character {
            Some(character) => self
                .units
                .extend_from_slice(character.encode_utf16(&mut [0; 2])),
            None => self.units.extend(u16::try_from(unicode).ok()),
        }
    }

    /// Ends the piece.
    fn end(&mut self) {
        self.is_mid_word = false;
        let mut piece = std::mem::take(&mut self.current);
        let units = std::mem::take(&mut self.units);
        let characters = char::decode_utf16(units);
        piece.text = characters
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        let Some(last) = self.last.take() else {
            return;
        };
        if !piece.text.trim().is_empty() {
            let direction = last.direction.map_or(4, usize::from);
            self.pieces[direction].push(piece);
        }
    }

    /// The height of small letters, of which a quarter are smaller.
    fn small_letters(&mut self) -> Option<f32> {
        let quarter = self.heights.len() / 4;
        if self.heights.len() < MIN_LETTERS_OF_SCAN {
            return None;
        }
        let (_, height, _) = self.heights.select_nth_unstable_by(quarter, f32::total_cmp);
        Some(*height * SMALL_LETTERS).filter(|height| *height > 0.0)
    }

    /// The turn that rights the page, by the letters that are seen. What a scanner has read lies as it was read.
    fn upright(&self) -> Option<Rotation> {
        let all: usize = self.seen.iter().sum();
        let directions = self.seen[..4].iter().enumerate();
        let (direction, &most) = directions.max_by_key(|(_, letters)| **letters)?;
        let is_clear = all >= MIN_LETTERS_OF_SCAN && most * 100 >= all * MIN_UPRIGHT;
        is_clear.then(|| Rotation::of_quarters(direction).reversed())
    }

    /// The text of all and where it is, the direction with the most of it first.
    fn paragraphs(mut self) -> Paragraphs {
        self.end();
        let mut pieces = self.pieces;
        pieces[..4].sort_by_key(|pieces| {
            let length: usize = pieces.iter().map(|piece| piece.text.len()).sum();
            std::cmp::Reverse(length)
        });
        let [.., sloping] = &mut pieces;
        let sloping = std::mem::take(sloping);
        let mut paragraphs = Paragraphs::default();
        for pieces in pieces {
            paragraphs.add(in_order(pieces));
        }
        for piece in sloping {
            paragraphs.add_alone(&piece);
        }
        paragraphs
    }
}

impl Last {
    /// Whether the piece ends here, since the next character is elsewhere.
    fn ends_before(&self, next: &Self) -> bool {
        let height = (self.span.bottom - self.span.top).max(next.span.bottom - next.span.top);
        let gap = (next.span.left - self.span.right).max(self.span.left - next.span.right);
        self.direction != next.direction
            || self.is_invisible != next.is_invisible
            || gap > MAX_GAP * height
            || (next.baseline - self.baseline).abs() > MAX_STEP * height.max(1.0)
    }
}

fn direction(angle: f32) -> Direction {
    let quarters = angle / std::f32::consts::FRAC_PI_2;
    let nearest = quarters.round();
    let slope = (quarters - nearest).abs() * std::f32::consts::FRAC_PI_2;
    (slope <= MAX_SLOPE).then(|| (nearest as i64).rem_euclid(4) as u8)
}

/// An area of the page turned so that its text runs to the right.
fn span(area: &Area, direction: Direction) -> Span {
    let Area {
        left,
        top,
        right,
        bottom,
    } = *area;
    let (left, top, right, bottom) = match direction {
        Some(1) => (top, -right, bottom, -left),
        Some(2) => (-right, -bottom, -left, -top),
        Some(3) => (-bottom, left, -top, right),
        _ => (left, top, right, bottom),
    };
    Span {
        left,
        top,
        right,
        bottom,
    }
}

/// How far down a point is, turned in the same way.
fn span_of_point((x, y): (f32, f32), direction: Direction) -> f32 {
    match direction {
        Some(1) => -x,
        Some(2) => -y,
        Some(3) => x,
        _ => y,
    }
}
