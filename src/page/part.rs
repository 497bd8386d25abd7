//! The parts that a large page is read in.

/// A part of a page's pixels that is read by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Left, top, right and bottom in the page's pixels; the last two are beyond it.
    pub area: [u32; 4],
    /// How it goes on from the part before it.
    pub joint: Joint,
}

/// How a part of a page goes on from the part before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// It begins with a paragraph or a column of its own, or is the first.
    Paragraph,
    /// It begins with a line of its own: the one before ends with a whole line.
    Line,
    /// Its first rows are also the last ones of the part before: so many pixels.
    Overlap(u32),
}

impl Part {
    /// (width, height) in pixels.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        let [left, top, right, bottom] = self.area;
        (right - left, bottom - top)
    }
}
