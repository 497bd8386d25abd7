//! Attention with AVX2, in f32.

#![allow(
    unsafe_code,
    reason = "what uses instructions that not every processor has is unsafe to call; `Avx2` proves that this one has them"
)]

use std::arch::x86_64::{
    __m256, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm256_add_epi32, _mm256_add_ps,
    _mm256_castsi256_ps, _mm256_cvtps_epi32, _mm256_fmadd_ps, _mm256_max_ps, _mm256_mul_ps,
    _mm256_round_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi32,
    _mm256_sub_ps,
};

use bytemuck::cast;

use super::{
    blocked::{Kernel, OnlineSoftmax, Queries, Tables, exp2_series},
    rows::Rows,
};
use crate::nn::simd::Avx2;

/// Numbers in a vector.
const LANES: usize = 8;
/// Queries that a key is multiplied with while it is in registers, and vectors of keys or values that are.
const ROWS: usize = 6;
const VECTORS: usize = 2;
const WIDE: usize = VECTORS * LANES;
/// Keys whose scores exist at a time.
const KEYS: usize = 256;

/// Numbers that are multiplied with the same one.
type Vectors = [[f32; LANES]; VECTORS];

/// One head of keys and values, up to a multiple of [`KEYS`] of them.
pub(super) struct Packed {
    /// `head_dim`, up to a multiple of [`WIDE`].
    dim: usize,
    /// `(keys / 16, dim)`: one dimension of 16 keys.
    keys: Vec<Vectors>,
    /// `(dim / 16, keys)`: 16 dimensions of one key.
    values: Vec<Vectors>,
}

impl Kernel for Avx2 {
    const QUERIES: usize = 12 * ROWS;
    type Packed = Packed;

    fn pack(
        self,
        k: &Rows<f32>,
        v: &Rows<f32>,
        head: usize,
        keys: usize,
        tables: Option<&Tables>,
    ) -> Packed {
        let dim = k.head_dim.next_multiple_of(WIDE);
        let padded = keys.next_multiple_of(KEYS);
        let mut packed = Packed {
            dim,
            keys: vec![[[0.0; LANES]; VECTORS]; padded / WIDE * dim],
            values: vec![[[0.0; LANES]; VECTORS]; dim / WIDE * padded],
        };
        let mut row = Vec::new();
        for key in 0..keys {
            row.clear();
            row.extend_from_slice(k.row(head, key));
            if let Some(tables) = tables {
                tables.rotate(&mut row, key);
            }
            let vectors = &mut packed.keys[key / WIDE * dim..][..dim];
            for (vectors, &value) in vectors.iter_mut().zip(&row) {
                vectors.as_flattened_mut()[key % WIDE] = value;
            }
            let parts = v.row(head, key).chunks(WIDE);
            for (part, values) in parts.zip(packed.values.chunks_exact_mut(padded)) {
                values[key].as_flattened_mut()[..part.len()].copy_from_slice(part);
            }
        }
        packed
    }

    fn attend(
        self,
        queries: &Queries,
        packed: &Packed,
        seen: &dyn Fn(usize) -> usize,
        out: &mut [&mut [f32]],
    ) {
        let dim = packed.dim;
        let mut numbers = vec![[0.0; ROWS]; queries.len().div_ceil(ROWS) * dim];
        for (i, row) in queries.scaled().enumerate() {
            let numbers = &mut numbers[i / ROWS * dim..][..dim];
            for (number, value) in numbers.iter_mut().zip(row) {
                number[i % ROWS] = value;
            }
        }
        // SAFETY: the token is there, so the processor has the instructions.
        unsafe { attend_head(&numbers, packed, seen, out) }
    }
}

#[target_feature(enable = "avx2,fma")]
fn attend_head(
    queries: &[[f32; ROWS]],
    packed: &Packed,
    seen: &dyn Fn(usize) -> usize,
    out: &mut [&mut [f32]],
) {
    let dim = packed.dim;
    let groups = out.len().div_ceil(ROWS);
    let mut sums = vec![0.0; groups * ROWS * dim];
    let mut online = vec![OnlineSoftmax::START; groups];
    // Scores, then weights.
    let mut scores = [[0.0; KEYS]; ROWS];
    let all = seen(out.len() - 1);
    for first in (0..all).step_by(KEYS) {
        let keys = &packed.keys[first / WIDE * dim..][..KEYS / WIDE * dim];
        let queries = queries.chunks_exact(dim);
        let sums = sums.chunks_exact_mut(ROWS * dim);
        for (group, ((queries, sums), online)) in queries.zip(sums).zip(&mut online).enumerate() {
            score(queries, keys, &mut scores);
            for row in 0..ROWS {
                let query = (group * ROWS + row).min(out.len() - 1);
                let seen = seen(query).saturating_sub(first).min(KEYS);
                let sums = &mut sums[row * dim..][..dim];
                weigh(&mut scores[row], seen, online, row, sums);
            }
            let values = packed
                .values
                .chunks_exact(packed.values.len() / (dim / WIDE));
            for (i, values) in values.enumerate() {
                add_values(
                    &scores,
                    &values[first..][..KEYS],
                    &mut sums[i * WIDE..],
                    dim,
                );
            }
        }
    }
    OnlineSoftmax::finish(&online, &sums, dim, out);
}

