//! Qwen2-VL: a tower of plain blocks, and the Qwen2 decoder.
//!
//! Written from the reference implementation, `models/qwen2_vl` of transformers 5.23, and held to its output by
//! `tests/model/parity.rs`.

pub mod config;
pub(super) mod vision;

use anyhow::Result;

use self::{
    config::{Config, ReadVision, TensorNames},
    vision::Tower,
};
use super::common::{
    decoder::LayeredDecoder,
    model::{QwenVl, Source},
    parts::VisionTower,
};
use crate::nn::weights::Weights;

/// Loads a model of this family.
///
/// # Errors
/// A file is missing or damaged, or the files don't fit each other; the error names the tensor or field.
pub fn load(source: Source) -> Result<QwenVl> {
    load_with(source, Tower::load)
}

/// As [`load`], with a tower that is loaded by `tower` from the weights, the prefix of its tensors and its configuration.
///
/// # Errors
/// As [`load`].
pub(super) fn load_with<V: ReadVision, T: VisionTower + 'static>(
    source: Source,
    tower: impl FnOnce(&Weights, &str, &V) -> Result<T>,
) -> Result<QwenVl> {
    let config = Config::<V>::read(source.folder)?;
    QwenVl::load(source, config.common, |weights| {
        let names = TensorNames::of(weights);
        let vision = tower(weights, names.vision, &config.vision)?;
        let text = LayeredDecoder::load(weights, names.text, &config.text)?;
        Ok((Box::new(vision), Box::new(text)))
    })
}
