//! The vision tower: patches in, one embedding for each image token out.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};
use rayon::prelude::*;

use super::{config::VisionConfig, windows::Windows};
use crate::{
    models::common::{
        parts::{VisionOutput, VisionTower},
        patches::Grid,
        positions::axial_angles,
        tower::{Latest, Merger, VisionAttention, VisionBlock, WindowRun, patch_embed},
    },
    nn::{
        linear::Linear,
        mlp::Mlp,
        norms::{Norm, RmsNorm},
        rope::RopeTables,
        weights::Weights,
    },
};

/// The reference fixes it (transformers 5.23, `modeling_qwen2_5_vl.py`).
const EPS: f64 = 1e-6;

/// What depends on a page's size alone.
struct Places {
    /// The patches in the order of windows, `(patches)`.
    order: Tensor,
    /// The image tokens in reading order again, `(image tokens)`.
    back: Tensor,
    /// The sizes of the windows.
    runs: Vec<WindowRun>,
    /// In the order of windows.
    rope: RopeTables,
}

/// The tower.
pub(super) struct Tower {
    config: VisionConfig,
    patch_embed: Linear,
    places: Latest<Places>,
    blocks: Vec<VisionBlock>,
    merger: Merger,
}

impl Tower {
    /// Takes the tensors under `prefix`.
    pub(super) fn load(weights: &Weights, prefix: &str, config: &VisionConfig) -> Result<Self> {
        let (width, merge) = (config.hidden_size, config.patches.merge_size);
        let norm = RmsNorm::load(weights, &format!("{prefix}.merger.ln_q"), width, EPS)?;
        Ok(Self {
            patch_embed: patch_embed(
                weights,
                &format!("{prefix}.patch_embed.proj"),
                width,
                config.temporal_patch_size,
                &config.patches,
                false,
            )?,
            places: Latest::default(),
            blocks: (0..config.depth)
                .into_par_iter()
                .map(|i| block(weights, &format!("{prefix}.blocks.{i}"), config))
                .collect::<Result<_>>()?,
            merger: Merger::load(
                weights,
                [0, 2].map(|i| format!("{prefix}.merger.mlp.{i}")),
                Norm::Rms(norm),
                width * merge * merge,
                config.out_hidden_size,
            )?,
            config: config.clone(),
        })
    }

    fn places(&self, patches: &Tensor, grid: Grid) -> CandleResult<Places> {
        let (config, merge) = (&self.config, self.config.patches.merge_size);
        let tokens = grid.merged(merge);
        let windows = Windows::new(tokens, config.window_side, merge);
        // The patches of an image token follow each other before and after.
        let of_token = (merge * merge) as u32;
        let order: Vec<u32> = windows
            .order
            .iter()
            .flat_map(|token| token * of_token..(token + 1) * of_token)
            .collect();
        let places: Vec<_> = grid.merge_order(merge).collect();
        let places = order.iter().map(|&i| places[i as usize]);
        let head_dim = config.hidden_size / config.num_heads;
        let angles = axial_angles(places, config.rope_theta, head_dim);
        let (device, dtype) = (patches.device(), patches.dtype());
        Ok(Places {
            rope: RopeTables::new(angles, head_dim / 2, device, dtype)?,
            order: Tensor::from_vec(order, grid.len(), device)?,
            back: Tensor::from_vec(windows.back, tokens.len(), device)?,
            runs: windows.runs,
        })
    }
}

impl VisionTower for Tower {
    fn forward(&self, patches: &Tensor, grid: Grid) -> CandleResult<VisionOutput> {
        let places = self.places.get_or(grid, || self.places(patches, grid))?;
        let patches = patches.index_select(&places.order, 0)?;
        let mut hidden = self.patch_embed.forward(&patches)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let sees_all = self.config.fullatt_block_indexes.contains(&i);
            let windows = (!sees_all).then_some(&*places.runs);
            hidden = block.forward(&hidden, &places.rope, windows)?;
        }
        let merged = self.merger.forward(&hidden)?;
        Ok(VisionOutput {
            embeddings: merged.index_select(&places.back, 0)?,
            deepstack: Vec::new(),
        })
    }
}

fn block(weights: &Weights, name: &str, config: &VisionConfig) -> Result<VisionBlock> {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let norm = |part| RmsNorm::load(weights, &format!("{name}.{part}"), width, EPS);
    Ok(VisionBlock {
        norm1: Norm::Rms(norm("norm1")?),
        attention: VisionAttention::load(
            weights,
            &format!("{name}.attn"),
            width,
            config.num_heads,
        )?,
        norm2: Norm::Rms(norm("norm2")?),
        mlp: Mlp::load_gated(weights, &format!("{name}.mlp"), width, inner, true)?,
    })
}
