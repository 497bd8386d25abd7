//! Products with AVX2: activations in 16 bits, dot products of 16-bit numbers, sums in f32.
//!
//! The instruction for bytes (`vpmaddubsw`) does twice as much, but overflows unless each weight's sign is moved to the
//! activation, again for each row of activations. With 16 bits activations are nearly as exact as in f32: only the weights
//! are quantized.

#![allow(
    unsafe_code,
    reason = "what uses instructions that not every processor has is unsafe to call; `Avx2` proves that this one has them"
)]

use std::{
    arch::x86_64::{
        __m256, __m256i, _mm_cvtsi64_si128, _mm_unpacklo_epi16, _mm256_add_epi32, _mm256_add_ps,
        _mm256_andnot_ps, _mm256_castpd_ps, _mm256_castps_pd, _mm256_castps_si256,
        _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_cvtph_ps, _mm256_cvtps_epi32,
        _mm256_fmadd_ps, _mm256_hadd_ps, _mm256_madd_epi16, _mm256_max_epi32, _mm256_mul_ps,
        _mm256_packs_epi32, _mm256_permute4x64_epi64, _mm256_permute4x64_pd, _mm256_set1_epi64x,
        _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    },
    array,
};

use bytemuck::cast;
use rayon::prelude::*;

use super::tiles::{BLOCK, LANES, Tile, Tiles};
use crate::nn::simd::Avx2;

/// Rows of activations per read of a weight; more don't fit the registers.
const ROWS: usize = 6;
/// Bytes of activations that are multiplied with all weights before the next ones: they stay in the core's own cache.
const CACHED: usize = 128 << 10;
/// Four activations, or weights, in each.
const FOURS: usize = BLOCK / 4;
/// Four rows of a tile are a vector: four weights of each in 16 bits, then the sums of two products each.
const VECTORS: usize = LANES / 4;
/// The order of 64-bit parts that undoes how instructions for two halves interleave them.
const IN_ORDER: i32 = 0b11_01_10_00;

/// See [`Packed::multiply`](super::Packed::multiply).
pub(super) fn multiply(token: Avx2, weights: &Tiles, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let activations = Activations::new(token, x, weights.input);
    weights.by_parts(x, bias, LANES, |tiles, bias, part| {
        // SAFETY: `token` is there, so the processor has the instructions.
        unsafe { multiply_part(tiles, &activations, bias, part) }
    })
}

/// Rows of activations in 16 bits, six at a time: of each block in turn, what is here of the first row, of the second, and
/// so on.
struct Activations {
    /// In a row.
    blocks: usize,
    /// Of each block in turn, the first four of all rows, the next four, and so on.
    fours: Vec<i64>,
    scales: Vec<f32>,
    /// Negated contribution of the 128 that is added to each weight of a block to its dot product.
    offsets: Vec<u32>,
}

impl Activations {
    fn new(_: Avx2, x: &[f32], input: usize) -> Self {
        let (x, _) = x.as_chunks::<BLOCK>();
        let blocks = input / BLOCK;
        let mut fours = vec![0; x.len() * FOURS];
        let mut scales = vec![0.0; x.len()];
        let mut offsets = vec![0; x.len()];
        let size = ROWS * blocks;
        x.par_chunks(size)
            .zip(fours.par_chunks_mut(size * FOURS))
            .zip(scales.par_chunks_mut(size))
            .zip(offsets.par_chunks_mut(size))
            .for_each(|(((x, fours), scales), offsets)| {
                let rows = x.len() / blocks;
                for (i, x) in x.iter().enumerate() {
                    let (row, block) = (i / blocks, i % blocks);
                    let to = block * rows + row;
                    // SAFETY: the token is there, so the processor has the instructions.
                    let quants = unsafe { quantize(x, &mut scales[to], &mut offsets[to]) };
                    for (i, four) in quants.into_iter().enumerate() {
                        fours[(block * FOURS + i) * rows + row] = four;
                    }
                }
            });
        Self {
            blocks,
            fours,
            scales,
            offsets,
        }
    }

    /// `R` rows from `row` on: all blocks of them.
    fn rows<const R: usize>(&self, row: usize) -> impl Iterator<Item = Blocks<'_, R>> {
        let all = row * self.blocks..(row + R) * self.blocks;
        let (fours, _) = self.fours[all.start * FOURS..all.end * FOURS].as_chunks();
        let (scales, _) = self.scales[all.clone()].as_chunks();
        let (offsets, _) = self.offsets[all].as_chunks();
        let of_rows = fours.as_chunks().0.iter().zip(scales).zip(offsets);
        of_rows.map(|((fours, scales), offsets)| Blocks {
            fours,
            scales,
            offsets,
        })
    }
}

/// The same block of `R` rows.
struct Blocks<'a, const R: usize> {
    fours: &'a [[i64; R]; FOURS],
    scales: &'a [f32; R],
    offsets: &'a [u32; R],
}

