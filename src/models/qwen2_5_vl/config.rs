//! `vision_config` in a Qwen2.5-VL model's `config.json`; all else is as in Qwen2-VL's.

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::models::{
    common::{
        config::{RawTower, TowerDefaults, fields::required},
        tower::TowerShape,
    },
    qwen2_vl::config::{ReadVision, TOWER},
};

/// The vision tower.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct VisionConfig {
    pub shape: TowerShape,
    pub intermediate_size: usize,
    /// Side of a window, in image tokens.
    pub window_side: usize,
    /// Blocks that see the whole page.
    pub fullatt_block_indexes: Vec<usize>,
    pub out_hidden_size: usize,
}

/// As it is met in the wild.
#[derive(Deserialize)]
pub struct RawVision {
    #[serde(flatten)]
    tower: RawTower,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    window_size: Option<usize>,
    fullatt_block_indexes: Option<Vec<usize>>,
    out_hidden_size: Option<usize>,
}

impl ReadVision for VisionConfig {
    type Raw = RawVision;

    fn check(raw: RawVision) -> Result<Self> {
        const DEFAULTS: TowerDefaults = TowerDefaults {
            hidden_act: "silu",
            ..TOWER
        };
        let shape = raw.tower.check(required!(raw.hidden_size), &DEFAULTS)?;
        let (window_size, patches) = (raw.window_size.unwrap_or(112), shape.patches);
        let window_side = window_size / patches.merge_size / patches.patch_size;
        ensure!(
            window_side > 0,
            "window_size {window_size} is less than one image token of {} pixels",
            patches.factor()
        );
        let full = raw.fullatt_block_indexes;
        Ok(Self {
            shape,
            intermediate_size: required!(raw.intermediate_size),
            window_side,
            fullatt_block_indexes: full.unwrap_or_else(|| vec![7, 15, 23, 31]),
            out_hidden_size: required!(raw.out_hidden_size),
        })
    }

    fn shape(&self) -> TowerShape {
        self.shape
    }

    fn output(&self) -> usize {
        self.out_hidden_size
    }
}
