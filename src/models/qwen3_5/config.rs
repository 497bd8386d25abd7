//! What a Qwen3.5 model's JSON files say.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{
    model_files::read_json,
    models::{
        common::{
            config::{
                CommonConfig, Files, Published, RawText, TextConfig, TextDefaults, Traits,
                fields::required,
            },
            positions::Sections,
        },
        qwen3_vl::config::{RawVision, VisionConfig},
    },
};

/// What the files of this family don't say, or may leave out.
const TEXT: TextDefaults = TextDefaults {
    qkv_bias: false,
    traits: Traits {
        qk_norm: true,
        zero_centred: true,
        output_gate: true,
    },
    sections: Sections::Interleaved,
    mrope_section: [11, 11, 10],
    partial_rotary_factor: 0.25,
    rope_theta: 10_000.0,
    rms_norm_eps: 1e-6,
};
/// Every so many layers one attends, where `layer_types` is missing.
const ATTENTION_INTERVAL: usize = 4;

/// All that the model needs to know, from the files of one folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What every family says.
    pub common: CommonConfig,
    /// The decoder, its layers of attention above all.
    pub text: TextConfig,
    /// Its layers of linear attention.
    pub linear: LinearConfig,
    /// Which of them each layer is.
    pub layers: Vec<LayerType>,
    /// The vision tower: that of Qwen3-VL without deepstack.
    pub vision: VisionConfig,
}

/// What mixes the tokens in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerType {
    /// Attention with keys and values.
    Full,
    /// A gated DeltaNet.
    Linear,
}

/// A layer of linear attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearConfig {
    /// Heads of queries and keys.
    pub key_heads: usize,
    /// Heads of values, a multiple of those.
    pub value_heads: usize,
    /// Size of a head's queries and keys.
    pub key_dim: usize,
    /// Size of a head's values.
    pub value_dim: usize,
    /// How many tokens the convolution sees.
    pub kernel: usize,
}

impl LinearConfig {
    /// Width of all keys.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.key_heads * self.key_dim
    }

    /// Width of all values.
    #[must_use]
    pub fn values(&self) -> usize {
        self.value_heads * self.value_dim
    }

    /// Width of queries, keys and values, which the convolution goes over.
    #[must_use]
    pub fn channels(&self) -> usize {
        2 * self.keys() + self.values()
    }
}

#[derive(Deserialize)]
struct RawConfig {
    text_config: RawHybrid,
    vision_config: RawVision,
    image_token_id: Option<u32>,
    tie_word_embeddings: Option<bool>,
}

#[derive(Deserialize)]
struct RawHybrid {
    #[serde(flatten)]
    text: RawText,
    layer_types: Option<Vec<String>>,
    full_attention_interval: Option<usize>,
    attn_output_gate: Option<bool>,
    output_gate_type: Option<String>,
    linear_num_key_heads: Option<usize>,
    linear_num_value_heads: Option<usize>,
    linear_key_head_dim: Option<usize>,
    linear_value_head_dim: Option<usize>,
    linear_conv_kernel_dim: Option<usize>,
}

impl Config {
    /// Reads `config.json`, `generation_config.json` and `preprocessor_config.json`.
    ///
    /// # Errors
    /// A file is missing or broken, or describes a model that is not Qwen3.5 or can't exist.
    pub fn read(folder: &Path) -> Result<Self> {
        let raw: RawConfig = read_json(folder, "config.json").with_context(|| {
            format!("{} is not the folder of a Qwen3.5 model (text_config and vision_config are needed)", folder.display())
        })?;
        Self::from_raw(raw, Files::read(folder)?)
            .with_context(|| format!("cannot use the model in {}", folder.display()))
    }

    fn from_raw(mut raw: RawConfig, files: Files) -> Result<Self> {
        const IN_TEXT: &str = "text_config in config.json";

        let eos = raw.text_config.text.eos_token_id.take();
        let inner = raw.text_config.text.tie_word_embeddings;
        let tied = inner.or(raw.tie_word_embeddings).unwrap_or(false);
        let linear = raw.text_config.linear().context(IN_TEXT)?;
        let (types, interval) = (
            raw.text_config.layer_types.take(),
            raw.text_config.full_attention_interval,
        );
        let text = raw.text_config.text.check(&TEXT, tied).context(IN_TEXT)?;
        let layers = layers(types, interval, text.num_hidden_layers).context(IN_TEXT)?;
        let vision = raw
            .vision_config
            .check()
            .context("vision_config in config.json")?;
        ensure!(
            vision.deepstack_visual_indexes.is_empty(),
            "deepstack_visual_indexes is not supported for this family"
        );
        ensure!(
            vision.out_hidden_size == text.hidden_size,
            "out_hidden_size of the vision tower is {}, but hidden_size of the decoder is {}",
            vision.out_hidden_size,
            text.hidden_size
        );
        let published = Published {
            patches: vision.shape.patches,
            min_pixels: 65_536,
            max_pixels: 16_777_216,
        };
        Ok(Self {
            common: CommonConfig::new(files, raw.image_token_id, eos, &text, published)?,
            text,
            linear,
            layers,
            vision,
        })
    }
}

