//! `vision_config` in a Qwen2.5-VL model's `config.json`; all else is as in Qwen2-VL's.

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::models::{
    common::{
        config::fields::{RawRope, check_activation, check_channels, required},
        patches::PatchSettings,
    },
    qwen2_vl::config::{ReadVision, axial_theta, check_heads, clip_patches},
};

/// The vision tower.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct VisionConfig {
    pub depth: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_heads: usize,
    /// With CLIP's means and deviations.
    pub patches: PatchSettings,
    pub temporal_patch_size: usize,
    /// Side of a window, in image tokens.
    pub window_side: usize,
    /// Blocks that see the whole page.
    pub fullatt_block_indexes: Vec<usize>,
    pub out_hidden_size: usize,
    pub rope_theta: f64,
}

/// As it is met in the wild.
#[derive(Deserialize)]
pub struct RawVision {
    depth: Option<usize>,
    hidden_size: Option<usize>,
    hidden_act: Option<String>,
    intermediate_size: Option<usize>,
    num_heads: Option<usize>,
    in_channels: Option<usize>,
    patch_size: Option<usize>,
    spatial_merge_size: Option<usize>,
    temporal_patch_size: Option<usize>,
    window_size: Option<usize>,
    fullatt_block_indexes: Option<Vec<usize>>,
    out_hidden_size: Option<usize>,
    rope_parameters: Option<RawRope>,
}

impl ReadVision for VisionConfig {
    type Raw = RawVision;

    fn check(raw: RawVision) -> Result<Self> {
        let (hidden_size, num_heads) = (required!(raw.hidden_size), required!(raw.num_heads));
        check_heads(hidden_size, num_heads)?;
        check_activation(raw.hidden_act.as_deref(), "silu")?;
        check_channels(raw.in_channels)?;
        let patches = clip_patches(
            raw.patch_size.unwrap_or(14),
            raw.spatial_merge_size.unwrap_or(2),
        );
        ensure!(
            patches.factor() > 0,
            "patch_size or spatial_merge_size is 0"
        );
        let window_size = raw.window_size.unwrap_or(112);
        let window_side = window_size / patches.merge_size / patches.patch_size;
        ensure!(
            window_side > 0,
            "window_size {window_size} is less than one image token of {} pixels",
            patches.factor()
        );
        let full = raw.fullatt_block_indexes;
        Ok(Self {
            depth: required!(raw.depth),
            hidden_size,
            intermediate_size: required!(raw.intermediate_size),
            num_heads,
            patches,
            temporal_patch_size: raw.temporal_patch_size.unwrap_or(2),
            window_side,
            fullatt_block_indexes: full.unwrap_or_else(|| vec![7, 15, 23, 31]),
            out_hidden_size: required!(raw.out_hidden_size),
            rope_theta: axial_theta(raw.rope_parameters),
        })
    }

    fn patches(&self) -> PatchSettings {
        self.patches
    }

    fn output(&self) -> usize {
        self.out_hidden_size
    }
}
