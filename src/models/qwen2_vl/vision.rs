//! The vision tower: patches in, one embedding for each image token out.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};

use super::config::VisionConfig;
use crate::{
    models::common::{
        parts::{VisionOutput, VisionTower},
        patches::Grid,
        tower::{Latest, Merger, TowerShape, VisionBlock, load_blocks, load_patch_embed},
    },
    nn::{
        linear::Linear,
        mlp::{Activation, Mlp},
        norms::{LayerNorm, Norm},
        pass::Pass,
        rope::RopeTables,
        weights::Weights,
    },
};

/// The tower.
pub(super) struct Tower {
    shape: TowerShape,
    patch_embed: Linear,
    rope: Latest<RopeTables>,
    blocks: Vec<VisionBlock>,
    merger: Merger,
}

impl Tower {
    /// Takes the tensors under `prefix`.
    pub(super) fn load(weights: &Weights, prefix: &str, config: &VisionConfig) -> Result<Self> {
        let shape = config.shape;
        let sizes = (shape.width, config.intermediate_size);
        let norm = |name: &str| Ok(Norm::Layer(LayerNorm::load(weights, name, shape.width)?));
        let mlp = |name: &str| {
            Mlp::load_plain(weights, name, ["fc1", "fc2"], sizes, Activation::QuickGelu)
        };
        Ok(Self {
            patch_embed: load_patch_embed(weights, prefix, &shape, false)?,
            rope: Latest::default(),
            blocks: load_blocks(weights, prefix, &shape, &norm, &mlp)?,
            merger: merger(weights, prefix, &shape, norm, config.hidden_size)?,
            shape,
        })
    }
}

/// The merger under `prefix`, to the decoder's width `output`, as Qwen2.5-VL has it too.
pub(in crate::models) fn merger(
    weights: &Weights,
    prefix: &str,
    shape: &TowerShape,
    norm: impl Fn(&str) -> Result<Norm>,
    output: usize,
) -> Result<Merger> {
    let norm = norm(&format!("{prefix}.merger.ln_q"))?;
    let layers = [0, 2].map(|i| format!("{prefix}.merger.mlp.{i}"));
    Merger::load(weights, layers, norm, shape.merged(), output)
}

impl VisionTower for Tower {
    fn forward(&self, patches: &Tensor, grid: Grid) -> CandleResult<VisionOutput> {
        let rope = self.rope.get_or(grid, || {
            let places = grid.merge_order(self.shape.patches.merge_size);
            self.shape.rope(places, patches)
        })?;
        let mut hidden = self.patch_embed.forward(patches, Pass::Prefill)?;
        for block in &self.blocks {
            hidden = block.forward(&hidden, &rope, None)?;
        }
        Ok(VisionOutput {
            embeddings: self.merger.forward(&hidden)?,
            deepstack: Vec::new(),
        })
    }
}
