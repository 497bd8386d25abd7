//! The model folder's JSON files, read leniently and checked strictly.
//!
//! Both spellings met in the wild are understood: transformers 4 (`rope_scaling` with `rope_theta` beside it) and
//! transformers 5 (`rope_parameters`). Fields may be null, repeated or missing where the reference has a default; a
//! value that can't be right is an error that names its file and field.

pub mod fields;
mod files;
mod text;
mod tower;

use anyhow::{Context, Result, ensure};

use self::fields::OneOrMany;
pub use self::{
    files::Files,
    text::{Biases, RawText, TextConfig, TextDefaults, Traits},
    tower::{RawTower, TowerDefaults},
};
use super::patches::PatchSettings;
use crate::page::PixelBudget;

/// What every family says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct CommonConfig {
    /// Id of the token that stands for one merged patch.
    pub image_token_id: u32,
    /// Any of these ends the answer.
    pub eos_token_ids: Vec<u32>,
    /// How pixels become the vision tower's input.
    pub patches: PatchSettings,
    /// How large a page may be.
    pub pixels: PixelBudget,
    /// Number of the decoder's tokens.
    pub vocab_size: usize,
    /// How many tokens a prompt and its answer may have together.
    pub max_position_embeddings: usize,
}

/// What holds where a folder's files are silent: what the published models of the family have.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// How pixels become the vision tower's input.
    pub patches: PatchSettings,
    /// Smallest number of pixels.
    pub min_pixels: u64,
    /// Largest number of pixels.
    pub max_pixels: u64,
}

impl CommonConfig {
    /// Puts together what `config.json` says and what the other `files` do. `published` has the sizes of `config.json`.
    ///
    /// # Errors
    /// A field that the reference asks for is missing, or makes no sense.
    pub fn new(
        files: Files,
        image_token_id: Option<u32>,
        eos_token_id: Option<OneOrMany>,
        text: &TextConfig,
        published: Published,
    ) -> Result<Self> {
        let Files {
            generation,
            preprocessor,
        } = files;
        let eos = generation.eos_token_id.or(eos_token_id);
        let mut eos_token_ids: Vec<u32> = eos.map(Vec::from).unwrap_or_default();
        eos_token_ids.sort_unstable();
        eos_token_ids.dedup();
        ensure!(
            !eos_token_ids.is_empty(),
            "eos_token_id is missing in generation_config.json and config.json"
        );
        let size = preprocessor.size.unwrap_or_default();
        // As in the reference, the older fields win where both are there.
        let min_pixels = preprocessor.min_pixels.or(size.shortest_edge);
        let max_pixels = preprocessor.max_pixels.or(size.longest_edge);
        let (min_pixels, max_pixels) = (
            min_pixels.unwrap_or(published.min_pixels),
            max_pixels.unwrap_or(published.max_pixels),
        );
        ensure!(
            min_pixels <= max_pixels,
            "preprocessor_config.json allows at least {min_pixels} and at most {max_pixels} pixels"
        );
        let patches = PatchSettings {
            mean: preprocessor.image_mean.unwrap_or(published.patches.mean),
            std: preprocessor.image_std.unwrap_or(published.patches.std),
            ..published.patches
        };
        let factor = u32::try_from(patches.factor()).context("patch_size is too large")?;
        Ok(Self {
            image_token_id: image_token_id.context("image_token_id is missing in config.json")?,
            eos_token_ids,
            patches,
            pixels: PixelBudget {
                factor,
                min_pixels,
                max_pixels,
            },
            vocab_size: text.vocab_size,
            max_position_embeddings: text.max_position_embeddings,
        })
    }
}
