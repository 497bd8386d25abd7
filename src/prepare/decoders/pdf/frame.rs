//! Where things of a page are once it is upright.

use crate::prepare::decoders::pdfium::{Page, Rect};

/// From a page's own coordinates, which count upwards, to those of the upright page, which count downwards from its upper
/// left corner. Both are in the page's units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) shown: Rect,
    quarter_turns: u8,
}

/// A rectangle of the upright page.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Area {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) right: f32,
    pub(super) bottom: f32,
}

impl Frame {
    pub(super) fn of(page: &Page) -> Self {
        Self {
            shown: page.shown(),
            quarter_turns: page.quarter_turns(),
        }
    }

    /// (width, height) of the upright page.
    pub(super) fn size(&self) -> (f32, f32) {
        let Rect {
            left,
            bottom,
            right,
            top,
        } = self.shown;
        let (width, height) = (right - left, top - bottom);
        if self.quarter_turns.is_multiple_of(2) {
            (width, height)
        } else {
            (height, width)
        }
    }

    pub(super) fn place(&self, x: f32, y: f32) -> (f32, f32) {
        let Rect {
            left,
            bottom,
            right,
            top,
        } = self.shown;
        match self.quarter_turns {
            0 => (x - left, top - y),
            1 => (y - bottom, x - left),
            2 => (right - x, y - bottom),
            _ => (top - y, right - x),
        }
    }

    pub(super) fn place_rect(&self, rect: &Rect) -> Area {
        let (x0, y0) = self.place(rect.left, rect.bottom);
        let (x1, y1) = self.place(rect.right, rect.top);
        Area {
            left: x0.min(x1),
            top: y0.min(y1),
            right: x0.max(x1),
            bottom: y0.max(y1),
        }
    }

    /// A direction on the page, in radians with the clock, as one of the upright page.
    pub(super) fn turn(&self, angle: f32) -> f32 {
        f32::from(self.quarter_turns) * std::f32::consts::FRAC_PI_2 + angle
    }
}

impl Area {
    /// The smallest one around both.
    pub(super) fn around(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// Left, top, right and bottom in ten-thousandths of the sides of a page of that size, cut off at its edges.
    pub(super) fn ten_thousandths(&self, page: (f32, f32)) -> [u16; 4] {
        let part = |at: f32, side: f32| (at / side * 1e4).round().clamp(0.0, 1e4) as u16;
        [
            part(self.left, page.0),
            part(self.top, page.1),
            part(self.right, page.0),
            part(self.bottom, page.1),
        ]
    }

    /// The whole pixels that it touches in an image of a page of that size, from left and top to right and bottom, the
    /// last ones excluded.
    pub(super) fn pixels(&self, page: (f32, f32), image: (u32, u32)) -> [u32; 4] {
        let scale = (image.0 as f32 / page.0, image.1 as f32 / page.1);
        // A float too large or too small for a number becomes the nearest one.
        let begin = |at: f32, most: u32| (at.floor().max(0.0) as u32).min(most);
        let end = |at: f32, most: u32| (at.ceil().max(0.0) as u32).min(most);
        [
            begin(self.left * scale.0, image.0),
            begin(self.top * scale.1, image.1),
            end(self.right * scale.0, image.0),
            end(self.bottom * scale.1, image.1),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_left_corner_goes_where_the_turn_brings_it() {
        let shown = Rect {
            left: 10.0,
            bottom: 20.0,
            right: 110.0,
            top: 220.0,
        };
        for (quarter_turns, corner, size) in [
            (0, (0.0, 200.0), (100.0, 200.0)),
            (1, (0.0, 0.0), (200.0, 100.0)),
            (2, (100.0, 0.0), (100.0, 200.0)),
            (3, (200.0, 100.0), (200.0, 100.0)),
        ] {
            let frame = Frame {
                shown,
                quarter_turns,
            };
            assert_eq!(frame.place(10.0, 20.0), corner, "{quarter_turns}");
            assert_eq!(frame.size(), size);
        }
    }
}
