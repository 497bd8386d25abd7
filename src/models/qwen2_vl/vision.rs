//! The vision tower: patches in, one embedding for each image token out.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};
use rayon::prelude::*;

use super::config::VisionConfig;
use crate::{
    models::common::{
        parts::{VisionOutput, VisionTower},
        patches::Grid,
        positions::axial_angles,
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

/// The tower.
pub(super) struct Tower {
    config: VisionConfig,
    patch_embed: Linear,
    rope: Latest<RopeTables>,
    blocks: Vec<VisionBlock>,
    merger: Merger,
}

impl Tower {
    /// Takes the tensors under `prefix`.
    pub(super) fn load(weights: &Weights, prefix: &str, config: &VisionConfig) -> Result<Self> {
        let (width, merge) = (config.embed_dim, config.patches.merge_size);
        let norm = LayerNorm::load(weights, &format!("{prefix}.merger.ln_q"), width)?;
        Ok(Self {
            patch_embed: patch_embed(
                weights,
                &format!("{prefix}.patch_embed.proj"),
                width,
                config.temporal_patch_size,
                &config.patches,
                false,
            )?,
            rope: Latest::default(),
            blocks: (0..config.depth)
                .into_par_iter()
                .map(|i| block(weights, &format!("{prefix}.blocks.{i}"), config))
                .collect::<Result<_>>()?,
            merger: Merger::load(
                weights,
                [0, 2].map(|i| format!("{prefix}.merger.mlp.{i}")),
                Norm::Layer(norm),
                width * merge * merge,
                config.hidden_size,
            )?,
            config: config.clone(),
        })
    }
}

impl VisionTower for Tower {
    fn forward(&self, patches: &Tensor, grid: Grid) -> CandleResult<VisionOutput> {
        let rope = self.rope.get_or(grid, || {
            let places = grid.merge_order(self.config.patches.merge_size);
            let head_dim = self.config.embed_dim / self.config.num_heads;
            let angles = axial_angles(places, self.config.rope_theta, head_dim);
            RopeTables::new(angles, head_dim / 2, patches.device(), patches.dtype())
        })?;
        let mut hidden = self.patch_embed.forward(patches)?;
        for block in &self.blocks {
            hidden = block.forward(&hidden, &rope, None)?;
        }
        Ok(VisionOutput {
            embeddings: self.merger.forward(&hidden)?,
            deepstack: Vec::new(),
        })
    }
}

fn block(weights: &Weights, name: &str, config: &VisionConfig) -> Result<VisionBlock> {
    let (width, inner) = (config.embed_dim, config.intermediate_size);
    let norm = |part| LayerNorm::load(weights, &format!("{name}.{part}"), width);
    Ok(VisionBlock {
        norm1: Norm::Layer(norm("norm1")?),
        attention: VisionAttention::load(
            weights,
            &format!("{name}.attn"),
            width,
            config.num_heads,
        )?,
        norm2: Norm::Layer(norm("norm2")?),
        mlp: Mlp::load_plain(
            weights,
            &format!("{name}.mlp"),
            ["fc1", "fc2"],
            (width, inner),
            Activation::QuickGelu,
        )?,
    })
}
