//! Attention with AVX2, in whole numbers of 16 bits: one instruction multiplies sixteen of them and adds pairs, where f32 has
//! eight.
//!
//! A query and a key are so long at most that their product fits 32 bits (Cauchy–Schwarz). A value has 12 bits, relative to
//! the largest of its block of keys in its dimension, and the weights of a block add up to 19 bits at most, so that the
//! weighted sums fit too.

#![allow(
    unsafe_code,
    reason = "what uses instructions that not every processor has is unsafe to call; `Avx2` proves that this one has them"
)]

mod pack;

use std::arch::x86_64::{
    __m256, __m256i, _mm256_add_epi32, _mm256_add_ps, _mm256_castps_si256, _mm256_castsi256_ps,
    _mm256_cvtepi32_ps, _mm256_cvtps_epi32, _mm256_fmadd_ps, _mm256_fmsub_ps, _mm256_madd_epi16,
    _mm256_max_ps, _mm256_mul_ps, _mm256_packs_epi32, _mm256_permute4x64_epi64, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_slli_epi32, _mm256_sub_ps,
};

use bytemuck::cast;

use self::pack::{
    KEYS, LANES, MAX, MAX_VALUE, Packed, Pairs, Scales, VECTORS, WIDE, pack_head, quantize,
};
use super::{
    blocked::{Kernel, Queries, Tables, exp2_series},
    rows::Rows,
};
use crate::nn::simd::Avx2;

/// Queries that a key is multiplied with while it is in registers.
const ROWS: usize = 6;
/// As many times so many queries have a key or value from the core's nearest cache.
const GROUPS: usize = 2;
/// What weights add up to: times the largest value, they fit 32 bits.
const MAX_WEIGHTS: f32 = (1_u32 << 31) as f32 / (MAX_VALUE + 1.0) * 0.999;
/// The order of 64-bit parts that undoes how instructions for two halves interleave them.
const IN_ORDER: i32 = 0b11_01_10_00;

/// The kernel.
#[derive(Clone, Copy)]
pub(super) struct Integers(pub(super) Avx2);

impl Kernel for Integers {
    const QUERIES: usize = 6 * GROUPS * ROWS;
    type Packed = Packed;

    fn pack(
        self,
        k: &Rows<f32>,
        v: &Rows<f32>,
        head: usize,
        keys: usize,
        tables: Option<&Tables>,
    ) -> Packed {
        // SAFETY: the token is there, so the processor has the instructions.
        unsafe { pack_head(k, v, head, keys, tables) }
    }

    fn attend(
        self,
        queries: &Queries,
        packed: &Packed,
        seen: &dyn Fn(usize) -> usize,
        out: &mut [&mut [f32]],
    ) {
        // SAFETY: the token is there, so the processor has the instructions.
        unsafe { attend_head(queries, packed, seen(0), out) }
    }
}

/// What is kept of [`ROWS`] queries from one block of keys to the next; the other lanes are idle.
#[derive(Clone, Copy)]
struct Online {
    /// What scores are multiplied with.
    scales: [f32; LANES],
    /// The largest scores so far, and the sums of all weights relative to them.
    max: [f32; LANES],
    sum: [f32; LANES],
}

impl Online {
    const START: Self = Self {
        scales: [1.0; LANES],
        max: [f32::NEG_INFINITY; LANES],
        sum: [0.0; LANES],
    };
}

/// What a block of keys is to [`ROWS`] queries.
struct Block {
    /// Weights relative to the block's largest score, times [`factors`](Self::factors).
    weights: [[[i16; 2]; KEYS / 2]; ROWS],
    /// The largest score.
    max: [f32; LANES],
    sum: [f32; LANES],
    factors: [f32; LANES],
}

