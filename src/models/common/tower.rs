//! What vision towers are made of: the patch embedding, blocks, and what joins patches to an embedding of the decoder's.
//! A family brings the norms, the feed-forward layers, and the places of patches.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};
use rayon::prelude::*;

use super::{
    patches::{Grid, PatchSettings},
    positions::axial_angles,
};
use crate::nn::{
    attention::{AttentionArgs, attend},
    linear::Linear,
    matrix::Matrix,
    mlp::Mlp,
    norms::Norm,
    pass::Pass,
    precision::Precision,
    rope::RopeTables,
    weights::Weights,
};

/// What depends on a page's size alone, of the latest page: most pages of a run have one size.
pub struct Latest<T>(Mutex<Option<(Grid, Arc<T>)>>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Latest<T> {
    /// That of `grid`, which `make` makes unless the latest page had the same.
    ///
    /// # Errors
    /// `make` fails.
    pub fn get_or(
        &self,
        grid: Grid,
        make: impl FnOnce() -> CandleResult<T>,
    ) -> CandleResult<Arc<T>> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = latest.as_ref().filter(|(of, _)| *of == grid) {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(make()?);
        *latest = Some((grid, Arc::clone(&made)));
        Ok(made)
    }
}

/// Colours of a pixel.
const CHANNELS: usize = 3;

/// The sizes that every tower has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TowerShape {
    /// How many blocks.
    pub depth: usize,
    /// Width of a patch.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// How many frames the patch embedding sees.
    pub frames: usize,
    /// How pixels become patches.
    pub patches: PatchSettings,
    /// How fast positions turn queries and keys.
    pub rope_theta: f64,
}

impl TowerShape {
    /// Width of the joined patches of a block of the merger.
    #[must_use]
    pub fn merged(&self) -> usize {
        self.width * self.patches.merge_size.pow(2)
    }

    /// Angles for the patches at `places`, where `patches` are and in their type.
    ///
    /// # Errors
    /// The device fails.
    pub fn rope(
        &self,
        places: impl Iterator<Item = (usize, usize)>,
        patches: &Tensor,
    ) -> CandleResult<RopeTables> {
        let head_dim = self.width / self.heads;
        let angles = axial_angles(places, self.rope_theta, head_dim);
        RopeTables::new(angles, head_dim / 2, patches.device(), patches.dtype())
    }
}

/// How a part of a family's blocks is loaded, by its name.
pub type LoadPart<'a, T> = &'a (dyn Fn(&str) -> Result<T> + Sync);

/// Loads the blocks under `prefix`.
///
/// # Errors
/// A tensor is missing, or has another shape.
pub fn load_blocks(
    weights: &Weights,
    prefix: &str,
    shape: &TowerShape,
    norm: LoadPart<Norm>,
    mlp: LoadPart<Mlp>,
) -> Result<Vec<VisionBlock>> {
    let block = |i| {
        let name = format!("{prefix}.blocks.{i}");
        Ok(VisionBlock {
            norm1: norm(&format!("{name}.norm1"))?,
            attention: VisionAttention::load(weights, &format!("{name}.attn"), shape)?,
            norm2: norm(&format!("{name}.norm2"))?,
            mlp: mlp(&format!("{name}.mlp"))?,
        })
    };
    (0..shape.depth).into_par_iter().map(block).collect()
}

/// The patch embedding under `prefix` as a linear layer over one frame. The published weight is a 3-D convolution over equal
/// frames, so its slices along time are added up: the same sums, half the work.
///
/// # Errors
/// A tensor is missing, or has another shape.
pub fn load_patch_embed(
    weights: &Weights,
    prefix: &str,
    shape: &TowerShape,
    bias: bool,
) -> Result<Linear> {
    let (name, side) = (
        format!("{prefix}.patch_embed.proj"),
        shape.patches.patch_size,
    );
    let kernel = [shape.width, CHANNELS, shape.frames, side, side];
    let folded = weights.get(&format!("{name}.weight"), &kernel)?.sum(2)?;
    let weight = folded.reshape((shape.width, CHANNELS * side * side))?;
    let bias = if bias {
        Some(weights.get(&format!("{name}.bias"), &[shape.width])?)
    } else {
        None
    };
    Ok(Linear::new(Matrix::dense(&weight)?, bias))
}

/// Windows of one size that follow each other, row after row of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowRun {
    /// How many windows.
    pub windows: usize,
    /// Patches in each.
    pub patches: usize,
}

/// A layer of a vision tower.
pub struct VisionBlock {
    /// Before attention.
    pub norm1: Norm,
    /// Between patches.
    pub attention: VisionAttention,
    /// Before the feed-forward layer.
    pub norm2: Norm,
    /// Of each patch.
    pub mlp: Mlp,
}

