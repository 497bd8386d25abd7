//! The vision tower: patches in, one embedding for each image token out.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};

use super::{config::VisionConfig, windows::Windows};
use crate::{
    models::{
        common::{
            parts::{VisionOutput, VisionTower},
            patches::Grid,
            tower::{
                Latest, Merger, TowerShape, VisionBlock, WindowRun, load_blocks, load_patch_embed,
            },
        },
        qwen2_vl::vision::merger,
    },
    nn::{
        linear::Linear,
        mlp::Mlp,
        norms::{Norm, RmsNorm},
        pass::Pass,
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
    shape: TowerShape,
    /// Side of a window, in image tokens.
    window_side: usize,
    /// Blocks that see the whole page.
    see_all: Vec<usize>,
    patch_embed: Linear,
    places: Latest<Places>,
    blocks: Vec<VisionBlock>,
    merger: Merger,
}

impl Tower {
    /// Takes the tensors under `prefix`.
    pub(super) fn load(weights: &Weights, prefix: &str, config: &VisionConfig) -> Result<Self> {
        let shape = config.shape;
        let (width, inner) = (shape.width, config.intermediate_size);
        let norm = |name: &str| Ok(Norm::Rms(RmsNorm::load(weights, name, width, EPS)?));
        let mlp = |name: &str| Mlp::load_gated(weights, name, width, inner, true);
        Ok(Self {
            patch_embed: load_patch_embed(weights, prefix, &shape, false)?,
            places: Latest::default(),
            blocks: load_blocks(weights, prefix, &shape, &norm, &mlp)?,
            merger: merger(weights, prefix, &shape, norm, config.out_hidden_size)?,
            window_side: config.window_side,
            see_all: config.fullatt_block_indexes.clone(),
            shape,
        })
    }

    fn places(&self, patches: &Tensor, grid: Grid) -> CandleResult<Places> {
        let merge = self.shape.patches.merge_size;
        let tokens = grid.merged(merge);
        let windows = Windows::new(tokens, self.window_side, merge);
        // The patches of an image token follow each other before and after.
        let of_token = (merge * merge) as u32;
        let order: Vec<u32> = windows
            .order
            .iter()
            .flat_map(|token| token * of_token..(token + 1) * of_token)
            .collect();
        let places: Vec<_> = grid.merge_order(merge).collect();
        let places = order.iter().map(|&i| places[i as usize]);
        let device = patches.device();
        Ok(Places {
            rope: self.shape.rope(places, patches)?,
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
        let mut hidden = self.patch_embed.forward(&patches, Pass::Prefill)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let windows = (!self.see_all.contains(&i)).then_some(&*places.runs);
            hidden = block.forward(&hidden, &places.rope, windows)?;
        }
        let merged = self.merger.forward(&hidden)?;
        Ok(VisionOutput {
            embeddings: merged.index_select(&places.back, 0)?,
            deepstack: Vec::new(),
        })
    }
}
