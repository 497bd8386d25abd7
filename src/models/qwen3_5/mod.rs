//! Qwen3.5, without experts: the tower of Qwen3-VL without deepstack, and a decoder of which most layers have linear attention
//! (a gated DeltaNet) and the others attention whose output is gated.
//!
//! Written from the reference implementation, `models/qwen3_5` of transformers 5.23, and held to its output by
//! `tests/model/qwen3_5.rs`.

pub mod config;
mod linear_attention;

use anyhow::Result;

use self::{
    config::{Config, LayerType},
    linear_attention::LinearAttention,
};
use super::{
    common::{
        attention::Attention,
        decoder::LayeredDecoder,
        draft_head::LayerHead,
        model::{QwenVl, Source},
        parts::Mixer,
    },
    qwen3_vl::vision::Tower,
};
use crate::nn::weights::Weights;

/// Prefix of the draft head's tensors, which not every checkpoint has.
const DRAFT_HEAD: &str = "mtp";

/// Whether `weights` have a draft head.
#[must_use]
pub fn has_draft_head(weights: &Weights) -> bool {
    weights.contains(&LayerHead::mark(DRAFT_HEAD))
}

/// Loads a model of this family.
///
/// # Errors
/// A file is missing or damaged, or the files don't fit each other; the error names the tensor or field.
pub fn load(source: Source) -> Result<QwenVl> {
    let Config {
        common,
        text,
        linear,
        layers,
        vision,
    } = Config::read(source.folder)?;
    let drafts = source.draft_head;
    QwenVl::load(source, common, |weights| {
        let vision = Tower::load(weights, "model.visual", &vision)?;
        let mixer = |i: usize, name: &str| -> Result<Box<dyn Mixer>> {
            Ok(match layers[i] {
                LayerType::Full => Box::new(Attention::load(
                    weights,
                    &format!("{name}.self_attn"),
                    &text,
                )?),
                LayerType::Linear => Box::new(LinearAttention::load(
                    weights,
                    &format!("{name}.linear_attn"),
                    text.hidden_size,
                    linear,
                    text.rms_norm_eps,
                )?),
            })
        };
        let mut decoder =
            LayeredDecoder::load_mixed(weights, "model.language_model", &text, mixer)?;
        if drafts {
            decoder = decoder.with_head(LayerHead::load(weights, DRAFT_HEAD, &text)?);
        }
        Ok((Box::new(vision), Box::new(decoder)))
    })
}
