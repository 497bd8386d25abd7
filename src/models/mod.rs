//! The models, one folder a family, and what is known of one before its weights are there.
//!
//! A new family is a folder with its config, vision tower, decoder and positions, made from parts of [`nn`](crate::nn), a
//! line in each `match` here, and its name in [`spec`].

pub mod identity;
pub mod qwen3_vl;
pub mod spec;

use std::{path::Path, sync::Arc};

use anyhow::Result;
use candle_core::Device;

use self::{qwen3_vl::Qwen3Vl, spec::Family};
use crate::{
    generation::model::VisionLanguageModel,
    nn::{device::Hardware, precision::Precision, quantized::QuantizedFile},
    page::PixelBudget,
};

/// Loads the model in `folder`, in the published layout, to `device`, in `precision`; takes from seconds to minutes.
/// Quantized weights are taken from `quantized`, and kept there if they are not yet.
///
/// # Errors
/// A file is missing or damaged, or the files don't fit each other; the error names the tensor or field.
pub fn load(
    folder: &Path,
    device: &Device,
    precision: Precision,
    quantized: Option<QuantizedFile>,
) -> Result<Arc<dyn VisionLanguageModel>> {
    Ok(match Family::of(folder)? {
        Family::Qwen3Vl => Arc::new(Qwen3Vl::load(folder, device, precision, quantized)?),
    })
}

/// As [`load`], to `hardware`. Quantized weights are kept for the next start, under `identity`, that of
/// its [files](identity).
///
/// # Errors
/// As [`load`].
pub fn load_on(
    folder: &Path,
    identity: &str,
    hardware: &Hardware,
) -> Result<Arc<dyn VisionLanguageModel>> {
    let quantized = hardware.quantized_file(folder, identity);
    load(folder, hardware.device(), hardware.precision(), quantized)
}

/// The pixel limits of the model in `folder`.
///
/// # Errors
/// The files of the folder that say so can't be read or make no sense.
pub fn pixel_budget(folder: &Path) -> Result<PixelBudget> {
    match Family::of(folder)? {
        Family::Qwen3Vl => qwen3_vl::config::pixel_budget(folder),
    }
}
