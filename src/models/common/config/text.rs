//! What a decoder of attention layers is said to be, in `text_config` of `config.json` or at its root.

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::fields::{OneOrMany, RawRope, check_activation, required};
use crate::{
    models::common::positions::{Sections, TextRope},
    nn::{norms::RmsNorm, weights::Weights},
};

/// The Qwen2 or Qwen3 decoder.
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
    /// Which layers of attention have a bias.
    pub biases: Biases,
    /// What tells families apart.
    pub traits: Traits,
    pub rope_theta: f64,
    /// How many dimensions of a head are turned, the first ones.
    pub rotary_dim: usize,
    /// How many of the `rotary_dim / 2` frequencies belong to time, height and width.
    pub mrope_section: [usize; 3],
    /// Which of them these are.
    pub sections: Sections,
    pub tie_word_embeddings: bool,
}

/// What tells one family's norms and attention from another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Whether each head's queries and keys are normalised.
    pub qk_norm: bool,
    /// Whether the weights of norms say how far from 1 a scale is.
    pub zero_centred: bool,
    /// Whether the output of attention is gated.
    pub output_gate: bool,
}

/// Which layers of attention have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    /// Queries, keys and values.
    pub qkv: bool,
    /// The output.
    pub out: bool,
}

impl TextConfig {
    /// How positions turn queries and keys.
    #[must_use]
    pub fn rope(&self) -> TextRope {
        TextRope::new(
            self.rope_theta,
            self.rotary_dim,
            self.mrope_section,
            self.sections,
        )
    }

    /// A norm of the decoder, `{name}.weight` of shape `(size)`.
    ///
    /// # Errors
    /// The weight is missing, or has another shape.
    pub fn norm(&self, weights: &Weights, name: &str, size: usize) -> Result<RmsNorm> {
        if self.traits.zero_centred {
            RmsNorm::load_zero_centred(weights, name, size, self.rms_norm_eps)
        } else {
            RmsNorm::load(weights, name, size, self.rms_norm_eps)
        }
    }
}

/// What the families' decoders differ in that their files don't say.
pub struct TextDefaults {
    /// Whether queries, keys and values always have a bias, and the output of attention never.
    pub qkv_bias: bool,
    /// What tells families apart.
    pub traits: Traits,
    /// Which frequencies belong to which axis.
    pub sections: Sections,
    /// How many they are, where the files are silent.
    pub mrope_section: [usize; 3],
    /// How much of a head is turned, where the files are silent.
    pub partial_rotary_factor: f64,
    /// Where the files are silent.
    pub rope_theta: f64,
    /// Where the files are silent.
    pub rms_norm_eps: f64,
}

/// As it is met in the wild.
#[derive(Deserialize)]
pub struct RawText {
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
    use_sliding_window: Option<bool>,
    rope_theta: Option<f64>,
    partial_rotary_factor: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    /// Whether the embeddings are the head too.
    pub tie_word_embeddings: Option<bool>,
    /// What ends an answer.
    pub eos_token_id: Option<OneOrMany>,
}

impl RawText {
    /// Checks that this is a decoder that can be computed.
    ///
    /// # Errors
    /// A field is missing, or has a value that can't be right; the error names it.
    pub fn check(self, defaults: &TextDefaults, tie_word_embeddings: bool) -> Result<TextConfig> {
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
        ensure!(
            self.use_sliding_window != Some(true),
            "use_sliding_window is not supported"
        );
        let rope = self
            .rope_parameters
            .or(self.rope_scaling)
            .unwrap_or_default();
        rope.check_type()?;
        let factor = rope.partial_rotary_factor.or(self.partial_rotary_factor);
        let factor = factor.unwrap_or(defaults.partial_rotary_factor);
        let rotary_dim = (head_dim as f64 * factor) as usize;
        ensure!(
            (2..=head_dim).contains(&rotary_dim) && rotary_dim.is_multiple_of(2),
            "partial_rotary_factor {factor} makes no even part of head_dim {head_dim}"
        );
        let mrope_section = rope.mrope_section.unwrap_or(defaults.mrope_section);
        ensure!(
            mrope_section.iter().sum::<usize>() == rotary_dim / 2,
            "mrope_section {mrope_section:?} does not add up to half of {rotary_dim}, what is turned of head_dim {head_dim}"
        );
        let bias = self.attention_bias.unwrap_or(false);
        Ok(TextConfig {
            vocab_size: required!(self.vocab_size),
            hidden_size,
            intermediate_size: required!(self.intermediate_size),
            num_hidden_layers: required!(self.num_hidden_layers),
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim,
            max_position_embeddings: required!(self.max_position_embeddings),
            rms_norm_eps: self.rms_norm_eps.unwrap_or(defaults.rms_norm_eps),
            biases: Biases {
                qkv: defaults.qkv_bias || bias,
                out: !defaults.qkv_bias && bias,
            },
            traits: defaults.traits,
            rotary_dim,
            rope_theta: rope
                .rope_theta
                .or(self.rope_theta)
                .unwrap_or(defaults.rope_theta),
            mrope_section,
            sections: defaults.sections,
            tie_word_embeddings,
        })
    }
}
