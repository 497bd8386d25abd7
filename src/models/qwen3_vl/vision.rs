//! The vision tower: patches in, one embedding for each image token out, plus the deepstack features.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};

use super::config::VisionConfig;
use crate::{
    models::common::{
        parts::{VisionOutput, VisionTower},
        patches::Grid,
        positions::stretched_positions,
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

/// What depends on a page's size alone.
struct Places {
    /// `(patches, hidden)`: added to the embeddings.
    learned: Tensor,
    rope: RopeTables,
}

/// The tower.
pub struct Tower {
    shape: TowerShape,
    patch_embed: Linear,
    /// `(side², hidden)`.
    positions: Tensor,
    side: usize,
    places: Latest<Places>,
    blocks: Vec<VisionBlock>,
    merger: Merger,
    /// Each with the block that it comes after, in order.
    deepstack: Vec<(usize, Merger)>,
}

impl Tower {
    /// Takes the tensors under `prefix`.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape than `config` says.
    pub fn load(weights: &Weights, prefix: &str, config: &VisionConfig) -> Result<Self> {
        let (shape, side) = (config.shape, config.position_side);
        let sizes = (shape.width, config.intermediate_size);
        let norm = |name: &str| Ok(Norm::Layer(LayerNorm::load(weights, name, shape.width)?));
        let mlp = |name: &str| {
            let layers = ["linear_fc1", "linear_fc2"];
            Mlp::load_plain(weights, name, layers, sizes, Activation::GeluTanh)
        };
        let taps = config.deepstack_visual_indexes.iter().enumerate();
        let deepstack = taps.map(|(i, &block)| {
            let name = format!("{prefix}.deepstack_merger_list.{i}");
            Ok((block, merger(weights, &name, config, true)?))
        });
        Ok(Self {
            patch_embed: load_patch_embed(weights, prefix, &shape, true)?,
            positions: weights.get(
                &format!("{prefix}.pos_embed.weight"),
                &[side * side, shape.width],
            )?,
            side,
            places: Latest::default(),
            blocks: load_blocks(weights, prefix, &shape, &norm, &mlp)?,
            merger: merger(weights, &format!("{prefix}.merger"), config, false)?,
            deepstack: deepstack.collect::<Result<_>>()?,
            shape,
        })
    }

    fn places(&self, patches: &Tensor, grid: Grid) -> CandleResult<Places> {
        let merge = self.shape.patches.merge_size;
        Ok(Places {
            learned: stretched_positions(&self.positions, self.side, grid, merge)?,
            rope: self.shape.rope(grid.merge_order(merge), patches)?,
        })
    }
}

impl VisionTower for Tower {
    fn forward(&self, patches: &Tensor, grid: Grid) -> CandleResult<VisionOutput> {
        let places = self.places.get_or(grid, || self.places(patches, grid))?;
        let mut hidden = (self.patch_embed.forward(patches, Pass::Prefill)? + &places.learned)?;
        let mut deepstack = Vec::with_capacity(self.deepstack.len());
        for (i, block) in self.blocks.iter().enumerate() {
            hidden = block.forward(&hidden, &places.rope, None)?;
            if let Some((_, merger)) = self.deepstack.iter().find(|(block, _)| *block == i) {
                deepstack.push(merger.forward(&hidden)?);
            }
        }
        Ok(VisionOutput {
            embeddings: self.merger.forward(&hidden)?,
            deepstack,
        })
    }
}

/// Deepstack mergers normalise the joined row, the main one each patch.
fn merger(
    weights: &Weights,
    name: &str,
    config: &VisionConfig,
    joins_first: bool,
) -> Result<Merger> {
    let merged = config.shape.merged();
    let normed = if joins_first {
        merged
    } else {
        config.shape.width
    };
    let norm = Norm::Layer(LayerNorm::load(weights, &format!("{name}.norm"), normed)?);
    let names = ["linear_fc1", "linear_fc2"].map(|part| format!("{name}.{part}"));
    let merger = Merger::load(weights, names, norm, merged, config.out_hidden_size)?;
    Ok(if joins_first {
        merger.joining_first()
    } else {
        merger
    })
}
