//! The vision tower: patches in, one embedding for each image token out, plus the deepstack features.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};
use rayon::prelude::*;

use super::{
    config::VisionConfig,
    patches::Grid,
    positions::{stretched_positions, vision_tables},
};
use crate::nn::{
    attention::{AttentionArgs, attend},
    elementwise::gelu_tanh,
    linear::Linear,
    matrix::Matrix,
    norms::LayerNorm,
    precision::Precision,
    rope::RopeTables,
    weights::Weights,
};

/// What the decoder gets to see of a page.
pub struct VisionOutput {
    /// `(image tokens, decoder hidden)`: stands in the place of the image tokens' embeddings.
    pub embeddings: Tensor,
    /// `(image tokens, decoder hidden)` each: feature i is added to the image positions after decoder layer i.
    pub deepstack: Vec<Tensor>,
}

/// What depends on a page's size alone.
struct Places {
    grid: Grid,
    /// `(patches, hidden)`: added to the embeddings.
    learned: Tensor,
    rope: RopeTables,
}

/// The tower.
pub struct VisionTower {
    config: VisionConfig,
    patch_embed: Linear,
    /// `(side², hidden)`.
    positions: Tensor,
    /// Of the latest page: most pages of a run have one size.
    places: Mutex<Option<Arc<Places>>>,
    blocks: Vec<Block>,
    merger: Merger,
    deepstack_mergers: Vec<Merger>,
}

impl VisionTower {
    /// Takes the tensors under `model.visual.`.
    pub fn load(weights: &Weights, config: &VisionConfig) -> Result<Self> {
        let prefix = "model.visual";
        let positions = config.position_side.pow(2);
        let block = |i| Block::load(weights, &format!("{prefix}.blocks.{i}"), config);
        let deepstack = |i| {
            Merger::load(
                weights,
                &format!("{prefix}.deepstack_merger_list.{i}"),
                config,
                true,
            )
        };
        Ok(Self {
            patch_embed: patch_embed(weights, &format!("{prefix}.patch_embed.proj"), config)?,
            positions: weights.get(
                &format!("{prefix}.pos_embed.weight"),
                &[positions, config.hidden_size],
            )?,
            places: Mutex::default(),
            blocks: (0..config.depth)
                .into_par_iter()
                .map(block)
                .collect::<Result<_>>()?,
            merger: Merger::load(weights, &format!("{prefix}.merger"), config, false)?,
            deepstack_mergers: (0..config.deepstack_visual_indexes.len())
                .map(deepstack)
                .collect::<Result<_>>()?,
            config: config.clone(),
        })
    }

    /// `patches` as [`patchify`](super::patches::patchify) makes them, `(patches, channels · patch²)`.
    pub fn forward(&self, patches: &Tensor, grid: Grid) -> CandleResult<VisionOutput> {
        let places = self.places(patches, grid)?;
        let mut hidden = (self.patch_embed.forward(patches)? + &places.learned)?;
        let mut deepstack = Vec::with_capacity(self.deepstack_mergers.len());
        for (i, block) in self.blocks.iter().enumerate() {
            hidden = block.forward(&hidden, &places.rope)?;
            if let Ok(tap) = self.config.deepstack_visual_indexes.binary_search(&i) {
                deepstack.push(self.deepstack_mergers[tap].forward(&hidden)?);
            }
        }
        Ok(VisionOutput {
            embeddings: self.merger.forward(&hidden)?,
            deepstack,
        })
    }

    fn places(&self, patches: &Tensor, grid: Grid) -> CandleResult<Arc<Places>> {
        let mut latest = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = latest.as_ref().filter(|places| places.grid == grid) {
            return Ok(Arc::clone(places));
        }
        let (side, merge) = (self.config.position_side, self.config.spatial_merge_size);
        let places = Arc::new(Places {
            grid,
            learned: stretched_positions(&self.positions, side, grid, merge)?,
            rope: vision_tables(grid, &self.config, patches.device(), patches.dtype())?,
        });
        *latest = Some(Arc::clone(&places));
        Ok(places)
    }
}

