//! What a Qwen3-VL model's JSON files say.

mod vision;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

pub use self::vision::{RawVision, VisionConfig};
use crate::{
    model_files::read_json,
    models::common::{
        config::{CommonConfig, Files, Published, RawText, TextConfig, TextDefaults, Traits},
        positions::Sections,
    },
};

/// What the files of this family don't say, or may leave out.
const TEXT: TextDefaults = TextDefaults {
    qkv_bias: false,
    traits: Traits {
        qk_norm: true,
        zero_centred: false,
        output_gate: false,
    },
    sections: Sections::Interleaved,
    mrope_section: [24, 20, 20],
    partial_rotary_factor: 1.0,
    rope_theta: 500_000.0,
    rms_norm_eps: 1e-6,
};

/// All that the model needs to know, from the files of one folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What every family says.
    pub common: CommonConfig,
    /// The decoder.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: VisionConfig,
}

#[derive(Deserialize)]
struct RawConfig {
    text_config: RawText,
    vision_config: RawVision,
    image_token_id: Option<u32>,
    tie_word_embeddings: Option<bool>,
}

impl Config {
    /// Reads `config.json`, `generation_config.json` and `preprocessor_config.json`.
    ///
    /// # Errors
    /// A file is missing or broken, or describes a model that is not Qwen3-VL or can't exist.
    pub fn read(folder: &Path) -> Result<Self> {
        let raw: RawConfig = read_json(folder, "config.json").with_context(|| {
            format!("{} is not the folder of a Qwen3-VL model (text_config and vision_config are needed)", folder.display())
        })?;
        Self::from_raw(raw, Files::read(folder)?)
            .with_context(|| format!("cannot use the model in {}", folder.display()))
    }

    fn from_raw(mut raw: RawConfig, files: Files) -> Result<Self> {
        let eos = raw.text_config.eos_token_id.take();
        let inner = raw.text_config.tie_word_embeddings;
        let tied = inner.or(raw.tie_word_embeddings).unwrap_or(false);
        let text = raw
            .text_config
            .check(&TEXT, tied)
            .context("text_config in config.json")?;
        let vision = raw
            .vision_config
            .check()
            .context("vision_config in config.json")?;
        let published = Published {
            patches: vision.shape.patches,
            min_pixels: 65_536,
            max_pixels: 16_777_216,
        };
        let config = Self {
            common: CommonConfig::new(files, raw.image_token_id, eos, &text, published)?,
            text,
            vision,
        };
        config.check_together()?;
        Ok(config)
    }

    fn check_together(&self) -> Result<()> {
        let (text, vision) = (&self.text, &self.vision);
        ensure!(
            vision.out_hidden_size == text.hidden_size,
            "out_hidden_size of the vision tower is {}, but hidden_size of the decoder is {}",
            vision.out_hidden_size,
            text.hidden_size
        );
        ensure!(
            vision.deepstack_visual_indexes.len() <= text.num_hidden_layers,
            "deepstack_visual_indexes names more blocks than the decoder has layers"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published 8B model's `config.json` in transformers 4.57 style, cut to what matters.
    const STYLE_4_57: &str = r#"{"image_token_id":151655,"tie_word_embeddings":false,"hidden_size":4096,
        "text_config":{"vocab_size":151936,"hidden_size":4096,"intermediate_size":12288,"num_hidden_layers":36,
          "num_attention_heads":32,"num_key_value_heads":8,"head_dim":128,"max_position_embeddings":262144,
          "hidden_act":"silu","rms_norm_eps":1e-06,"rope_theta":5000000,"eos_token_id":151645,
          "rope_scaling":{"mrope_interleaved":true,"mrope_section":[24,20,20],"rope_type":"default"}},
        "vision_config":{"depth":27,"hidden_size":1152,"intermediate_size":4304,"num_heads":16,"out_hidden_size":4096,
          "num_position_embeddings":2304,"deepstack_visual_indexes":[8,16,24],"patch_size":16}}"#;

    fn config(json: &str) -> Result<Config> {
        Config::from_raw(serde_json::from_str(json)?, Files::default())
    }

    #[test]
    fn old_and_new_rope_fields_parse_alike() {
        let older = config(STYLE_4_57).unwrap();
        let newer = STYLE_4_57.replace(r#""rope_theta":5000000,"#, "").replace(
            r#""rope_scaling":{"#,
            r#""rope_parameters":{"rope_theta":5000000,"#,
        );
        assert_eq!(older, config(&newer).unwrap());
        assert_eq!(older.text.mrope_section, [24, 20, 20]);
        assert!((older.text.rope_theta - 5e6).abs() < f64::EPSILON);
    }

    #[test]
    fn inner_tie_word_embeddings_wins() {
        assert!(!config(STYLE_4_57).unwrap().text.tie_word_embeddings);
        let outer = STYLE_4_57.replace(
            r#""tie_word_embeddings":false"#,
            r#""tie_word_embeddings":true"#,
        );
        assert!(config(&outer).unwrap().text.tie_word_embeddings);
        let inner = outer.replace(
            r#""head_dim":128"#,
            r#""head_dim":128,"tie_word_embeddings":false"#,
        );
        assert!(!config(&inner).unwrap().text.tie_word_embeddings);
    }

    #[test]
    fn fields_of_fine_tunes_may_be_null() {
        let nulls = STYLE_4_57.replace(
            r#""hidden_act":"silu""#,
            r#""hidden_act":null,"attention_bias":null"#,
        );
        assert_eq!(config(&nulls).unwrap(), config(STYLE_4_57).unwrap());
    }

    #[test]
    fn eos_token_id_may_be_a_number_or_list() {
        for (json, ids) in [("7", vec![7]), ("[9, 7, 9]", vec![7, 9])] {
            let folder = tempfile::tempdir().unwrap();
            let write = |name, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
            write("config.json", STYLE_4_57);
            write(
                "generation_config.json",
                &format!(r#"{{"eos_token_id":{json}}}"#),
            );
            let config = Config::read(folder.path()).unwrap();
            assert_eq!(config.common.eos_token_ids, ids);
        }
    }

    #[test]
    fn invalid_config_fields_are_named() {
        for (from, to, message) in [
            (r#""head_dim":128"#, r#""head_dim":64"#, "mrope_section"),
            (
                r#""num_key_value_heads":8"#,
                r#""num_key_value_heads":5"#,
                "num_key_value_heads",
            ),
            (
                r#""out_hidden_size":4096"#,
                r#""out_hidden_size":2048"#,
                "out_hidden_size",
            ),
            (r#""depth":27"#, r#""depth":20"#, "deepstack_visual_indexes"),
            (
                r#""num_position_embeddings":2304"#,
                r#""num_position_embeddings":2300"#,
                "not a square",
            ),
            (
                r#""rope_type":"default""#,
                r#""rope_type":"yarn""#,
                "rope_type yarn",
            ),
            (
                r#""hidden_act":"silu""#,
                r#""hidden_act":"relu""#,
                "hidden_act relu",
            ),
            (
                r#""vocab_size":151936"#,
                r#""vocab_size":null"#,
                "vocab_size is missing",
            ),
        ] {
            let json = STYLE_4_57.replace(from, to);
            assert_ne!(json, STYLE_4_57);
            let error = format!("{:#}", config(&json).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
    }
}