#[target_feature(enable = "avx2,fma")]
fn attend_head(queries: &Queries, packed: &Packed, seen: usize, out: &mut [&mut [f32]]) {
    let pairs = packed.pairs;
    let groups = out.len().div_ceil(ROWS * GROUPS) * GROUPS;
    let mut numbers = vec![[[0; 2]; ROWS]; groups * pairs];
    let mut online = vec![Online::START; groups];
    let mut quants = Vec::new();
    for (i, row) in queries.scaled().enumerate() {
        online[i / ROWS].scales[i % ROWS] = quantize(&row, &mut quants);
        let numbers = &mut numbers[i / ROWS * pairs..][..pairs];
        for (number, pair) in numbers.iter_mut().zip(quants.as_chunks().0) {
            number[i % ROWS] = *pair;
        }
    }
    // Of 16 dimensions.
    let parts = packed.value_scales.len() / (packed.key_scales.len() * WIDE / KEYS);
    let dim = parts * WIDE;
    let mut sums = vec![0.0; online.len() * ROWS * dim];
    let mut scores = [[[0.0; KEYS]; ROWS]; GROUPS];
    let mut blocks = [const { Block::EMPTY }; GROUPS];
    for first in (0..seen).step_by(KEYS) {
        let here = (seen - first).min(KEYS);
        let strips = here.div_ceil(WIDE);
        let keys = &packed.keys[first / WIDE * pairs..][..strips * pairs];
        let scales = &packed.key_scales[first / WIDE..][..strips];
        let block = first / KEYS * parts;
        let values = packed.values[block * (KEYS / 2)..].chunks_exact(KEYS / 2);
        let tasks = numbers
            .chunks_exact(GROUPS * pairs)
            .zip(online.chunks_exact_mut(GROUPS))
            .zip(sums.chunks_exact_mut(GROUPS * ROWS * dim));
        for ((queries, online), sums) in tasks {
            for (strip, (keys, scales)) in keys.chunks_exact(pairs).zip(scales).enumerate() {
                for (queries, scores) in queries.chunks_exact(pairs).zip(&mut scores) {
                    score(queries, keys, scales, scores, strip * WIDE);
                }
            }
            let mut factors = [[[0.0; LANES]; 2]; GROUPS];
            for (i, (scores, block)) in scores.iter_mut().zip(&mut blocks).enumerate() {
                for (row, scores) in scores.iter_mut().enumerate() {
                    weigh(scores, here, online[i].scales[row], block, row);
                }
                factors[i] = join(&mut online[i], block);
            }
            let of_block = values.clone().zip(&packed.value_scales[block..]);
            for (part, (values, scales)) in of_block.take(parts).enumerate() {
                let groups = blocks.iter().zip(&factors).enumerate();
                for (group, (block, factors)) in groups {
                    let sums = &mut sums[group * ROWS * dim + part * WIDE..];
                    let values = &values[..strips * WIDE / 2];
                    add_values(&block.weights, values, scales, factors, sums, dim);
                }
            }
        }
    }
    for (i, (out, sums)) in out.iter_mut().zip(sums.chunks_exact(dim)).enumerate() {
        let share = 1.0 / online[i / ROWS].sum[i % ROWS];
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum * share;
        }
    }
}

impl Block {
    const EMPTY: Self = Self {
        weights: [[[0; 2]; KEYS / 2]; ROWS],
        max: [f32::NEG_INFINITY; LANES],
        sum: [0.0; LANES],
        factors: [1.0; LANES],
    };
}

/// The scores of [`ROWS`] queries with 16 keys, but for what each query is multiplied with.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn score(
    queries: &[[[i16; 2]; ROWS]],
    keys: &[Pairs],
    scales: &Scales,
    scores: &mut [[f32; KEYS]; ROWS],
    at: usize,
) {
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; ROWS];
    for (queries, keys) in queries.iter().zip(keys) {
        for (sums, &query) in sums.iter_mut().zip(queries) {
            multiply_add(sums, query, keys);
        }
    }
    for (scores, sums) in scores.iter_mut().zip(sums) {
        let to = scores[at..at + WIDE].as_chunks_mut::<LANES>().0;
        for ((to, sum), scale) in to.iter_mut().zip(sums).zip(scales) {
            *to = cast(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), cast(*scale)));
        }
    }
}

/// Adds the products of a pair with each of `pairs`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn multiply_add(sums: &mut [__m256i; VECTORS], pair: [i16; 2], pairs: &Pairs) {
    let pair = _mm256_set1_epi32(cast(pair));
    for (sum, pairs) in sums.iter_mut().zip(pairs) {
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, cast(*pairs)));
    }
}

