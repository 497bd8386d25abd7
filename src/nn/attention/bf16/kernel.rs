//! The products and the softmax of one head and some of its queries.

#![allow(
    unsafe_code,
    reason = "what uses instructions that not every processor has is unsafe to call, `Avx512Bf16` proves that this one has \
              them; and vectors of bf16 can't be made from plain numbers in any other way"
)]

use std::arch::x86_64::{
    __m512, __m512bh, _mm512_add_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_fmadd_ps,
    _mm512_max_ps, _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_roundscale_ps,
    _mm512_scalef_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_sub_ps,
};

use bytemuck::cast;

use super::pack::{KEYS, LANES, Packed, ROWS, VECTORS, Vectors, WIDE};
use crate::nn::{
    attention::blocked::{OnlineSoftmax, exp2_series},
    simd::Avx512Bf16,
};

/// Fills `out`, one row of `head_dim` for each query; query `i` sees the first `seen(i)` keys.
pub(super) fn attend(
    _: Avx512Bf16,
    words: &[[u32; ROWS]],
    packed: &Packed,
    dim: usize,
    seen: &dyn Fn(usize) -> usize,
    out: &mut [&mut [f32]],
) {
    // SAFETY: the token is there, so the processor has the instructions.
    unsafe { attend_head(words, packed, dim, seen, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn attend_head(
    words: &[[u32; ROWS]],
    packed: &Packed,
    dim: usize,
    seen: &dyn Fn(usize) -> usize,
    out: &mut [&mut [f32]],
) {
    let groups = out.len().div_ceil(ROWS);
    let mut sums = vec![0.0; groups * ROWS * dim];
    let mut online = vec![OnlineSoftmax::START; groups];
    let mut scores = [[0.0; KEYS]; ROWS];
    let mut shares = [[0; KEYS / 2]; ROWS];
    let all = seen(out.len() - 1);
    for first in (0..all).step_by(KEYS) {
        let keys = &packed.keys[first / WIDE * (dim / 2)..][..KEYS / WIDE * (dim / 2)];
        let queries = words.chunks_exact(dim / 2);
        let sums = sums.chunks_exact_mut(ROWS * dim);
        for (group, ((queries, sums), online)) in queries.zip(sums).zip(&mut online).enumerate() {
            score(queries, keys, &mut scores);
            for row in 0..ROWS {
                let query = (group * ROWS + row).min(out.len() - 1);
                let seen = seen(query).saturating_sub(first).min(KEYS);
                let sums = &mut sums[row * dim..][..dim];
                share(&mut scores[row], seen, online, row, sums, &mut shares[row]);
            }
            let values = packed
                .values
                .chunks_exact(packed.values.len() / (dim / WIDE));
            for (i, values) in values.enumerate() {
                let values = &values[first / 2..][..KEYS / 2];
                add_values(&shares, values, &mut sums[i * WIDE..], dim);
            }
        }
    }
    OnlineSoftmax::finish(&online, &sums, dim, out);
}

/// Turns the first `seen` scores into weights, the others into 0, as the nearest bf16, two in a word; and rescales what
/// came before. Every query sees some keys of the first block.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[inline]
fn share(
    scores: &mut [f32; KEYS],
    seen: usize,
    online: &mut OnlineSoftmax<ROWS>,
    row: usize,
    sums: &mut [f32],
    words: &mut [u32; KEYS / 2],
) {
    scores[seen..].fill(f32::NEG_INFINITY);
    let vectors = scores.as_chunks::<LANES>().0.as_chunks::<2>().0;
    let mut max = [_mm512_set1_ps(online.max(row)); 2];
    for scores in vectors {
        for (max, scores) in max.iter_mut().zip(scores) {
            *max = _mm512_max_ps(*max, cast(*scores));
        }
    }
    let max = _mm512_reduce_max_ps(_mm512_max_ps(max[0], max[1]));
    online.raise(row, max, sums);
    let max = _mm512_set1_ps(max);
    let mut sum = [_mm512_setzero_ps(); 2];
    for (words, scores) in words.as_chunks_mut::<LANES>().0.iter_mut().zip(vectors) {
        let low = exp2(_mm512_sub_ps(cast(scores[0]), max));
        let high = exp2(_mm512_sub_ps(cast(scores[1]), max));
        sum = [_mm512_add_ps(sum[0], low), _mm512_add_ps(sum[1], high)];
        *words = words_of(_mm512_cvtne2ps_pbh(high, low));
    }
    online.add(row, _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1])));
}

