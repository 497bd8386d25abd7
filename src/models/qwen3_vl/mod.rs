//! Qwen3-VL: from a prepared page to logits.
//!
//! Written from the reference implementation, `models/qwen3_vl` of transformers 5.23, and held to its output by
//! `tests/model/parity.rs`. Sequences have no batch dimension: `(tokens, hidden)` in the decoder, `(patches, hidden)` in the
//! vision tower, `(heads, tokens, head_dim)` in attention.

pub mod config;
mod model;
pub mod patches;
pub mod positions;
pub mod text;
pub mod vision;

pub use self::model::Qwen3Vl;