impl VisionBlock {
    /// `x` is `(patches, hidden)`. With `windows`, whose runs together are all rows, a patch sees its window alone.
    ///
    /// # Errors
    /// The device fails.
    pub fn forward(
        &self,
        x: &Tensor,
        rope: &RopeTables,
        windows: Option<&[WindowRun]>,
    ) -> CandleResult<Tensor> {
        let x = (x + self
            .attention
            .forward(&self.norm1.forward(x)?, rope, windows)?)?;
        let inner = self.mlp.forward(&self.norm2.forward(&x)?, Pass::Prefill)?;
        x + inner
    }
}

/// Attention between the patches of a page.
pub struct VisionAttention {
    /// Queries, keys and values, side by side.
    qkv: Linear,
    proj: Linear,
    heads: usize,
    precision: Precision,
}

impl VisionAttention {
    /// Takes `{name}.qkv` and `{name}.proj`, both with bias.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape.
    fn load(weights: &Weights, name: &str, shape: &TowerShape) -> Result<Self> {
        let width = shape.width;
        Ok(Self {
            qkv: Linear::load(weights, &format!("{name}.qkv"), width, 3 * width, true)?,
            proj: Linear::load(weights, &format!("{name}.proj"), width, width, true)?,
            heads: shape.heads,
            precision: weights.precision(),
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        rope: &RopeTables,
        windows: Option<&[WindowRun]>,
    ) -> CandleResult<Tensor> {
        let (patches, hidden) = x.dims2()?;
        let qkv = self.qkv.forward(x, Pass::Prefill)?.reshape((
            patches,
            3,
            self.heads,
            hidden / self.heads,
        ))?;
        let part = |i| qkv.narrow(1, i, 1)?.squeeze(1)?.transpose(0, 1);
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let args = AttentionArgs {
            causal: false,
            rope: Some(rope),
            precision: self.precision,
        };
        let seen = match windows {
            None => attend(&q, &k, &v, args)?,
            Some(runs) => {
                let args = AttentionArgs { rope: None, ..args };
                attend_in_windows(&rope.rotate(&q)?, &rope.rotate(&k)?, &v, runs, args)?
            }
        };
        self.proj.forward(&seen, Pass::Prefill)
    }
}

/// From `q`, `k` and `v`, `(heads, patches, head_dim)`, each window by itself. Windows of one size are to [`attend`] what
/// heads are. Returns `(patches, heads · head_dim)`.
fn attend_in_windows(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    runs: &[WindowRun],
    args: AttentionArgs,
) -> CandleResult<Tensor> {
    let (heads, _, head_dim) = q.dims3()?;
    let mut done = Vec::with_capacity(runs.len());
    let mut start = 0;
    for &WindowRun { windows, patches } in runs {
        let rows = windows * patches;
        let split = |x: &Tensor| {
            x.narrow(1, start, rows)?
                .reshape((heads, windows, patches, head_dim))?
                .transpose(0, 1)?
                .reshape((windows * heads, patches, head_dim))
        };
        let seen = attend(&split(q)?, &split(k)?, &split(v)?, args)?
            .reshape((patches, windows, heads * head_dim))?
            .transpose(0, 1)?
            .reshape((rows, heads * head_dim))?;
        done.push(seen);
        start += rows;
    }
    Tensor::cat(&done, 0)
}

/// Joins the `merge²` patches of a block into one embedding of the decoder's width.
pub struct Merger {
    norm: Norm,
    fc1: Linear,
    fc2: Linear,
    merged: usize,
    joins_first: bool,
}

impl Merger {
    /// Takes the two layers called `names`, to a row as wide as a joined one of `merged`, and to the decoder's `output`.
    /// Each patch is normalised by `norm`.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape.
    pub fn load(
        weights: &Weights,
        names: [String; 2],
        norm: Norm,
        merged: usize,
        output: usize,
    ) -> Result<Self> {
        let [fc1, fc2] = names;
        Ok(Self {
            norm,
            fc1: Linear::load(weights, &fc1, merged, merged, true)?,
            fc2: Linear::load(weights, &fc2, merged, output, true)?,
            merged,
            joins_first: false,
        })
    }

    /// The same, but that the joined row is normalised.
    #[must_use]
    pub fn joining_first(self) -> Self {
        Self {
            joins_first: true,
            ..self
        }
    }

    /// `(patches, hidden)` → `(patches / merge², decoder hidden)`.
    ///
    /// # Errors
    /// The device fails.
    pub fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        let joined = if self.joins_first {
            self.norm.forward(&x.reshape(((), self.merged))?)?
        } else {
            self.norm.forward(x)?.reshape(((), self.merged))?
        };
        // The exact GELU here, where blocks take an approximation of it.
        let inner = self.fc1.forward(&joined, Pass::Prefill)?.gelu_erf()?;
        self.fc2.forward(&inner, Pass::Prefill)
    }
}
