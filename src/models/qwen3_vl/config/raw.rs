//! The fields of the JSON files as they are met in the wild, and what is made of them.

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

use super::{TextConfig, VisionConfig};

#[derive(Deserialize)]
pub(super) struct RawConfig {
    pub(super) text_config: RawText,
    pub(super) vision_config: RawVision,
    pub(super) image_token_id: Option<u32>,
    pub(super) tie_word_embeddings: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct RawText {
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    hidden_act: Option<String>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    attention_bias: Option<bool>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    pub(super) tie_word_embeddings: Option<bool>,
    pub(super) eos_token_id: Option<OneOrMany>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawRope {
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    mrope_section: Option<[usize; 3]>,
}

#[derive(Deserialize)]
pub(super) struct RawVision {
    depth: Option<usize>,
    hidden_size: Option<usize>,
    hidden_act: Option<String>,
    intermediate_size: Option<usize>,
    num_heads: Option<usize>,
    in_channels: Option<usize>,
    patch_size: Option<usize>,
    temporal_patch_size: Option<usize>,
    spatial_merge_size: Option<usize>,
    out_hidden_size: Option<usize>,
    num_position_embeddings: Option<usize>,
    deepstack_visual_indexes: Option<Vec<usize>>,
    rope_parameters: Option<RawRope>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawGeneration {
    pub(super) eos_token_id: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl From<OneOrMany> for Vec<u32> {
    fn from(ids: OneOrMany) -> Self {
        match ids {
            OneOrMany::One(id) => vec![id],
            OneOrMany::Many(ids) => ids,
        }
    }
}

#[derive(Deserialize, Default)]
pub(super) struct RawPreprocessor {
    pub(super) size: Option<RawSize>,
    pub(super) min_pixels: Option<u64>,
    pub(super) max_pixels: Option<u64>,
    pub(super) image_mean: Option<[f32; 3]>,
    pub(super) image_std: Option<[f32; 3]>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawProcessor {
    pub(super) image_processor: Option<RawPreprocessor>,
}

#[derive(Deserialize)]
pub(super) struct RawSize {
    pub(super) shortest_edge: Option<u64>,
    pub(super) longest_edge: Option<u64>,
}

/// Takes the value of a field that must be there and not be zero.
macro_rules! required {
    ($raw:ident.$field:ident) => {
        match $raw.$field {
            Some(0) => bail!(concat!(stringify!($field), " is 0")),
            Some(value) => value,
            None => bail!(concat!(stringify!($field), " is missing")),
        }
    };
}

impl RawText {
    pub(super) fn check(self, tie_word_embeddings: bool) -> Result<TextConfig> {
        let heads = required!(self.num_attention_heads);
        let hidden_size = required!(self.hidden_size);
        let kv_heads = self.num_key_value_heads.unwrap_or(heads);
        ensure!(
            kv_heads > 0 && heads % kv_heads == 0,
            "num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"
        );
        let head_dim = self.head_dim.unwrap_or(hidden_size / heads);
        ensure!(
            head_dim > 0 && head_dim.is_multiple_of(2),
            "head_dim {head_dim} is not even"
        );
        check_activation(self.hidden_act.as_deref(), "silu")?;
        let rope = self
            .rope_parameters
            .or(self.rope_scaling)
            .unwrap_or_default();
        let rope_type = rope.rope_type.as_deref().unwrap_or("default");
        ensure!(
            rope_type == "default",
            "rope_type {rope_type} is not supported, only default"
        );
        let mrope_section = rope.mrope_section.unwrap_or([24, 20, 20]);
        ensure!(
            mrope_section.iter().sum::<usize>() == head_dim / 2,
            "mrope_section {mrope_section:?} does not add up to half of head_dim {head_dim}"
        );
        Ok(TextConfig {
            vocab_size: required!(self.vocab_size),
            hidden_size,
            intermediate_size: required!(self.intermediate_size),
            num_hidden_layers: required!(self.num_hidden_layers),
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim,
            max_position_embeddings: required!(self.max_position_embeddings),
            rms_norm_eps: self.rms_norm_eps.unwrap_or(1e-6),
            attention_bias: self.attention_bias.unwrap_or(false),
            rope_theta: rope.rope_theta.or(self.rope_theta).unwrap_or(500_000.0),
            mrope_section,
            tie_word_embeddings,
        })
    }
}

impl RawVision {
    pub(super) fn check(self) -> Result<VisionConfig> {
        let hidden_size = required!(self.hidden_size);
        let num_heads = required!(self.num_heads);
        ensure!(
            hidden_size % (num_heads * 4) == 0,
            "hidden_size {hidden_size} does not give {num_heads} heads whose size is a multiple of 4"
        );
        check_activation(self.hidden_act.as_deref(), "gelu_pytorch_tanh")?;
        let positions = required!(self.num_position_embeddings);
        let position_side = positions.isqrt();
        ensure!(
            position_side * position_side == positions,
            "num_position_embeddings {positions} is not a square"
        );
        let depth = required!(self.depth);
        let taps = self.deepstack_visual_indexes.unwrap_or_default();
        ensure!(
            taps.is_sorted_by(|a, b| a < b) && taps.iter().all(|&tap| tap < depth),
            "deepstack_visual_indexes {taps:?} are not ascending blocks of {depth}"
        );
        Ok(VisionConfig {
            depth,
            hidden_size,
            intermediate_size: required!(self.intermediate_size),
            num_heads,
            in_channels: self.in_channels.unwrap_or(3),
            patch_size: self.patch_size.unwrap_or(16),
            temporal_patch_size: self.temporal_patch_size.unwrap_or(2),
            spatial_merge_size: self.spatial_merge_size.unwrap_or(2),
            out_hidden_size: required!(self.out_hidden_size),
            position_side,
            deepstack_visual_indexes: taps,
            rope_theta: self
                .rope_parameters
                .and_then(|rope| rope.rope_theta)
                .unwrap_or(10_000.0),
        })
    }
}

fn check_activation(found: Option<&str>, wanted: &str) -> Result<()> {
    match found {
        Some(found) if found != wanted => {
            bail!("hidden_act {found} is not supported, only {wanted}")
        }
        _ => Ok(()),
    }
}
