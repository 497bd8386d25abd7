//! Products of many rows with AVX2, as a prompt has them: sums of whole numbers over up to 512 columns, in half as many
//! multiplications as there are weights (Winograd, "A new algorithm for inner product", 1968).
//!
//! With pairs of activations a and weights w, a₀w₀ + a₂w₂ = (a₀ + w₂)(a₂ + w₀) − a₀a₂ − w₀w₂. The last two terms belong to a row
//! and to a column alone. What the sums in between wrap around does not matter: the result fits 32 bits, so it is exact,
//! and a row does not depend on its neighbours.

#![allow(
    unsafe_code,
    reason = "what uses instructions that not every processor has is unsafe to call; `Avx2` proves that this one has them"
)]

use std::{
    arch::x86_64::{
        __m256, __m256i, _CMP_GT_OQ, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps,
        _mm256_and_ps, _mm256_andnot_ps, _mm256_castps_si256, _mm256_cmp_ps, _mm256_cvtepi32_ps,
        _mm256_cvtph_ps, _mm256_cvtps_epi32, _mm256_div_ps, _mm256_fmadd_ps, _mm256_madd_epi16,
        _mm256_max_epi32, _mm256_max_ps, _mm256_mul_ps, _mm256_mulhrs_epi16, _mm256_or_si256,
        _mm256_packs_epi32, _mm256_permute4x64_epi64, _mm256_set1_epi8, _mm256_set1_epi32,
        _mm256_set1_ps, _mm256_setr_epi8, _mm256_setzero_ps, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_shuffle_epi32, _mm256_slli_epi32, _mm256_sub_epi32,
        _mm256_xor_si256,
    },
    array,
};

use bytemuck::cast;
use rayon::prelude::*;

use super::tiles::{BLOCK, LANES, Tile, Tiles};
use crate::nn::simd::Avx2;

/// Columns whose products are summed as whole numbers: more lose bits, fewer cost time.
const GROUP: usize = 512;
/// Rows of activations per read of a weight; more don't fit the registers.
const ROWS: usize = 4;
/// Rows that are multiplied with all weights before the next ones: their part of a group stays in the core's own cache.
const ROWS_CACHED: usize = 128;
/// Columns, sixteen at a time, for which the rows of a group are read once.
const PANELS: usize = 8;
/// Weights are up to 127/128 of this.
const MAX_WEIGHT: f32 = 4095.0;
/// An activation and a weight fit 16 bits together.
const MAX_ACTIVATION: f32 = 28_600.0;
/// The most that the sizes of a group's activations may be together, so that no product leaves 32 bits; each is rounded.
const MAX_SUM: f32 = (1_u64 << 31) as f32 / (MAX_WEIGHT + 1.0) * 0.9999 - GROUP as f32;
/// The order of 64-bit parts that undoes how instructions for two halves interleave them.
const IN_ORDER: i32 = 0b11_01_10_00;
/// Swaps the two pairs of each four.
const OTHER_PAIR: i32 = 0b10_11_00_01;

/// As [`Packed::multiply`](super::Packed::multiply).
pub(super) fn multiply(token: Avx2, weights: &Tiles, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let activations = Activations::new(token, x, weights.input);
    weights.by_parts(x, bias, LANES, |tiles, bias, part| {
        // SAFETY: `token` is there, so the processor has the instructions.
        unsafe { multiply_part(tiles, &activations, bias, part) }
    })
}

/// Rows of activations in 16 bits: of each group in turn, four rows at a time.
struct Activations {
    input: usize,
    /// A multiple of [`ROWS`]; those beyond the last are zeros.
    rows: usize,
    /// Four activations in each, as two pairs.
    fours: Vec<[i32; 2]>,
    /// Of each group in turn, those of all rows.
    facts: Vec<Facts>,
}

/// What a row's part of a group is multiplied with, and the sum of the products of its pairs.
#[derive(Clone, Copy, Default)]
struct Facts {
    scale: f32,
    pairs: i32,
}

impl Activations {
    fn new(_: Avx2, x: &[f32], input: usize) -> Self {
        let given = x.len() / input;
        let rows = given.next_multiple_of(ROWS);
        let groups = input.div_ceil(GROUP);
        let mut fours = vec![[0; 2]; rows * input / 4];
        let mut facts = vec![Facts::default(); rows * groups];
        fours
            .par_chunks_mut(rows * GROUP / 4)
            .zip(facts.par_chunks_mut(rows))
            .enumerate()
            .for_each(|(group, (fours, facts))| {
                let first = group * GROUP;
                let length = (input - first).min(GROUP);
                let rows = x.par_chunks_exact(input).zip(facts);
                fours
                    .par_chunks_exact_mut(length / 4)
                    .zip(rows)
                    .for_each(|(fours, (x, facts))| {
                        // SAFETY: the token is there, so the processor has the instructions.
                        *facts = unsafe { quantize(&x[first..first + length], fours) };
                    });
            });
        Self {
            input,
            rows,
            fours,
            facts,
        }
    }

