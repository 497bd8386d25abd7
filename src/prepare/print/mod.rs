//! What is printed on a page, as far as its pixels show it without being read: ink, its connected pieces, and lines of them.

mod glyphs;
mod ink;
mod lines;

pub use self::{
    glyphs::{Glyph, glyphs, root},
    ink::Ink,
    lines::neighbours,
};
