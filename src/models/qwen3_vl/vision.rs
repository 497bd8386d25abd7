//! The vision tower: patches in, one embedding for each image token out, plus the deepstack features.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};
use rayon::prelude::*;

use super::config::VisionConfig;
use crate::{
    models::common::{
        parts::{VisionOutput, VisionTower},
        patches::Grid,
        positions::{axial_angles, stretched_positions},
        tower::{Latest, Merger, VisionAttention, VisionBlock, patch_embed},
    },
    nn::{
        linear::Linear,
        mlp::{Activation, Mlp},
        norms::{LayerNorm, Norm},
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
    config: VisionConfig,
    patch_embed: Linear,
    /// `(side², hidden)`.
    positions: Tensor,
    places: Latest<Places>,
    blocks: Vec<VisionBlock>,
    merger: Merger,
    deepstack_mergers: Vec<Merger>,
}

impl Tower {
    /// Takes the tensors under `prefix`.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape than `config` says.
    pub fn load(weights: &Weights, prefix: &str, config: &VisionConfig) -> Result<Self> {
        let positions = config.position_side.pow(2);
        let deepstack = |i| {
            let name = format!("{prefix}.deepstack_merger_list.{i}");
            merger(weights, &name, config, true)
        };
        Ok(Self {
            patch_embed: patch_embed(
                weights,
                &format!("{prefix}.patch_embed.proj"),
                config.hidden_size,
                config.temporal_patch_size,
                &config.patches,
                true,
            )?,
            positions: weights.get(
                &format!("{prefix}.pos_embed.weight"),
                &[positions, config.hidden_size],
            )?,
            places: Latest::default(),
            blocks: (0..config.depth)
                .into_par_iter()
                .map(|i| block(weights, &format!("{prefix}.blocks.{i}"), config))
                .collect::<Result<_>>()?,
            merger: merger(weights, &format!("{prefix}.merger"), config, false)?,
            deepstack_mergers: (0..config.deepstack_visual_indexes.len())
                .map(deepstack)
                .collect::<Result<_>>()?,
            config: config.clone(),
        })
    }

    fn places(&self, patches: &Tensor, grid: Grid) -> CandleResult<Places> {
        let (config, merge) = (&self.config, self.config.patches.merge_size);
        let head_dim = config.hidden_size / config.num_heads;
        let angles = axial_angles(grid.merge_order(merge), config.rope_theta, head_dim);
        Ok(Places {
            learned: stretched_positions(&self.positions, config.position_side, grid, merge)?,
            rope: RopeTables::new(angles, head_dim / 2, patches.device(), patches.dtype())?,
        })
    }
}

impl VisionTower for Tower {
    fn forward(&self, patches: &Tensor, grid: Grid) -> CandleResult<VisionOutput> {
        let places = self.places.get_or(grid, || self.places(patches, grid))?;
        let mut hidden = (self.patch_embed.forward(patches)? + &places.learned)?;
        let mut deepstack = Vec::with_capacity(self.deepstack_mergers.len());
        for (i, block) in self.blocks.iter().enumerate() {
            hidden = block.forward(&hidden, &places.rope, None)?;
            if let Ok(tap) = self.config.deepstack_visual_indexes.binary_search(&i) {
                deepstack.push(self.deepstack_mergers[tap].forward(&hidden)?);
            }
        }
        Ok(VisionOutput {
            embeddings: self.merger.forward(&hidden)?,
            deepstack,
        })
    }
}

fn block(weights: &Weights, name: &str, config: &VisionConfig) -> Result<VisionBlock> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let norm = |part| LayerNorm::load(weights, &format!("{name}.{part}"), hidden);
    Ok(VisionBlock {
        norm1: Norm::Layer(norm("norm1")?),
        attention: VisionAttention::load(
            weights,
            &format!("{name}.attn"),
            hidden,
            config.num_heads,
        )?,
        norm2: Norm::Layer(norm("norm2")?),
        mlp: Mlp::load_plain(
            weights,
            &format!("{name}.mlp"),
            ["linear_fc1", "linear_fc2"],
            (hidden, inner),
            Activation::GeluTanh,
        )?,
    })
}

/// Deepstack mergers normalise the joined row, the main one each patch.
fn merger(
    weights: &Weights,
    name: &str,
    config: &VisionConfig,
    joins_first: bool,
) -> Result<Merger> {
    let merged = config.hidden_size * config.patches.merge_size.pow(2);
    let normed = if joins_first {
        merged
    } else {
        config.hidden_size
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
