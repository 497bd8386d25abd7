//! Products of many rows with AVX2, as a prompt has them: sums of whole numbers over up to 512 columns.
//!
//! Weights and activations become 16-bit numbers so small that no sum leaves 32 bits: it is exact, and a row does not depend on
//! its neighbours.

#![allow(
    unsafe_code,
    reason = "what uses instructions that not every processor has is unsafe to call; a token proves that this one has them"
)]

mod activations;
mod dot;
mod panel;
mod winograd;

use std::arch::x86_64::{
    __m256i, _MM_HINT_T1, _mm_prefetch, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_mul_ps,
    _mm256_set1_ps,
};

use bytemuck::cast;

#[cfg(test)]
pub(super) use self::dot::emulated::Emulated;
use self::{
    activations::{Activations, Facts, Rows},
    panel::{GROUP, Panel},
};
pub(super) use self::{dot::Dot, winograd::Winograd};
use super::tiles::{BLOCK, LANES, Tile, Tiles};
use crate::nn::simd::Avx2;

/// Rows that are multiplied with all weights before the next ones: their part of a group stays in the core's own cache.
const ROWS_CACHED: usize = 128;
/// Columns, sixteen at a time, for which the rows of a group are read once.
const PANELS: usize = 8;

/// Sums of rows of sixteen columns.
type Sums<const ROWS: usize> = [[[f32; LANES / 2]; 2]; ROWS];

/// How whole numbers are multiplied: `ROWS` rows of activations per read of a weight.
pub(super) trait Kernel<const ROWS: usize>: Copy + Sync {
    /// Its proof of the instructions for all the rest.
    fn avx2(self) -> Avx2;

    /// Adds the products of a group's part of some rows with sixteen columns.
    fn add_products(
        self,
        panel: &Panel,
        rows: Rows<ROWS>,
        facts: &[Facts; ROWS],
        sums: &mut Sums<ROWS>,
    );
}

/// As [`Packed::multiply`](super::Packed::multiply).
pub(super) fn multiply<const ROWS: usize>(
    kernel: impl Kernel<ROWS>,
    weights: &Tiles,
    x: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let activations = Activations::new(kernel.avx2(), x, weights.input, ROWS);
    weights.by_parts(x, bias, LANES, |tiles, bias, part| {
        // SAFETY: the token is there, so the processor has the instructions.
        unsafe { multiply_part(kernel, tiles, &activations, bias, part) }
    })
}

/// Fills `out`, the rows of some columns, of which `tiles` are the weights.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_part<'a, const ROWS: usize>(
    kernel: impl Kernel<ROWS>,
    tiles: &'a [Tile],
    x: &Activations,
    bias: Option<&[f32]>,
    out: &mut [&mut [f32]],
) {
    // Rows, and fours or sixes of them, that are multiplied with all weights before the next ones.
    let tiles_cached = ROWS_CACHED / ROWS;
    let rows_cached = tiles_cached * ROWS;
    let blocks = x.input / BLOCK;
    let groups = x.input.div_ceil(GROUP);
    let mut panel = Panel::new();
    let mut sums = vec![[[[0.0; LANES / 2]; 2]; ROWS]; PANELS * tiles_cached];
    for (i, out) in out.chunks_mut(rows_cached).enumerate() {
        let (first_row, tiles_of_rows) = (i * rows_cached, out.len().div_ceil(ROWS));
        for (j, panels) in tiles.chunks(PANELS * blocks).enumerate() {
            sums.fill([[[0.0; LANES / 2]; 2]; ROWS]);
            for group in 0..groups {
                let length = x.length(group);
                let of_group = |tiles: &'a [Tile], group: usize| {
                    &tiles[group * GROUP / BLOCK..][..x.length(group) / BLOCK]
                };
                // What is multiplied next comes near meanwhile: a part of the next activations with each panel.
                let later = &tiles[(j * PANELS * blocks + panels.len())..];
                let (next_group, next_row, next_panels) = if group + 1 < groups {
                    (group + 1, first_row, panels)
                } else if later.is_empty() {
                    (0, first_row + rows_cached, tiles)
                } else {
                    (0, first_row, later)
                };
                let next_rows = x.bytes(next_group, next_row, rows_cached);
                let mut rest = panels
                    .chunks_exact(blocks)
                    .zip(sums.chunks_mut(tiles_cached))
                    .enumerate()
                    .peekable();
                while let Some((k, (tiles, sums))) = rest.next() {
                    panel.expand(of_group(tiles, group));
                    let next_tiles = match rest.peek() {
                        Some((_, (tiles, _))) => of_group(tiles, group),
                        None => of_group(next_panels, next_group),
                    };
                    let next_tiles = bytemuck::cast_slice(next_tiles);
                    for (tile, sums) in sums[..tiles_of_rows].iter_mut().enumerate() {
                        prefetch(next_tiles, tile, tiles_cached);
                        prefetch(next_rows, k * tiles_cached + tile, PANELS * tiles_cached);
                        let (rows, facts) = x.part(group, length, first_row + tile * ROWS);
                        kernel.add_products(&panel, rows, facts, sums);
                    }
                }
            }
            for (k, sums) in sums
                .chunks(tiles_cached)
                .take(panels.len() / blocks)
                .enumerate()
            {
                let column = (j * PANELS + k) * LANES;
                let bias = bias.map(|bias| &bias[column..column + LANES]);
                for (out, sums) in out.iter_mut().zip(sums.as_flattened()) {
                    let to = &mut out[column..column + LANES];
                    to.copy_from_slice(sums.as_flattened());
                    for (value, bias) in to.iter_mut().zip(bias.into_iter().flatten()) {
                        *value += bias;
                    }
                }
            }
        }
    }
}

/// Brings a part of some bytes near, of which there are so many.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn prefetch(bytes: &[u8], part: usize, parts: usize) {
    const LINE: usize = 64;

    let lines = bytes.len().div_ceil(LINE * parts);
    for line in bytes.chunks(LINE).skip(part * lines).take(lines) {
        // SAFETY: nothing is read. Newer compilers know that.
        #[allow(unused_unsafe)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
        }
    }
}

/// Adds what sums of whole numbers stand for.
#[allow(
    clippy::needless_range_loop,
    reason = "iterators over arrays of vectors would go through memory"
)]
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add_dots<const ROWS: usize>(
    panel: &Panel,
    dots: [[__m256i; 2]; ROWS],
    facts: &[Facts; ROWS],
    sums: &mut Sums<ROWS>,
) {
    for row in 0..ROWS {
        for half in 0..2 {
            let scale = _mm256_mul_ps(panel.scales[half], _mm256_set1_ps(facts[row].scale));
            let dot = _mm256_cvtepi32_ps(dots[row][half]);
            let sum = &mut sums[row][half];
            *sum = cast(_mm256_fmadd_ps(dot, scale, cast(*sum)));
        }
    }
}