    /// `ROWS` rows from `row` on, of a group of `length` columns.
    fn part(&self, group: usize, length: usize, row: usize) -> (Rows<'_>, &[Facts; ROWS]) {
        let start = self.rows * group * GROUP / 4 + row * length / 4;
        let fours = &self.fours[start..start + ROWS * length / 4];
        let mut rows = fours.chunks_exact(length / 4);
        let facts = &self.facts[group * self.rows + row..];
        let rows = array::from_fn(|_| rows.next().unwrap_or_default());
        (
            rows,
            facts.first_chunk().unwrap_or(
                &[Facts {
                    scale: 0.0,
                    pairs: 0,
                }; ROWS],
            ),
        )
    }
}

type Rows<'a> = [&'a [[i32; 2]]; ROWS];

/// Writes a row's part of a group, of a multiple of [`BLOCK`] numbers.
#[target_feature(enable = "avx2,fma,f16c")]
fn quantize(x: &[f32], fours: &mut [[i32; 2]]) -> Facts {
    let (x, _) = x.as_chunks::<8>();
    // Compared as integers, which keeps the order and puts NaN above all.
    let (mut bits, mut sums) = (_mm256_setzero_si256(), _mm256_setzero_ps());
    for &x in x {
        let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), cast(x));
        bits = _mm256_max_epi32(bits, _mm256_castps_si256(size));
        sums = _mm256_add_ps(sums, size);
    }
    let max = f32::from_bits(cast::<_, [u32; 8]>(bits).into_iter().fold(0, u32::max));
    if !max.is_finite() {
        // So is then each product.
        fours.fill([0; 2]);
        return Facts {
            scale: f32::NAN,
            pairs: 0,
        };
    }
    if max == 0.0 {
        fours.fill([0; 2]);
        return Facts::default();
    }
    let sum: f32 = cast::<_, [f32; 8]>(sums).into_iter().sum();
    let inverse = (MAX_ACTIVATION / max).min(MAX_SUM / sum).min(f32::MAX);
    let by = _mm256_set1_ps(inverse);
    let mut pairs = _mm256_setzero_si256();
    for (&[low, high], fours) in x
        .as_chunks::<2>()
        .0
        .iter()
        .zip(fours.as_chunks_mut::<4>().0)
    {
        let [low, high] = [low, high].map(|x| _mm256_cvtps_epi32(_mm256_mul_ps(cast(x), by)));
        let quants = _mm256_permute4x64_epi64::<IN_ORDER>(_mm256_packs_epi32(low, high));
        let other = _mm256_shuffle_epi32::<OTHER_PAIR>(quants);
        pairs = _mm256_add_epi32(pairs, _mm256_madd_epi16(quants, other));
        *fours = cast(quants);
    }
    // Each product is there twice.
    let [a, _, b, _, c, _, d, _] = cast::<_, [i32; 8]>(pairs);
    Facts {
        scale: inverse.recip(),
        pairs: a.wrapping_add(b).wrapping_add(c).wrapping_add(d),
    }
}

/// Sixteen columns of a group as 16-bit numbers.
struct Panel {
    /// Of four weights of each column: the first two of columns 0 to 7, of 8 to 15, then the last two.
    quants: [[__m256i; 4]; GROUP / 4],
    /// What the columns are multiplied with.
    scales: [__m256; 2],
    /// The negated sums of the products of their pairs.
    pairs: [__m256i; 2],
}

impl Panel {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn new() -> Self {
        Self {
            quants: [[_mm256_setzero_si256(); 4]; GROUP / 4],
            scales: [_mm256_setzero_ps(); 2],
            pairs: [_mm256_setzero_si256(); 2],
        }
    }

