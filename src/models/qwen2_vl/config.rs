//! What a Qwen2-VL model's JSON files say, and a Qwen2.5-VL model's, which differ in the vision tower alone.
//!
//! `config.json` comes in two styles: the decoder's fields are at its root, as transformers 4 first wrote them, or in
//! `text_config`. So do the weights: see [`TensorNames`].

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    model_files::read_json,
    models::common::{
        config::{
            CommonConfig, Files, Published, RawText, RawTower, TextConfig, TextDefaults,
            TowerDefaults, Traits, fields::required,
        },
        positions::Sections,
        tower::TowerShape,
    },
    nn::weights::Weights,
};

/// What the files don't say, or may leave out.
const TEXT: TextDefaults = TextDefaults {
    qkv_bias: true,
    traits: Traits {
        qk_norm: false,
        zero_centred: false,
        output_gate: false,
    },
    sections: Sections::Chunked,
    mrope_section: [16, 24, 24],
    partial_rotary_factor: 1.0,
    rope_theta: 1_000_000.0,
    rms_norm_eps: 1e-5,
};

/// The same of the tower, which sees the colours that CLIP does.
pub(in crate::models) const TOWER: TowerDefaults = TowerDefaults {
    hidden_act: "quick_gelu",
    patch_size: 14,
    colours: [
        [0.481_454_66, 0.457_827_5, 0.408_210_73],
        [0.268_629_54, 0.261_302_6, 0.275_777_1],
    ],
};

/// All that the model needs to know, from the files of one folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Config<V> {
    /// What every family says.
    pub common: CommonConfig,
    /// The decoder.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: V,
}

/// A family's vision tower.
pub trait ReadVision: Sized {
    /// `vision_config` as it is met in the wild.
    type Raw: DeserializeOwned;

    /// Checks that this is a tower that can be computed.
    ///
    /// # Errors
    /// A field is missing, or has a value that can't be right; the error names it.
    fn check(raw: Self::Raw) -> Result<Self>;

    /// Its sizes.
    fn shape(&self) -> TowerShape;

    /// How wide its output is.
    fn output(&self) -> usize;
}

#[derive(Deserialize)]
struct RawRoot {
    vision_config: Value,
    text_config: Option<Value>,
    image_token_id: Option<u32>,
    tie_word_embeddings: Option<bool>,
}

impl<V: ReadVision> Config<V> {
    /// Reads `config.json`, `generation_config.json` and `preprocessor_config.json`.
    ///
    /// # Errors
    /// A file is missing or broken, or describes a model that is not of the family or can't exist.
    pub fn read(folder: &Path) -> Result<Self> {
        let json: Value = read_json(folder, "config.json")?;
        Files::read(folder)
            .and_then(|files| Self::from_json(json, files))
            .with_context(|| format!("cannot use the model in {}", folder.display()))
    }

    fn from_json(json: Value, files: Files) -> Result<Self> {
        let root: RawRoot = serde_json::from_value(json.clone()).context("config.json")?;
        let (text, place) = match root.text_config {
            Some(text) => (text, "text_config in config.json"),
            None => (json, "config.json"),
        };
        let mut text: RawText = serde_json::from_value(text).context(place)?;
        let eos = text.eos_token_id.take();
        // Older files say it inside alone, where the root's value is a default.
        let tied = [root.tie_word_embeddings, text.tie_word_embeddings].contains(&Some(true));
        let text = text.check(&TEXT, tied).context(place)?;
        let place = "vision_config in config.json";
        let vision = serde_json::from_value(root.vision_config).context(place)?;
        let vision = V::check(vision).context(place)?;
        ensure!(
            vision.output() == text.hidden_size,
            "the vision tower's output is {} wide, but hidden_size of the decoder is {}",
            vision.output(),
            text.hidden_size
        );
        let published = Published {
            patches: vision.shape().patches,
            min_pixels: 3136,
            max_pixels: 12_845_056,
        };
        // The reference's default, which some files rely on.
        let image_token_id = root.image_token_id.or(Some(151_655));
        Ok(Self {
            common: CommonConfig::new(files, image_token_id, eos, &text, published)?,
            text,
            vision,
        })
    }
}

/// Where the tensors of the two halves are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorNames {
    /// Prefix of the vision tower's.
    pub vision: &'static str,
    /// Prefix of the decoder's.
    pub text: &'static str,
}

impl TensorNames {
    /// Those that are in `weights`: of transformers since 4.52, or the older ones that most published models have.
    #[must_use]
    pub fn of(weights: &Weights) -> Self {
        let older = |name: &str| weights.contains(name);
        Self {
            vision: if older("visual.patch_embed.proj.weight") {
                "visual"
            } else {
                "model.visual"
            },
            text: if older("model.embed_tokens.weight") {
                "model"
            } else {
                "model.language_model"
            },
        }
    }
}

/// Qwen2-VL's vision tower.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct VisionConfig {
    pub shape: TowerShape,
    pub intermediate_size: usize,
    /// Width of the decoder.
    pub hidden_size: usize,
}

/// As it is met in the wild.
#[derive(Deserialize)]
pub struct RawVision {
    #[serde(flatten)]
    tower: RawTower,
    embed_dim: Option<usize>,
    hidden_size: Option<usize>,
    mlp_ratio: Option<f64>,
}

impl ReadVision for VisionConfig {
    type Raw = RawVision;

    fn check(raw: RawVision) -> Result<Self> {
        let shape = raw.tower.check(required!(raw.embed_dim), &TOWER)?;
        let ratio = raw.mlp_ratio.unwrap_or(4.0);
        let intermediate_size = (shape.width as f64 * ratio) as usize;
        ensure!(
            intermediate_size > 0,
            "mlp_ratio {ratio} makes the inner width 0"
        );
        Ok(Self {
            shape,
            intermediate_size,
            hidden_size: required!(raw.hidden_size),
        })
    }

    fn shape(&self) -> TowerShape {
        self.shape
    }

    fn output(&self) -> usize {
        self.hidden_size
    }
}