/// The patch embedding as a linear layer over one frame. The published weight is a 3-D convolution over
/// `temporal_patch_size` equal frames, so its slices along time are added up: the same sums, half the work.
fn patch_embed(weights: &Weights, name: &str, config: &VisionConfig) -> Result<Linear> {
    let (channels, patch) = (config.in_channels, config.patch_size);
    let shape = [
        config.hidden_size,
        channels,
        config.temporal_patch_size,
        patch,
        patch,
    ];
    let folded = weights.get(&format!("{name}.weight"), &shape)?.sum(2)?;
    let weight = folded.reshape((config.hidden_size, channels * patch * patch))?;
    Ok(Linear::new(
        Matrix::dense(&weight)?,
        Some(weights.get(&format!("{name}.bias"), &[config.hidden_size])?),
    ))
}

struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    num_heads: usize,
    precision: Precision,
}

impl Block {
    fn load(weights: &Weights, name: &str, config: &VisionConfig) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            norm1: LayerNorm::load(weights, &format!("{name}.norm1"), hidden)?,
            qkv: Linear::load(
                weights,
                &format!("{name}.attn.qkv"),
                hidden,
                3 * hidden,
                true,
            )?,
            proj: Linear::load(weights, &format!("{name}.attn.proj"), hidden, hidden, true)?,
            norm2: LayerNorm::load(weights, &format!("{name}.norm2"), hidden)?,
            fc1: Linear::load(
                weights,
                &format!("{name}.mlp.linear_fc1"),
                hidden,
                inner,
                true,
            )?,
            fc2: Linear::load(
                weights,
                &format!("{name}.mlp.linear_fc2"),
                inner,
                hidden,
                true,
            )?,
            num_heads: config.num_heads,
            precision: weights.precision(),
        })
    }

    fn forward(&self, x: &Tensor, rope: &RopeTables) -> CandleResult<Tensor> {
        let x = (x + self.attention(&self.norm1.forward(x)?, rope)?)?;
        let inner = gelu_tanh(self.fc1.forward(&self.norm2.forward(&x)?)?)?;
        x + self.fc2.forward(&inner)?
    }

    /// Every patch sees every patch of the page.
    fn attention(&self, x: &Tensor, rope: &RopeTables) -> CandleResult<Tensor> {
        let (patches, hidden) = x.dims2()?;
        let qkv =
            self.qkv
                .forward(x)?
                .reshape((patches, 3, self.num_heads, hidden / self.num_heads))?;
        let part = |i| qkv.narrow(1, i, 1)?.squeeze(1)?.transpose(0, 1);
        let args = AttentionArgs {
            causal: false,
            rope: Some(rope),
            precision: self.precision,
        };
        self.proj
            .forward(&attend(&part(0)?, &part(1)?, &part(2)?, args)?)
    }
}

/// Joins the `merge²` patches of a block into one embedding of the decoder's width.
struct Merger {
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    merged: usize,
    /// Deepstack mergers normalise the joined row, the main one each patch.
    joins_first: bool,
}

impl Merger {
    fn load(
        weights: &Weights,
        name: &str,
        config: &VisionConfig,
        joins_first: bool,
    ) -> Result<Self> {
        let merged = config.hidden_size * config.spatial_merge_size.pow(2);
        let normed = if joins_first {
            merged
        } else {
            config.hidden_size
        };
        Ok(Self {
            norm: LayerNorm::load(weights, &format!("{name}.norm"), normed)?,
            fc1: Linear::load(weights, &format!("{name}.linear_fc1"), merged, merged, true)?,
            fc2: Linear::load(
                weights,
                &format!("{name}.linear_fc2"),
                merged,
                config.out_hidden_size,
                true,
            )?,
            merged,
            joins_first,
        })
    }

    /// `(patches, hidden)` → `(patches / merge², decoder hidden)`.
    fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        let joined = if self.joins_first {
            self.norm.forward(&x.reshape(((), self.merged))?)?
        } else {
            self.norm.forward(x)?.reshape(((), self.merged))?
        };
        // The exact GELU here, where the blocks take the tanh approximation.
        self.fc2.forward(&self.fc1.forward(&joined)?.gelu_erf()?)
    }
}