impl RawHybrid {
    fn linear(&self) -> Result<LinearConfig> {
        ensure!(
            self.attn_output_gate != Some(false),
            "attn_output_gate false is not supported"
        );
        let gate = self.output_gate_type.as_deref().unwrap_or("swish");
        ensure!(
            ["swish", "silu"].contains(&gate),
            "output_gate_type {gate} is not supported, only swish"
        );
        let linear = LinearConfig {
            key_heads: required!(self.linear_num_key_heads),
            value_heads: required!(self.linear_num_value_heads),
            key_dim: required!(self.linear_key_head_dim),
            value_dim: required!(self.linear_value_head_dim),
            kernel: self.linear_conv_kernel_dim.unwrap_or(4),
        };
        ensure!(
            linear.value_heads.is_multiple_of(linear.key_heads),
            "linear_num_value_heads {} is not a multiple of linear_num_key_heads {}",
            linear.value_heads,
            linear.key_heads
        );
        ensure!(linear.kernel > 1, "linear_conv_kernel_dim is below 2");
        Ok(linear)
    }
}

/// By `layer_types`, else by `full_attention_interval`.
fn layers(
    types: Option<Vec<String>>,
    interval: Option<usize>,
    count: usize,
) -> Result<Vec<LayerType>> {
    let Some(types) = types else {
        let interval = interval.unwrap_or(ATTENTION_INTERVAL);
        ensure!(interval > 0, "full_attention_interval is 0");
        let kind = |i: usize| {
            if (i + 1).is_multiple_of(interval) {
                LayerType::Full
            } else {
                LayerType::Linear
            }
        };
        return Ok((0..count).map(kind).collect());
    };
    ensure!(
        types.len() == count,
        "layer_types names {} layers, but num_hidden_layers is {count}",
        types.len()
    );
    let kind = |name: &String| match name.as_str() {
        "full_attention" => Ok(LayerType::Full),
        "linear_attention" => Ok(LayerType::Linear),
        other => bail!("layer_types has {other}, which is not supported"),
    };
    types.iter().map(kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published 0.8B model's `config.json`, cut to what matters.
    const SMALLEST: &str = r#"{"architectures":["Qwen3_5ForConditionalGeneration"],"model_type":"qwen3_5",
        "image_token_id":248056,"tie_word_embeddings":true,
        "text_config":{"vocab_size":248320,"hidden_size":1024,"intermediate_size":3584,"num_hidden_layers":24,
          "num_attention_heads":8,"num_key_value_heads":2,"head_dim":256,"attention_bias":false,
          "attn_output_gate":true,"linear_num_key_heads":16,"linear_num_value_heads":16,"linear_key_head_dim":128,
          "linear_value_head_dim":128,"linear_conv_kernel_dim":4,"rms_norm_eps":1e-6,"full_attention_interval":4,
          "max_position_embeddings":262144,"tie_word_embeddings":true,"mtp_num_hidden_layers":1,
          "eos_token_id":248044,
          "rope_parameters":{"mrope_interleaved":true,"mrope_section":[11,11,10],"rope_theta":10000000,
            "partial_rotary_factor":0.25}},
        "vision_config":{"depth":12,"hidden_size":768,"num_heads":12,"intermediate_size":3072,"in_channels":3,
          "patch_size":16,"temporal_patch_size":2,"spatial_merge_size":2,"out_hidden_size":1024,
          "num_position_embeddings":2304,"deepstack_visual_indexes":[]}}"#;
    /// The published 27B model's, with the names of the layers' kinds left out.
    const LARGEST: &str = r#"{"model_type":"qwen3_5","tie_word_embeddings":false,"image_token_id":248056,
        "text_config":{"vocab_size":248320,"hidden_size":5120,"intermediate_size":17408,"num_hidden_layers":64,
          "num_attention_heads":24,"num_key_value_heads":4,"max_position_embeddings":262144,"rms_norm_eps":1e-6,
          "head_dim":256,"linear_conv_kernel_dim":4,"linear_key_head_dim":128,"linear_value_head_dim":128,
          "linear_num_key_heads":16,"linear_num_value_heads":48,"full_attention_interval":4,"hidden_act":"silu",
          "mamba_ssm_dtype":"float32","attention_bias":false,"eos_token_id":248044,"output_gate_type":"swish",
          "rope_parameters":{"rope_type":"default","mrope_interleaved":true,"rope_theta":10000000,
            "partial_rotary_factor":0.25,"mrope_section":[11,11,10]}},
        "vision_config":{"depth":27,"hidden_size":1152,"hidden_act":"gelu_pytorch_tanh","intermediate_size":4304,
          "num_heads":16,"in_channels":3,"patch_size":16,"spatial_merge_size":2,"temporal_patch_size":2,
          "out_hidden_size":5120,"num_position_embeddings":2304}}"#;

    fn config(json: &str) -> Result<Config> {
        Config::from_raw(serde_json::from_str(json)?, Files::default())
    }

    #[test]
    fn published_configs_parse_to_their_shapes() {
        let small = config(SMALLEST).unwrap();
        assert!(small.text.tie_word_embeddings && small.text.traits.output_gate);
        assert_eq!((small.text.rotary_dim, small.text.head_dim), (64, 256));
        assert_eq!(small.linear.channels(), 6144);
        assert_eq!(small.layers.len(), 24);
        let attends = |layers: &[LayerType]| -> Vec<usize> {
            let kinds = layers.iter().enumerate();
            let full = kinds.filter(|(_, kind)| **kind == LayerType::Full);
            full.map(|(i, _)| i).collect()
        };
        assert_eq!(attends(&small.layers), [3, 7, 11, 15, 19, 23]);
        assert_eq!(small.common.pixels.factor, 32);
        assert_eq!(small.common.eos_token_ids, [248_044]);

        let large = config(LARGEST).unwrap();
        assert!(!large.text.tie_word_embeddings);
        assert_eq!((large.linear.keys(), large.linear.values()), (2048, 6144));
        assert_eq!(attends(&large.layers).len(), 16);
    }

    #[test]
    fn named_layer_types_win_over_the_interval() {
        let named = SMALLEST
            .replace(
                r#""num_hidden_layers":24"#,
                r#""num_hidden_layers":3,"layer_types":["full_attention","linear_attention","full_attention"]"#,
            );
        let kinds = [LayerType::Full, LayerType::Linear, LayerType::Full];
        assert_eq!(config(&named).unwrap().layers, kinds);
    }

    #[test]
    fn older_rope_fields_parse_alike() {
        let older = SMALLEST.replace(
            r#""rope_parameters":{"mrope_interleaved":true,"mrope_section":[11,11,10],"rope_theta":10000000,
            "partial_rotary_factor":0.25}"#,
            r#""partial_rotary_factor":0.25,"rope_theta":10000000,"rope_scaling":{"mrope_section":[11,11,10]}"#,
        );
        assert_ne!(older, SMALLEST);
        assert_eq!(config(&older).unwrap(), config(SMALLEST).unwrap());
    }

    #[test]
    fn invalid_config_fields_are_named() {
        for (from, to, message) in [
            (
                r#""partial_rotary_factor":0.25"#,
                r#""partial_rotary_factor":0.5"#,
                "mrope_section",
            ),
            (
                r#""linear_num_value_heads":16"#,
                r#""linear_num_value_heads":24"#,
                "linear_num_value_heads 24",
            ),
            (
                r#""linear_key_head_dim":128,"#,
                "",
                "linear_key_head_dim is missing",
            ),
            (
                r#""full_attention_interval":4"#,
                r#""layer_types":["full_attention"]"#,
                "layer_types names 1 layers",
            ),
            (
                r#""full_attention_interval":4"#,
                r#""full_attention_interval":0"#,
                "full_attention_interval is 0",
            ),
            (
                r#""attn_output_gate":true"#,
                r#""attn_output_gate":false"#,
                "attn_output_gate",
            ),
            (
                r#""deepstack_visual_indexes":[]"#,
                r#""deepstack_visual_indexes":[3]"#,
                "deepstack_visual_indexes",
            ),
            (
                r#""out_hidden_size":1024"#,
                r#""out_hidden_size":2048"#,
                "out_hidden_size",
            ),
        ] {
            let json = SMALLEST.replace(from, to);
            assert_ne!(json, SMALLEST, "{from}");
            let error = format!("{:#}", config(&json).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
    }
}