/// Makes weights of the first `seen` scores of query `row`, and of the others of their sixteen 0.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn weigh(scores: &mut [f32; KEYS], seen: usize, scale: f32, block: &mut Block, row: usize) {
    let padded = seen.next_multiple_of(WIDE);
    scores[seen..padded].fill(f32::NEG_INFINITY);
    let vectors = scores[..padded].as_chunks_mut::<LANES>().0;
    let mut max = _mm256_set1_ps(f32::NEG_INFINITY);
    for scores in &*vectors {
        max = _mm256_max_ps(max, cast(*scores));
    }
    let max = scale
        * cast::<_, [f32; LANES]>(max)
            .into_iter()
            .fold(f32::NEG_INFINITY, f32::max);
    let (scale, largest) = (_mm256_set1_ps(scale), _mm256_set1_ps(max));
    let mut sum = _mm256_setzero_ps();
    for scores in &mut *vectors {
        let weights = exp2(_mm256_fmsub_ps(cast(*scores), scale, largest));
        sum = _mm256_add_ps(sum, weights);
        *scores = cast(weights);
    }
    let sum = cast::<_, [f32; LANES]>(sum).into_iter().sum::<f32>();
    let factor = MAX.min(MAX_WEIGHTS / sum);
    let by = _mm256_set1_ps(factor);
    let to = block.weights[row].as_chunks_mut::<LANES>().0;
    for (&[low, high], to) in vectors.as_chunks::<VECTORS>().0.iter().zip(to) {
        let [low, high] =
            [low, high].map(|weights| _mm256_cvtps_epi32(_mm256_mul_ps(cast(weights), by)));
        *to = cast(_mm256_permute4x64_epi64::<IN_ORDER>(_mm256_packs_epi32(
            low, high,
        )));
    }
    (block.max[row], block.sum[row], block.factors[row]) = (max, sum, factor);
}

/// Adds the weights of a block to those before. Returns what the sums before are multiplied with, and those of the block.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn join(online: &mut Online, block: &Block) -> [[f32; LANES]; 2] {
    let (before, here) = (cast(online.max), cast(block.max));
    let max = _mm256_max_ps(before, here);
    let [before, here] = [before, here].map(|of| exp2(_mm256_sub_ps(of, max)));
    let sum = _mm256_mul_ps(here, cast(block.sum));
    online.sum = cast(_mm256_fmadd_ps(before, cast(online.sum), sum));
    online.max = cast(max);
    let factors = block.factors.map(f32::recip);
    [cast(before), cast(_mm256_mul_ps(here, cast(factors)))]
}

/// Adds values, weighted, to 16 dimensions of [`ROWS`] sums, of which each is `dim` behind the one before.
#[allow(
    clippy::needless_range_loop,
    reason = "iterators over arrays of vectors would go through memory"
)]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn add_values(
    weights: &[[[i16; 2]; KEYS / 2]; ROWS],
    values: &[Pairs],
    scales: &Scales,
    [before, here]: &[[f32; LANES]; 2],
    sums: &mut [f32],
    dim: usize,
) {
    let mut added = [[_mm256_setzero_si256(); VECTORS]; ROWS];
    for (pair, values) in values.iter().enumerate().take(KEYS / 2) {
        for (added, weights) in added.iter_mut().zip(weights) {
            multiply_add(added, weights[pair], values);
        }
    }
    for row in 0..ROWS {
        let (before, here) = (_mm256_set1_ps(before[row]), _mm256_set1_ps(here[row]));
        let sums = sums[row * dim..][..WIDE].as_chunks_mut::<LANES>().0;
        for vector in 0..VECTORS {
            let added = _mm256_cvtepi32_ps(added[row][vector]);
            let added = _mm256_mul_ps(added, cast(scales[vector]));
            let kept = _mm256_mul_ps(before, cast(sums[vector]));
            sums[vector] = cast(_mm256_fmadd_ps(added, here, kept));
        }
    }
}

/// 2 to the power of what is not positive, and 2⁻¹²⁶ or so for what is lower: the whole part goes to the exponent, the rest
/// through a series whose first term that is left out is 4.2e-5.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn exp2(x: __m256) -> __m256 {
    const SERIES: [f32; 5] = exp2_series();
    /// Adding this rounds to whole numbers, which then are the low bits.
    const ROUND: f32 = 12_582_912.0;

    // The second is taken where one is NaN.
    let x = _mm256_max_ps(_mm256_set1_ps(-126.0), x);
    let shifted = _mm256_add_ps(x, _mm256_set1_ps(ROUND));
    let rest = _mm256_sub_ps(x, _mm256_sub_ps(shifted, _mm256_set1_ps(ROUND)));
    let mut power = _mm256_set1_ps(SERIES[4]);
    for term in SERIES[..4].iter().rev() {
        power = _mm256_fmadd_ps(power, rest, _mm256_set1_ps(*term));
    }
    let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(power), exponent))
}
