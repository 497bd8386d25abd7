//! The models, one folder a family, and what is known of one before its weights are there.
//!
//! A new family is a folder with its config, vision tower and decoder, as far as [`common`] has them not, made from parts of
//! [`nn`](crate::nn), a line in each `match` here, and its name in [`spec`].

pub mod common;
pub mod identity;
pub mod preset;
pub mod qwen2_5_vl;
pub mod qwen2_vl;
pub mod qwen3_5;
pub mod qwen3_vl;
pub mod spec;

use std::{path::Path, sync::Arc};

use anyhow::Result;
use candle_core::{DType, Device};

use self::{
    common::{
        config::CommonConfig,
        model::{QwenVl, Source},
    },
    spec::Family,
};
use crate::{
    answer::Units,
    generation::model::VisionLanguageModel,
    nn::{device::Hardware, precision::Precision, quantized::QuantizedFile, weights::Weights},
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
    Ok(Arc::new(load_parts(folder, device, precision, quantized)?))
}

/// As [`load`], with parts that can be run one by one.
///
/// # Errors
/// As [`load`].
pub fn load_parts(
    folder: &Path,
    device: &Device,
    precision: Precision,
    quantized: Option<QuantizedFile>,
) -> Result<QwenVl> {
    load_from(Source {
        folder,
        device,
        precision,
        quantized,
        draft_head: false,
    })
}

/// As [`load_parts`], from what `source` says.
///
/// # Errors
/// As [`load`].
pub fn load_from(source: Source) -> Result<QwenVl> {
    match Family::of(source.folder)? {
        Family::Qwen2Vl => qwen2_vl::load(source),
        Family::Qwen25Vl => qwen2_5_vl::load(source),
        Family::Qwen3Vl => qwen3_vl::load(source),
        Family::Qwen35 => qwen3_5::load(source),
    }
}

/// As [`load`], to `hardware`, and if `draft_head` says so with the model's draft head. Quantized weights are kept for the
/// next start, under `identity`, that of its [files](identity).
///
/// # Errors
/// As [`load`], or the draft head is missing.
pub fn load_on(
    folder: &Path,
    identity: &str,
    hardware: &Hardware,
    draft_head: bool,
) -> Result<Arc<dyn VisionLanguageModel>> {
    Ok(Arc::new(load_from(Source {
        folder,
        device: hardware.device(),
        precision: hardware.precision(),
        quantized: hardware.quantized_file(folder, identity),
        draft_head,
    })?))
}

/// Whether models like the one in `folder` may have a draft head of their own.
///
/// # Errors
/// As [`config`].
pub fn may_have_draft_head(folder: &Path) -> Result<bool> {
    Ok(Family::of(folder)? == Family::Qwen35)
}

/// Whether the model in `folder`, whose weights are there, has a draft head of its own.
///
/// # Errors
/// The weights can't be read.
pub fn has_draft_head(folder: &Path) -> Result<bool> {
    if !may_have_draft_head(folder)? {
        return Ok(false);
    }
    let weights = Weights::open(folder, &Device::Cpu, Precision::from(DType::F32), None)?;
    Ok(qwen3_5::has_draft_head(&weights))
}

/// What the model in `folder` says of itself, as far as every family says it.
///
/// # Errors
/// The files of the folder that say so can't be read or make no sense.
pub fn config(folder: &Path) -> Result<CommonConfig> {
    match Family::of(folder)? {
        Family::Qwen2Vl => qwen2_config::<qwen2_vl::config::VisionConfig>(folder),
        Family::Qwen25Vl => qwen2_config::<qwen2_5_vl::config::VisionConfig>(folder),
        Family::Qwen3Vl => qwen3_vl::config::Config::read(folder).map(|config| config.common),
        Family::Qwen35 => qwen3_5::config::Config::read(folder).map(|config| config.common),
    }
}

fn qwen2_config<V: qwen2_vl::config::ReadVision>(folder: &Path) -> Result<CommonConfig> {
    qwen2_vl::config::Config::<V>::read(folder).map(|config| config.common)
}

/// What the model called `name`, whose small files are in `folder`, measures boxes in: by its family, else by its name.
#[must_use]
pub fn box_units(name: &str, folder: Option<&Path>) -> Units {
    let family = folder.and_then(|folder| Family::of(folder).ok());
    let is_25 = || {
        let name = name.to_lowercase().replace(['.', '-'], "_");
        name.contains("qwen2_5_vl")
    };
    match family {
        Some(Family::Qwen25Vl) => Units::Pixels,
        None if is_25() => Units::Pixels,
        _ => Units::Thousandths,
    }
}

/// The pixel limits of the model in `folder`.
///
/// # Errors
/// As [`config`].
pub fn pixel_budget(folder: &Path) -> Result<PixelBudget> {
    config(folder).map(|config| config.pixels)
}
