//! `vision_config` in `config.json`.

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::models::common::{
    config::fields::{RawRope, check_activation, check_channels, required},
    patches::PatchSettings,
};

/// The vision tower.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct VisionConfig {
    pub depth: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_heads: usize,
    /// With the means and deviations of published models.
    pub patches: PatchSettings,
    pub temporal_patch_size: usize,
    pub out_hidden_size: usize,
    /// Side of the square table of learned positions.
    pub position_side: usize,
    /// Blocks whose output is also fed to the decoder, in decoder-layer order.
    pub deepstack_visual_indexes: Vec<usize>,
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
    temporal_patch_size: Option<usize>,
    spatial_merge_size: Option<usize>,
    out_hidden_size: Option<usize>,
    num_position_embeddings: Option<usize>,
    deepstack_visual_indexes: Option<Vec<usize>>,
    rope_parameters: Option<RawRope>,
}

impl RawVision {
    /// Checks that this is a tower that can be computed.
    ///
    /// # Errors
    /// A field is missing, or has a value that can't be right; the error names it.
    pub fn check(self) -> Result<VisionConfig> {
        let hidden_size = required!(self.hidden_size);
        let num_heads = required!(self.num_heads);
        ensure!(
            hidden_size % (num_heads * 4) == 0,
            "hidden_size {hidden_size} does not give {num_heads} heads whose size is a multiple of 4"
        );
        check_activation(self.hidden_act.as_deref(), "gelu_pytorch_tanh")?;
        let positions = required!(self.num_position_embeddings);
        let position_side = positions.isqrt();
        ensure!(
            position_side * position_side == positions,
            "num_position_embeddings {positions} is not a square"
        );
        check_channels(self.in_channels)?;
        let depth = required!(self.depth);
        let taps = self.deepstack_visual_indexes.unwrap_or_default();
        ensure!(
            taps.is_sorted_by(|a, b| a < b) && taps.iter().all(|&tap| tap < depth),
            "deepstack_visual_indexes {taps:?} are not ascending blocks of {depth}"
        );
        Ok(VisionConfig {
            depth,
            hidden_size,
            intermediate_size: required!(self.intermediate_size),
            num_heads,
            patches: PatchSettings {
                patch_size: self.patch_size.unwrap_or(16),
                merge_size: self.spatial_merge_size.unwrap_or(2),
                mean: [0.5; 3],
                std: [0.5; 3],
            },
            temporal_patch_size: self.temporal_patch_size.unwrap_or(2),
            out_hidden_size: required!(self.out_hidden_size),
            position_side,
            deepstack_visual_indexes: taps,
            rope_theta: self
                .rope_parameters
                .and_then(|rope| rope.rope_theta)
                .unwrap_or(10_000.0),
        })
    }
}
