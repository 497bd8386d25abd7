//! The model folder's JSON files, read leniently and checked strictly.
//!
//! Both spellings met in the wild are understood: transformers 4.57 (`rope_scaling` with `rope_theta` beside it) and
//! transformers 5 (`rope_parameters`). Fields may be null, repeated or missing where the reference has a default; a
//! value that can't be right is an error that names its file and field.

mod fields;
mod raw;
mod text;
mod vision;

use std::path::Path;

use anyhow::{Context, Result, ensure};

use self::raw::{RawConfig, RawGeneration, RawPreprocessor, RawProcessor};
pub use self::{text::TextConfig, vision::VisionConfig};
use crate::{
    model_files::{read_json, read_json_or_default},
    page::PixelBudget,
};

/// All that the model needs to know, from the files of one folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The decoder.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: VisionConfig,
    /// Id of the token that stands for one merged patch.
    pub image_token_id: u32,
    /// Any of these ends the answer.
    pub eos_token_ids: Vec<u32>,
    /// Channel means that pixels in 0..=1 are normalised with.
    pub image_mean: [f32; 3],
    /// Channel deviations that pixels in 0..=1 are normalised with.
    pub image_std: [f32; 3],
}

/// The image processor's settings, which transformers 5 may keep inside `processor_config.json`.
fn read_preprocessor(folder: &Path) -> Result<RawPreprocessor> {
    if folder.join("preprocessor_config.json").exists() {
        return read_json(folder, "preprocessor_config.json");
    }
    let processor: RawProcessor = read_json_or_default(folder, "processor_config.json")?;
    Ok(processor.image_processor.unwrap_or_default())
}

/// The pixel limits of the folder's image processor, without reading anything else.
///
/// # Errors
/// `config.json` or `preprocessor_config.json` can't be read or makes no sense.
pub fn pixel_budget(folder: &Path) -> Result<PixelBudget> {
    let factor = Config::read(folder)?.vision.factor();
    let raw = read_preprocessor(folder)?;
    let (min, max) = raw
        .size
        .map_or((None, None), |size| (size.shortest_edge, size.longest_edge));
    // The published models' limits, for fine-tunes that leave the file out.
    let min_pixels = min.or(raw.min_pixels).unwrap_or(65_536);
    let max_pixels = max.or(raw.max_pixels).unwrap_or(16_777_216);
    ensure!(
        min_pixels <= max_pixels,
        "preprocessor_config.json in {} allows at least {min_pixels} and at most {max_pixels} pixels",
        folder.display()
    );
    Ok(PixelBudget {
        factor: u32::try_from(factor).context("patch_size is too large")?,
        min_pixels,
        max_pixels,
    })
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
        let generation: RawGeneration = read_json_or_default(folder, "generation_config.json")?;
        let preprocessor = read_preprocessor(folder)?;
        Self::from_raw(raw, generation, &preprocessor)
            .with_context(|| format!("cannot use the model in {}", folder.display()))
    }

    fn from_raw(
        mut raw: RawConfig,
        generation: RawGeneration,
        preprocessor: &RawPreprocessor,
    ) -> Result<Self> {
        let eos = generation
            .eos_token_id
            .or(raw.text_config.eos_token_id.take());
        let mut eos_token_ids: Vec<u32> = eos.map(Vec::from).unwrap_or_default();
        eos_token_ids.sort_unstable();
        eos_token_ids.dedup();
        ensure!(
            !eos_token_ids.is_empty(),
            "eos_token_id is missing in generation_config.json and config.json"
        );
        let tied = raw
            .text_config
            .tie_word_embeddings
            .or(raw.tie_word_embeddings)
            .unwrap_or(false);
        let config = Self {
            text: raw
                .text_config
                .check(tied)
                .context("text_config in config.json")?,
            vision: raw
                .vision_config
                .check()
                .context("vision_config in config.json")?,
            image_token_id: raw
                .image_token_id
                .context("image_token_id is missing in config.json")?,
            eos_token_ids,
            image_mean: preprocessor.image_mean.unwrap_or([0.5; 3]),
            image_std: preprocessor.image_std.unwrap_or([0.5; 3]),
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
        Config::from_raw(
            serde_json::from_str(json)?,
            RawGeneration::default(),
            &RawPreprocessor::default(),
        )
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
            let generation =
                serde_json::from_str(&format!(r#"{{"eos_token_id":{json}}}"#)).unwrap();
            let raw = serde_json::from_str(STYLE_4_57).unwrap();
            let config = Config::from_raw(raw, generation, &RawPreprocessor::default()).unwrap();
            assert_eq!(config.eos_token_ids, ids);
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