#[target_feature(enable = "avx2,fma,f16c")]
fn quantize(x: &[f32; BLOCK], scale: &mut f32, offset: &mut u32) -> [i64; FOURS] {
    const MAX: f32 = i16::MAX as f32;

    let x: [[f32; 8]; 4] = cast(*x);
    let x: [__m256; 4] = x.map(cast);
    // Compared as integers, which keeps the order and puts NaN above all.
    let mut bits = _mm256_setzero_si256();
    for x in x {
        let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), x);
        bits = _mm256_max_epi32(bits, _mm256_castps_si256(size));
    }
    let bits = cast::<_, [u32; 8]>(bits).into_iter().fold(0, u32::max);
    let max = f32::from_bits(bits);
    if !max.is_finite() {
        // So is then each product.
        (*scale, *offset) = (f32::NAN, 0);
        return [0; FOURS];
    }
    let inverse = _mm256_set1_ps(if max > 0.0 { MAX / max } else { 0.0 });
    let [a, b, c, d] = x.map(|x| _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse)));
    let sums = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
    let sum: i32 = cast::<_, [i32; 8]>(sums).into_iter().sum();
    *scale = max / MAX;
    *offset = (-128 * sum).cast_unsigned();
    cast([
        _mm256_permute4x64_epi64::<IN_ORDER>(_mm256_packs_epi32(a, b)),
        _mm256_permute4x64_epi64::<IN_ORDER>(_mm256_packs_epi32(c, d)),
    ])
}

/// Fills `out`, the rows of some columns, of which `tiles` are the weights.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_part(tiles: &[Tile], x: &Activations, bias: Option<&[f32]>, out: &mut [&mut [f32]]) {
    let rows_cached = (CACHED / (x.blocks * BLOCK * size_of::<i16>())).next_multiple_of(ROWS);
    for (i, out) in out.chunks_mut(rows_cached).enumerate() {
        for (column, tiles) in tiles.chunks_exact(x.blocks).enumerate() {
            let column = column * LANES;
            let bias = bias.map(|bias| &bias[column..]);
            for (j, out) in out.chunks_mut(ROWS).enumerate() {
                let row = i * rows_cached + j * ROWS;
                // So many vectors of sums fit the registers. A few rows wait for memory, and take each line of it at once.
                match out.len() {
                    1 => multiply_rows::<1, VECTORS>(tiles, x, row, bias, out, column),
                    2 => multiply_rows::<2, VECTORS>(tiles, x, row, bias, out, column),
                    3 => multiply_rows::<3, 2>(tiles, x, row, bias, out, column),
                    4 => multiply_rows::<4, 2>(tiles, x, row, bias, out, column),
                    5 => multiply_rows::<5, 2>(tiles, x, row, bias, out, column),
                    _ => multiply_rows::<ROWS, 2>(tiles, x, row, bias, out, column),
                }
            }
        }
    }
}

/// Fills the sixteen columns from `column` on of `out`, which are `R` rows from `row` on, `V` vectors at a time.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn multiply_rows<const R: usize, const V: usize>(
    tiles: &[Tile],
    x: &Activations,
    row: usize,
    bias: Option<&[f32]>,
    out: &mut [&mut [f32]],
    column: usize,
) {
    for first in (0..VECTORS).step_by(V) {
        let sums = dot::<R, V>(tiles, x, row, first);
        for (sums, out) in sums.iter().zip(&mut *out) {
            for (i, &[low, high]) in sums.as_chunks().0.iter().enumerate() {
                let sum = _mm256_castps_pd(_mm256_hadd_ps(low, high));
                let mut sum = _mm256_castpd_ps(_mm256_permute4x64_pd::<IN_ORDER>(sum));
                let at = (first + 2 * i) * 4;
                if let Some(&bias) = bias.and_then(|bias| bias[at..].first_chunk::<8>()) {
                    sum = _mm256_add_ps(sum, cast(bias));
                }
                out[column + at..][..8].copy_from_slice(&cast::<_, [f32; 8]>(sum));
            }
        }
    }
}

/// The products of `R` rows of activations, from `row` on, with `V` vectors of tiles, from `first` on: two sums for each
/// row of weights, which are to be added. What it computes for a row does not depend on the other rows.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn dot<const R: usize, const V: usize>(
    tiles: &[Tile],
    x: &Activations,
    row: usize,
    first: usize,
) -> [[__m256; V]; R] {
    let mut sums = [[_mm256_setzero_ps(); V]; R];
    for (tile, x) in tiles.iter().zip(x.rows::<R>(row)) {
        // Half of a 64-bit number, so that only one of the two sums has it.
        let mut dots: [[__m256i; V]; R] =
            array::from_fn(|r| [_mm256_set1_epi64x(i64::from(x.offsets[r])); V]);
        for (quants, fours) in tile.quants.iter().zip(x.fours) {
            let quants = &quants.as_chunks::<16>().0[first..];
            let weights: [__m256i; V] = array::from_fn(|v| _mm256_cvtepu8_epi16(cast(quants[v])));
            for (dots, &four) in dots.iter_mut().zip(fours) {
                let four = _mm256_set1_epi64x(four);
                for (dot, weights) in dots.iter_mut().zip(weights) {
                    *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(weights, four));
                }
            }
        }
        let scales = &tile.scales.as_chunks::<4>().0[first..];
        for v in 0..V {
            let scales = _mm_cvtsi64_si128(cast(scales[v]));
            let scales = _mm256_cvtph_ps(_mm_unpacklo_epi16(scales, scales));
            for r in 0..R {
                let scale = _mm256_mul_ps(scales, _mm256_set1_ps(x.scales[r]));
                sums[r][v] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[r][v]), scale, sums[r][v]);
            }
        }
    }
    sums
}
