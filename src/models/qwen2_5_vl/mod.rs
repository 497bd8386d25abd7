//! Qwen2.5-VL: a tower most of whose blocks see windows of a page, and the Qwen2 decoder.
//!
//! Written from the reference implementation, `models/qwen2_5_vl` of transformers 5.23, and held to its output by
//! `tests/model/parity.rs`.

pub mod config;
mod vision;
mod windows;

use anyhow::Result;

use self::vision::Tower;
use super::{
    common::model::{QwenVl, Source},
    qwen2_vl,
};

/// Loads a model of this family.
///
/// # Errors
/// A file is missing or damaged, or the files don't fit each other; the error names the tensor or field.
pub fn load(source: Source) -> Result<QwenVl> {
    qwen2_vl::load_with(source, Tower::load)
}
