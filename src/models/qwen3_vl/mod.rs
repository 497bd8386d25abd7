//! Qwen3-VL: a tower with learned positions, whose inner blocks are fed to the decoder too (deepstack), and the Qwen3
//! decoder.
//!
//! Written from the reference implementation, `models/qwen3_vl` of transformers 5.23, and held to its output by
//! `tests/model/parity.rs`.

pub mod config;
pub mod vision;

use anyhow::Result;

use self::{config::Config, vision::Tower};
use super::common::{
    decoder::LayeredDecoder,
    model::{QwenVl, Source},
};

/// Loads a model of this family.
///
/// # Errors
/// A file is missing or damaged, or the files don't fit each other; the error names the tensor or field.
pub fn load(source: Source) -> Result<QwenVl> {
    let config = Config::read(source.folder)?;
    QwenVl::load(source, config.common, |weights| {
        let vision = Tower::load(weights, "model.visual", &config.vision)?;
        let text = LayeredDecoder::load(weights, "model.language_model", &config.text)?;
        Ok((Box::new(vision), Box::new(text)))
    })
}