    /// Takes the tiles of a group.
    #[target_feature(enable = "avx2,fma,f16c")]
    fn expand(&mut self, tiles: &[Tile]) {
        // Into the upper bytes of 16-bit numbers.
        let first_two = _mm256_setr_epi8(
            -1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1, 0, -1, 1, -1, 4, -1, 5,
            -1, 8, -1, 9, -1, 12, -1, 13,
        );
        let last_two = _mm256_add_epi16(first_two, _mm256_set1_epi32(0x0200_0200));
        let largest = tiles
            .iter()
            .fold([_mm256_setzero_ps(); 2], |largest, tile| {
                let scales = scales(tile);
                array::from_fn(|half| {
                    let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), scales[half]);
                    _mm256_max_ps(largest[half], size)
                })
            });
        let unit = _mm256_set1_ps(128.0 / MAX_WEIGHT);
        self.scales = largest.map(|largest| _mm256_mul_ps(largest, unit));
        let to_weights = largest.map(|largest| {
            let is_some = _mm256_cmp_ps::<_CMP_GT_OQ>(largest, _mm256_setzero_ps());
            _mm256_and_ps(_mm256_div_ps(_mm256_set1_ps(MAX_WEIGHT), largest), is_some)
        });
        let mut pairs = [_mm256_setzero_si256(); 2];
        for (tile, to) in tiles
            .iter()
            .zip(self.quants.as_chunks_mut::<{ BLOCK / 4 }>().0)
        {
            let scales = scales(tile);
            let factors: [__m256i; 2] = array::from_fn(|half| {
                let factor = _mm256_cvtps_epi32(_mm256_mul_ps(scales[half], to_weights[half]));
                _mm256_or_si256(factor, _mm256_slli_epi32::<16>(factor))
            });
            for (&quants, to) in tile.quants.iter().zip(to) {
                let quants: [__m256i; 2] = cast(quants);
                for half in 0..2 {
                    let signed = _mm256_xor_si256(quants[half], _mm256_set1_epi8(-128));
                    let [first, last] = [first_two, last_two].map(|order| {
                        _mm256_mulhrs_epi16(_mm256_shuffle_epi8(signed, order), factors[half])
                    });
                    pairs[half] = _mm256_sub_epi32(pairs[half], _mm256_madd_epi16(first, last));
                    (to[half], to[2 + half]) = (first, last);
                }
            }
        }
        self.pairs = pairs;
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn scales(tile: &Tile) -> [__m256; 2] {
    let halves: [[u16; LANES / 2]; 2] = cast(tile.scales);
    halves.map(|half| _mm256_cvtph_ps(cast(half)))
}

/// Sums of [`ROWS`] rows of sixteen columns.
type Sums = [[[f32; LANES / 2]; 2]; ROWS];

/// Fills `out`, the rows of some columns, of which `tiles` are the weights.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_part(tiles: &[Tile], x: &Activations, bias: Option<&[f32]>, out: &mut [&mut [f32]]) {
    let blocks = x.input / BLOCK;
    let mut panel = Panel::new();
    let mut sums = vec![Sums::default(); PANELS * ROWS_CACHED / ROWS];
    for (i, out) in out.chunks_mut(ROWS_CACHED).enumerate() {
        let (first_row, tiles_of_rows) = (i * ROWS_CACHED, out.len().div_ceil(ROWS));
        for (j, panels) in tiles.chunks(PANELS * blocks).enumerate() {
            sums.fill(Sums::default());
            for group in 0..x.input.div_ceil(GROUP) {
                let blocks_here = group * GROUP / BLOCK..((group + 1) * GROUP / BLOCK).min(blocks);
                let length = blocks_here.len() * BLOCK;
                let columns = panels
                    .chunks_exact(blocks)
                    .zip(sums.chunks_mut(ROWS_CACHED / ROWS));
                for (tiles, sums) in columns {
                    panel.expand(&tiles[blocks_here.clone()]);
                    for (tile, sums) in sums[..tiles_of_rows].iter_mut().enumerate() {
                        let (rows, facts) = x.part(group, length, first_row + tile * ROWS);
                        add_products(&panel, rows, facts, sums);
                    }
                }
            }
            for (k, sums) in sums
                .chunks(ROWS_CACHED / ROWS)
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

/// Adds the products of a group's part of some rows with sixteen columns.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add_products(panel: &Panel, rows: Rows, facts: &[Facts; ROWS], sums: &mut Sums) {
    let mut dots: [[__m256i; 2]; ROWS] = array::from_fn(|row| {
        let of_row = _mm256_set1_epi32(facts[row].pairs);
        panel
            .pairs
            .map(|of_columns| _mm256_sub_epi32(of_columns, of_row))
    });
    let [a, b, c, d] = rows;
    let fours = a.iter().zip(b).zip(c).zip(d);
    for (weights, (((a, b), c), d)) in panel.quants.iter().zip(fours) {
        let [first_low, first_high, last_low, last_high] = *weights;
        for (dots, four) in dots.iter_mut().zip([a, b, c, d]) {
            // Each from memory: taken out of one number they would cost more than the products.
            let (first, last) = (_mm256_set1_epi32(four[0]), _mm256_set1_epi32(four[1]));
            let low = _mm256_madd_epi16(
                _mm256_add_epi16(last_low, first),
                _mm256_add_epi16(first_low, last),
            );
            let high = _mm256_madd_epi16(
                _mm256_add_epi16(last_high, first),
                _mm256_add_epi16(first_high, last),
            );
            dots[0] = _mm256_add_epi32(dots[0], low);
            dots[1] = _mm256_add_epi32(dots[1], high);
        }
    }
    for ((dots, facts), sums) in dots.into_iter().zip(facts).zip(sums) {
        for (half, sum) in sums.iter_mut().enumerate() {
            let scale = _mm256_mul_ps(panel.scales[half], _mm256_set1_ps(facts.scale));
            let dot = _mm256_cvtepi32_ps(dots[half]);
            *sum = cast(_mm256_fmadd_ps(dot, scale, cast(*sum)));
        }
    }
}
