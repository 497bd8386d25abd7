//! Pages that are too large or too long for the model to be seen at once: how large they are made, and where they are cut.
//!
//! A page whose print would be too small at the model's size, or that is longer than four times its width, is made larger
//! than the model takes ([`larger`]), and cut into parts that it takes ([`parts`]). They are cut where there is no ink, between
//! lines or columns of print. Where there is no such place, parts overlap, and what both show is joined after they are read.

mod cut;
mod larger;
mod letters;

pub use self::{
    cut::parts,
    larger::{MAX_PARTS, Page, larger, min_letters},
};
