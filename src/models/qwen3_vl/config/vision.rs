//! `vision_config` in `config.json`.

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::models::common::{
    config::{RawTower, TowerDefaults, fields::required},
    tower::TowerShape,
};

/// What the files of this family don't say, or may leave out.
const TOWER: TowerDefaults = TowerDefaults {
    hidden_act: "gelu_pytorch_tanh",
    patch_size: 16,
    colours: [[0.5; 3]; 2],
};

/// The vision tower.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct VisionConfig {
    pub shape: TowerShape,
    pub intermediate_size: usize,
    pub out_hidden_size: usize,
    /// Side of the square table of learned positions.
    pub position_side: usize,
    /// Blocks whose output is also fed to the decoder, in decoder-layer order.
    pub deepstack_visual_indexes: Vec<usize>,
}

/// As it is met in the wild.
#[derive(Deserialize)]
pub struct RawVision {
    #[serde(flatten)]
    tower: RawTower,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    out_hidden_size: Option<usize>,
    num_position_embeddings: Option<usize>,
    deepstack_visual_indexes: Option<Vec<usize>>,
}

impl RawVision {
    /// Checks that this is a tower that can be computed.
    ///
    /// # Errors
    /// A field is missing, or has a value that can't be right; the error names it.
    pub fn check(self) -> Result<VisionConfig> {
        let shape = self.tower.check(required!(self.hidden_size), &TOWER)?;
        let positions = required!(self.num_position_embeddings);
        let position_side = positions.isqrt();
        ensure!(
            position_side * position_side == positions,
            "num_position_embeddings {positions} is not a square"
        );
        let (taps, depth) = (
            self.deepstack_visual_indexes.unwrap_or_default(),
            shape.depth,
        );
        ensure!(
            taps.is_sorted_by(|a, b| a < b) && taps.iter().all(|&tap| tap < depth),
            "deepstack_visual_indexes {taps:?} are not ascending blocks of {depth}"
        );
        Ok(VisionConfig {
            shape,
            intermediate_size: required!(self.intermediate_size),
            out_hidden_size: required!(self.out_hidden_size),
            position_side,
            deepstack_visual_indexes: taps,
        })
    }
}
