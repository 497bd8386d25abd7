//! `text_config` in `config.json`.

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

use super::fields::{OneOrMany, RawRope, check_activation, required};

/// The Qwen3 decoder.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct TextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    pub attention_bias: bool,
    pub rope_theta: f64,
    /// How many of the `head_dim / 2` frequencies belong to time, height and width.
    pub mrope_section: [usize; 3],
    pub tie_word_embeddings: bool,
}

/// As it is met in the wild.
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
