//! Positions of both halves of a model.
//!
//! The rules are those of transformers 5.23: M-RoPE in the decoder (`get_rope_index`, `recomposition_frequencies`), axial
//! RoPE and a stretched table of learned positions in the vision tower (`get_vision_position_ids`,
//! `get_vision_interpolation_indices_and_weights`).

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Result as CandleResult, Tensor};

use super::patches::Grid;
use crate::nn::rope::{RopeTables, inv_freq};

/// Time, height and width position of one token.
pub type Position = [u32; 3];

/// The positions of a prompt's tokens, and where the text after it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptPositions {
    /// One for each token.
    pub tokens: Vec<Position>,
    /// The position of the first token after the prompt; the next ones count up from here.
    pub next: u32,
}

/// Positions of `tokens`, in which each run of `image_token` stands for the merged grids in `images`, in order.
///
/// Text counts up. An image that starts at `p` has `(p, p + row, p + col)`, and text after it resumes at
/// `p + max(rows, cols)`.
///
/// # Errors
/// The runs of image tokens are not as long as the grids.
pub fn prompt_positions(
    tokens: &[u32],
    image_token: u32,
    images: &[Grid],
) -> Result<PromptPositions> {
    let mut positions = Vec::with_capacity(tokens.len());
    let mut images = images.iter();
    let mut next = 0;
    while positions.len() < tokens.len() {
        if tokens[positions.len()] != image_token {
            positions.push([next; 3]);
            next += 1;
            continue;
        }
        let run = tokens[positions.len()..]
            .iter()
            .take_while(|&&token| token == image_token)
            .count();
        let grid = images.next().copied().unwrap_or(Grid { rows: 0, cols: 0 });
        ensure!(
            run == grid.len(),
            "{run} image tokens for an image of {}×{} merged patches",
            grid.rows,
            grid.cols
        );
        for row in 0..grid.rows as u32 {
            positions.extend((0..grid.cols as u32).map(|col| [next, next + row, next + col]));
        }
        next += grid.rows.max(grid.cols) as u32;
    }
    ensure!(
        images.next().is_none(),
        "more images than runs of image tokens"
    );
    Ok(PromptPositions {
        tokens: positions,
        next,
    })
}

/// Which of a decoder's frequencies belong to time, height and width, where these are T, H and W of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sections {
    /// The first T belong to time, the next H to height, the last W to width: Qwen2-VL and Qwen2.5-VL.
    Chunked,
    /// Frequency `i` belongs to height if `i % 3 == 1` and `i < 3·H`, to width if `i % 3 == 2` and `i < 3·W`, else to time:
    /// Qwen3-VL and later.
    Interleaved,
}

/// The decoder's M-RoPE.
pub struct TextRope {
    inv_freq: Vec<f32>,
    /// For each frequency, which of time, height and width turns it.
    axes: Vec<usize>,
}

impl TextRope {
    /// With frequencies for `rotary_dim` dimensions of a head, split among the axes by `section`.
    #[must_use]
    pub fn new(theta: f64, rotary_dim: usize, section: [usize; 3], sections: Sections) -> Self {
        let [time, height, width] = section;
        let axis = |i: usize| match sections {
            Sections::Chunked if i < time => 0,
            Sections::Chunked if i < time + height => 1,
            Sections::Chunked => 2,
            Sections::Interleaved => match i % 3 {
                1 if i < 3 * height => 1,
                2 if i < 3 * width => 2,
                _ => 0,
            },
        };
        Self {
            inv_freq: inv_freq(theta, rotary_dim),
            axes: (0..rotary_dim / 2).map(axis).collect(),
        }
    }

    /// Tables of shape `(positions, rotary_dim / 2)`.
    ///
    /// # Errors
    /// The device fails.
    pub fn tables(
        &self,
        positions: &[Position],
        device: &Device,
        dtype: DType,
    ) -> CandleResult<RopeTables> {
        let angle =
            |position: &Position, i: usize| position[self.axes[i]] as f32 * self.inv_freq[i];
        let half = self.inv_freq.len();
        let angles = positions
            .iter()
            .flat_map(|position| (0..half).map(move |i| angle(position, i)));
        RopeTables::new(angles, half, device, dtype)
    }
}

/// Angles of the vision tower's axial RoPE for the patches at `places`, `head_dim / 2` for each: the first half of the
/// frequencies turns with the row, the second with the column.
pub fn axial_angles(
    places: impl Iterator<Item = (usize, usize)>,
    theta: f64,
    head_dim: usize,
) -> impl Iterator<Item = f32> {
    let inv_freq = inv_freq(theta, head_dim / 2);
    places.flat_map(move |(row, col)| {
        let turn = |position: usize| inv_freq.iter().map(move |freq| position as f32 * freq);
        turn(row).chain(turn(col)).collect::<Vec<_>>()
    })
}

/// The learned positions of `grid`, in merge order: `table` of shape `(side², hidden)` stretched bilinearly so that
/// the corners of table and grid meet. Returns `(patches, hidden)`.
pub fn stretched_positions(
    table: &Tensor,
    side: usize,
    grid: Grid,
    merge: usize,
) -> CandleResult<Tensor> {
    let mut corners: [Vec<u32>; 4] = Default::default();
    let mut shares: [Vec<f32>; 4] = Default::default();
    for (row, col) in grid.merge_order(merge) {
        let (top, bottom, down) = taps(row, grid.rows, side);
        let (left, right, across) = taps(col, grid.cols, side);
        let weighted = [
            (top, left, (1.0 - down) * (1.0 - across)),
            (top, right, (1.0 - down) * across),
            (bottom, left, down * (1.0 - across)),
            (bottom, right, down * across),
        ];
        for (corner, (y, x, share)) in weighted.into_iter().enumerate() {
            corners[corner].push((y * side + x) as u32);
            shares[corner].push(share);
        }
    }
    let mut sum: Option<Tensor> = None;
    for (indices, shares) in corners.into_iter().zip(shares) {
        let indices = Tensor::from_vec(indices, grid.len(), table.device())?;
        let shares =
            Tensor::from_vec(shares, (grid.len(), 1), table.device())?.to_dtype(table.dtype())?;
        let part = table.index_select(&indices, 0)?.broadcast_mul(&shares)?;
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    sum.ok_or_else(|| candle_core::Error::Msg("a grid without patches".into()))
}

/// The two table entries next to `index` of `count`, and how far it lies from the first to the second.
fn taps(index: usize, count: usize, side: usize) -> (usize, usize, f32) {
    let source = index as f32 * (side - 1) as f32 / count.saturating_sub(1).max(1) as f32;
    let first = source.floor();
    (
        first as usize,
        (first as usize + 1).min(side - 1),
        source - first,
    )
}
