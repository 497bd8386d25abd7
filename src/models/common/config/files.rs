//! The JSON files beside `config.json`, as they are met in the wild.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use super::fields::OneOrMany;
use crate::model_files::{read_json, read_json_or_default};

/// What generation and image processing are set to.
#[derive(Default)]
pub struct Files {
    pub(super) generation: RawGeneration,
    pub(super) preprocessor: RawPreprocessor,
}

impl Files {
    /// Reads `generation_config.json`, and `preprocessor_config.json` or what transformers 5 may keep instead of it inside
    /// `processor_config.json`. None of them need be there.
    ///
    /// # Errors
    /// A file that is there can't be read.
    pub fn read(folder: &Path) -> Result<Self> {
        Ok(Self {
            generation: read_json_or_default(folder, "generation_config.json")?,
            preprocessor: if folder.join("preprocessor_config.json").exists() {
                read_json(folder, "preprocessor_config.json")?
            } else {
                let processor: RawProcessor =
                    read_json_or_default(folder, "processor_config.json")?;
                processor.image_processor.unwrap_or_default()
            },
        })
    }
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
struct RawProcessor {
    image_processor: Option<RawPreprocessor>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawSize {
    pub(super) shortest_edge: Option<u64>,
    pub(super) longest_edge: Option<u64>,
}
