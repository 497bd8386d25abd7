//! The JSON files as they are met in the wild.

use serde::Deserialize;

use super::{fields::OneOrMany, text::RawText, vision::RawVision};

#[derive(Deserialize)]
pub(super) struct RawConfig {
    pub(super) text_config: RawText,
    pub(super) vision_config: RawVision,
    pub(super) image_token_id: Option<u32>,
    pub(super) tie_word_embeddings: Option<bool>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawGeneration {
    pub(super) eos_token_id: Option<OneOrMany>,
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