/// The scores of [`ROWS`] queries with [`KEYS`] keys.
#[target_feature(enable = "avx2,fma")]
fn score(queries: &[[f32; ROWS]], keys: &[Vectors], scores: &mut [[f32; KEYS]; ROWS]) {
    for (i, keys) in keys.chunks_exact(queries.len()).enumerate() {
        let mut sums = [[_mm256_setzero_ps(); VECTORS]; ROWS];
        for (queries, keys) in queries.iter().zip(keys) {
            for (sums, &query) in sums.iter_mut().zip(queries) {
                multiply_add(sums, query, keys);
            }
        }
        for (scores, sums) in scores.iter_mut().zip(sums) {
            let to = &mut scores[i * WIDE..][..WIDE];
            to.copy_from_slice(cast::<_, Vectors>(sums).as_flattened());
        }
    }
}

/// Turns the first `seen` scores into weights, the others into 0, and rescales what came before. Every query sees some
/// keys of the first block.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn weigh(
    scores: &mut [f32; KEYS],
    seen: usize,
    online: &mut OnlineSoftmax<ROWS>,
    row: usize,
    sums: &mut [f32],
) {
    scores[seen..].fill(f32::NEG_INFINITY);
    let vectors = scores.as_chunks_mut::<LANES>().0;
    let mut max = _mm256_set1_ps(online.max(row));
    for scores in &*vectors {
        max = _mm256_max_ps(max, cast(*scores));
    }
    let max = cast::<_, [f32; LANES]>(max)
        .into_iter()
        .fold(f32::NEG_INFINITY, f32::max);
    online.raise(row, max, sums);
    let max = _mm256_set1_ps(max);
    let mut sum = _mm256_setzero_ps();
    for scores in vectors {
        let weights = exp2(_mm256_sub_ps(cast(*scores), max));
        sum = _mm256_add_ps(sum, weights);
        *scores = cast(weights);
    }
    online.add(row, cast::<_, [f32; LANES]>(sum).into_iter().sum::<f32>());
}

/// 2 to the power of what is not positive, and 2⁻¹²⁶ for what is lower: the whole part goes to the exponent, the rest through
/// a series whose first term that is left out is 1.2e-7.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn exp2(x: __m256) -> __m256 {
    const SERIES: [f32; 7] = exp2_series();
    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    // The second is taken where one is NaN.
    let x = _mm256_max_ps(_mm256_set1_ps(-126.0), x);
    let whole = _mm256_round_ps::<NEAREST>(x);
    let rest = _mm256_sub_ps(x, whole);
    let mut power = _mm256_set1_ps(SERIES[6]);
    for term in SERIES[..6].iter().rev() {
        power = _mm256_fmadd_ps(power, rest, _mm256_set1_ps(*term));
    }
    let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
    _mm256_mul_ps(
        power,
        _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)),
    )
}

/// Adds [`KEYS`] values, weighted, to 16 dimensions of [`ROWS`] sums, of which each is `dim` behind the one before.
#[target_feature(enable = "avx2,fma")]
fn add_values(weights: &[[f32; KEYS]; ROWS], values: &[Vectors], sums: &mut [f32], dim: usize) {
    let mut added = [[_mm256_setzero_ps(); VECTORS]; ROWS];
    for (key, values) in values.iter().enumerate().take(KEYS) {
        for (added, weights) in added.iter_mut().zip(weights) {
            multiply_add(added, weights[key], values);
        }
    }
    for (added, sums) in added.into_iter().zip(sums.chunks_mut(dim)) {
        for (added, sums) in added.into_iter().zip(sums.as_chunks_mut::<LANES>().0) {
            *sums = cast(_mm256_add_ps(cast(*sums), added));
        }
    }
}

/// Adds the products of a number with each of `vectors`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn multiply_add(sums: &mut [__m256; VECTORS], number: f32, vectors: &Vectors) {
    let number = _mm256_set1_ps(number);
    for (sum, vector) in sums.iter_mut().zip(vectors) {
        *sum = _mm256_fmadd_ps(number, cast(*vector), *sum);
    }
}
