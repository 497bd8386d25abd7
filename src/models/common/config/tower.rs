//! What a vision tower is said to be, in `vision_config` of `config.json`, as far as every family says it.

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::fields::{RawRope, check_activation, check_channels, required};
use crate::models::common::{patches::PatchSettings, tower::TowerShape};

/// As it is met in the wild.
#[derive(Deserialize)]
pub struct RawTower {
    depth: Option<usize>,
    num_heads: Option<usize>,
    hidden_act: Option<String>,
    in_channels: Option<usize>,
    patch_size: Option<usize>,
    spatial_merge_size: Option<usize>,
    temporal_patch_size: Option<usize>,
    rope_parameters: Option<RawRope>,
}

/// What the families' towers differ in that their files don't say.
pub struct TowerDefaults {
    /// The activation function that is computed.
    pub hidden_act: &'static str,
    /// Where the files are silent.
    pub patch_size: usize,
    /// Channel means and deviations of published models.
    pub colours: [[f32; 3]; 2],
}

impl RawTower {
    /// Checks that this is a tower, `width` wide, that can be computed.
    ///
    /// # Errors
    /// A field is missing, or has a value that can't be right; the error names it.
    pub fn check(self, width: usize, defaults: &TowerDefaults) -> Result<TowerShape> {
        let heads = required!(self.num_heads);
        ensure!(
            width.is_multiple_of(heads * 4),
            "num_heads {heads} does not split a width of {width} into heads whose size is a multiple of 4"
        );
        check_activation(self.hidden_act.as_deref(), defaults.hidden_act)?;
        check_channels(self.in_channels)?;
        let [mean, std] = defaults.colours;
        let patches = PatchSettings {
            patch_size: self.patch_size.unwrap_or(defaults.patch_size),
            merge_size: self.spatial_merge_size.unwrap_or(2),
            mean,
            std,
        };
        ensure!(
            patches.factor() > 0,
            "patch_size or spatial_merge_size is 0"
        );
        let rope = self.rope_parameters.and_then(|rope| rope.rope_theta);
        Ok(TowerShape {
            depth: required!(self.depth),
            width,
            heads,
            frames: self.temporal_patch_size.unwrap_or(2),
            patches,
            rope_theta: rope.unwrap_or(10_000.0),
        })
    }
}
