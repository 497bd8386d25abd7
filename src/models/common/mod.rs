//! What the families share: from settings in JSON files to a whole model, of which a family brings the vision tower, the
//! decoder, or the numbers that tell one kind of them from another.
//!
//! Sequences have no batch dimension: `(tokens, hidden)` in the decoder, `(patches, hidden)` in the vision tower,
//! `(heads, tokens, head_dim)` in attention.

pub mod attention;
pub mod config;
pub mod decoder;
pub mod draft_head;
mod drafting;
pub mod model;
pub mod parts;
pub mod patches;
pub mod positions;
pub mod tower;