/// 2 to the power of what is not positive, within 3 millionths of it, and 2⁻¹²⁶ for what is lower: the whole part goes to
/// the exponent, the rest through the series of `exp(x · ln 2)`.
#[target_feature(enable = "avx512f")]
#[inline]
fn exp2(x: __m512) -> __m512 {
    const SERIES: [f32; 6] = exp2_series();
    // The second is taken where one is NaN.
    let x = _mm512_max_ps(_mm512_set1_ps(-126.0), x);
    let whole = _mm512_roundscale_ps::<0>(x);
    let rest = _mm512_sub_ps(x, whole);
    let mut power = _mm512_set1_ps(SERIES[5]);
    for term in SERIES[..5].iter().rev() {
        power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(*term));
    }
    _mm512_scalef_ps(power, whole)
}

fn words_of(vector: __m512bh) -> [u32; LANES] {
    // SAFETY: both are 64 bytes, of which each value is allowed.
    unsafe { std::mem::transmute::<__m512bh, [u32; LANES]>(vector) }
}

fn bf16(words: [u32; LANES]) -> __m512bh {
    // SAFETY: both are 64 bytes, of which each value is allowed.
    unsafe { std::mem::transmute::<[u32; LANES], __m512bh>(words) }
}

/// The scores of [`ROWS`] queries with [`KEYS`] keys.
#[target_feature(enable = "avx512f,avx512bf16")]
fn score(queries: &[[u32; ROWS]], keys: &[Vectors], scores: &mut [[f32; KEYS]; ROWS]) {
    for (i, keys) in keys.chunks_exact(queries.len()).enumerate() {
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        for (queries, keys) in queries.iter().zip(keys) {
            for (sums, &query) in sums.iter_mut().zip(queries) {
                multiply_add(sums, query, keys);
            }
        }
        for (scores, sums) in scores.iter_mut().zip(sums) {
            for (vector, sum) in sums.into_iter().enumerate() {
                let at = i * WIDE + vector * LANES;
                scores[at..at + LANES].copy_from_slice(&cast::<_, [f32; LANES]>(sum));
            }
        }
    }
}

/// Adds [`KEYS`] values, weighted, to 32 dimensions of [`ROWS`] sums, of which each is `dim` behind the one before.
#[target_feature(enable = "avx512f,avx512bf16")]
fn add_values(shares: &[[u32; KEYS / 2]; ROWS], values: &[Vectors], sums: &mut [f32], dim: usize) {
    let mut added = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    for (two, values) in values.iter().enumerate().take(KEYS / 2) {
        for (added, shares) in added.iter_mut().zip(shares) {
            multiply_add(added, shares[two], values);
        }
    }
    for (added, sums) in added.into_iter().zip(sums.chunks_mut(dim)) {
        for (added, sums) in added.into_iter().zip(sums.as_chunks_mut::<LANES>().0) {
            *sums = cast(_mm512_add_ps(cast(*sums), added));
        }
    }
}

/// Adds the products of two numbers with each two of `vectors`.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn multiply_add(sums: &mut [__m512; VECTORS], two: u32, vectors: &Vectors) {
    let two = bf16(cast(_mm512_set1_epi32(two.cast_signed())));
    for (sum, vector) in sums.iter_mut().zip(vectors) {
        *sum = _mm512_dpbf16_ps(*sum, two, bf16(*vector));
    }
}
