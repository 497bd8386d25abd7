//! Attention of many queries on a CPU, with products of bf16 as x86 processors have them (AVX-512 BF16) and sums in f32.
//!
//! As in flash attention (Dao et al., arXiv 2205.14135) scores exist for one block of keys at a time: each block's shares
//! are taken relative to the largest score so far, and what came before is scaled when a larger one comes.

// Instructions that not every processor has are unsafe to call; `suits` finds out that this one has them. And vectors of
// bf16 can't be made from plain numbers in any other way.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512, __m512bh, _mm512_add_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_fmadd_ps,
    _mm512_max_ps, _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_roundscale_ps,
    _mm512_scalef_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_sub_ps,
};

use bytemuck::cast;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape};
use rayon::prelude::*;

use super::Rows;
use crate::nn::{alloc::zeros, elementwise::columns, rope::RopeTables};

/// Numbers in a vector of f32.
const LANES: usize = 16;
/// Queries that a key is multiplied with while it is in registers, and vectors of keys or values that are.
const ROWS: usize = 8;
const VECTORS: usize = 2;
const WIDE: usize = VECTORS * LANES;
/// Keys whose scores exist at a time.
const KEYS: usize = 512;
/// Queries that a task has.
const QUERIES: usize = 64;

/// Whether this processor can.
pub fn suits() -> bool {
    is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16")
}

/// What to attend with.
pub struct Bf16<'a> {
    /// Whether the last query sees all keys, the one before it all but the last, and so on.
    pub causal: bool,
    /// Turns queries and keys, if they are not turned yet.
    pub rope: Option<&'a RopeTables>,
}

impl CustomOp3 for Bf16<'_> {
    fn name(&self) -> &'static str {
        "attention-bf16"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (heads, queries, head_dim) = q_layout.shape().dims3()?;
        let (kv_heads, keys, _) = k_layout.shape().dims3()?;
        let (q, k, v) = (
            Rows::new(q, q_layout)?,
            Rows::new(k, k_layout)?,
            Rows::new(v, v_layout)?,
        );
        let tables = self.rope.map(Tables::new).transpose()?;
        let tables = tables.as_ref();
        let dim = head_dim.next_multiple_of(WIDE);
        // SAFETY, here and below: this is only called where `suits` found the instructions.
        let packed: Vec<Packed> = (0..kv_heads)
            .into_par_iter()
            .map(|head| unsafe { Packed::new(&k, &v, head, keys, dim, tables) })
            .collect();
        let mut out = zeros(queries * heads * head_dim);
        let parts = columns(&mut out, heads * head_dim, head_dim);
        parts
            .into_par_iter()
            .enumerate()
            .flat_map_iter(|(head, rows)| {
                let mut rows = rows.into_iter();
                let tasks = (0..queries).step_by(QUERIES);
                tasks.map(move |first| (head, first, rows.by_ref().take(QUERIES).collect()))
            })
            .collect::<Vec<(usize, usize, Vec<&mut [f32]>)>>()
            .into_par_iter()
            .for_each(|(head, first, mut out)| {
                let seen = |query: usize| {
                    if self.causal {
                        keys - queries + first + query + 1
                    } else {
                        keys
                    }
                };
                // Shares are then powers of 2.
                let scale = std::f32::consts::LOG2_E * (head_dim as f32).powf(-0.5);
                let words = pack_queries(&q, head, first..first + out.len(), dim, scale, tables);
                let packed = &packed[head / (heads / kv_heads)];
                unsafe { attend(&words, packed, dim, &seen, &mut out) }
            });
        Ok((CpuStorage::F32(out), (queries, heads * head_dim).into()))
    }
}

/// Cosines and sines, `(positions, head_dim / 2)`.
struct Tables {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Tables {
    fn new(rope: &RopeTables) -> Result<Self> {
        Ok(Self {
            cos: rope.cos.flatten_all()?.to_vec1()?,
            sin: rope.sin.flatten_all()?.to_vec1()?,
        })
    }

    /// Turns `x`, `(head_dim)`, by its position.
    fn rotate(&self, x: &mut [f32], position: usize) {
        let half = x.len() / 2;
        let (cos, sin) = (
            &self.cos[position * half..][..half],
            &self.sin[position * half..][..half],
        );
        let (left, right) = x.split_at_mut(half);
        for (((a, b), cos), sin) in left.iter_mut().zip(right).zip(cos).zip(sin) {
            (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
        }
    }
}

/// The nearest bf16 of two numbers, the first in the low half.
#[inline]
fn pair(low: f32, high: f32) -> u32 {
    let round = |x: f32| {
        let bits = x.to_bits();
        bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16
    };
    round(low) | round(high) << 16
}

/// Queries in bf16, up to a multiple of [`ROWS`] of them: `(queries / ROWS, dim / 2)`, two dimensions of [`ROWS`] queries.
fn pack_queries(
    q: &Rows<f32>,
    head: usize,
    queries: std::ops::Range<usize>,
    dim: usize,
    scale: f32,
    tables: Option<&Tables>,
) -> Vec<[u32; ROWS]> {
    let mut words = vec![[0; ROWS]; queries.len().div_ceil(ROWS) * (dim / 2)];
    for (i, query) in queries.enumerate() {
        let words = &mut words[i / ROWS * (dim / 2)..][..dim / 2];
        let mut row = q.row(head, query).to_vec();
        if let Some(tables) = tables {
            tables.rotate(&mut row, query);
        }
        row.resize(dim, 0.0);
        for (word, two) in words.iter_mut().zip(row.as_chunks::<2>().0) {
            word[i % ROWS] = pair(two[0] * scale, two[1] * scale);
        }
    }
    words
}

/// One head of keys and values in bf16, up to a multiple of [`KEYS`] of them.
struct Packed {
    /// `(keys / 32, dim / 2)`: two dimensions of 32 keys.
    keys: Vec<Vectors>,
    /// `(dim / 32, keys / 2)`: 32 dimensions of two keys.
    values: Vec<Vectors>,
}

/// Pairs of bf16 that are multiplied together.
type Vectors = [[u32; LANES]; VECTORS];

impl Packed {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn new(
        k: &Rows<f32>,
        v: &Rows<f32>,
        head: usize,
        keys: usize,
        dim: usize,
        tables: Option<&Tables>,
    ) -> Self {
        let padded = keys.next_multiple_of(KEYS);
        let mut made = Self {
            keys: vec![[[0; LANES]; VECTORS]; padded / WIDE * (dim / 2)],
            values: vec![[[0; LANES]; VECTORS]; dim / WIDE * (padded / 2)],
        };
        for key in 0..keys {
            let mut row = k.row(head, key).to_vec();
            if let Some(tables) = tables {
                tables.rotate(&mut row, key);
            }
            row.resize(dim, 0.0);
            let vectors = &mut made.keys[key / WIDE * (dim / 2)..][..dim / 2];
            for (vectors, two) in vectors.iter_mut().zip(row.as_chunks::<2>().0) {
                vectors.as_flattened_mut()[key % WIDE] = pair(two[0], two[1]);
            }
        }
        let nothing = vec![0.0; v.row(head, 0).len()];
        for key in (0..keys).step_by(2) {
            let first = v.row(head, key);
            let second = if key + 1 < keys {
                v.row(head, key + 1)
            } else {
                &nothing
            };
            let wide = first.chunks(WIDE).zip(second.chunks(WIDE));
            for ((first, second), values) in wide.zip(made.values.chunks_exact_mut(padded / 2)) {
                let words = values[key / 2].as_flattened_mut().iter_mut();
                for ((word, first), second) in words.zip(first).zip(second) {
                    *word = pair(*first, *second);
                }
            }
        }
        made
    }
}

/// What is known of some queries while they have not seen all keys.
struct Sofar {
    most: [f32; ROWS],
    sum: [f32; ROWS],
}

/// Fills `out`, one row of `head_dim` for each query; query `i` sees the first `seen(i)` keys.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn attend(
    words: &[[u32; ROWS]],
    packed: &Packed,
    dim: usize,
    seen: &dyn Fn(usize) -> usize,
    out: &mut [&mut [f32]],
) {
    let groups = out.len().div_ceil(ROWS);
    let mut sums = vec![0.0; groups * ROWS * dim];
    let mut sofar: Vec<Sofar> = Vec::new();
    sofar.resize_with(groups, || Sofar {
        most: [f32::NEG_INFINITY; ROWS],
        sum: [0.0; ROWS],
    });
    let mut scores = [[0.0; KEYS]; ROWS];
    let mut shares = [[0; KEYS / 2]; ROWS];
    let all = seen(out.len() - 1);
    for first in (0..all).step_by(KEYS) {
        let keys = &packed.keys[first / WIDE * (dim / 2)..][..KEYS / WIDE * (dim / 2)];
        let queries = words.chunks_exact(dim / 2);
        let sums = sums.chunks_exact_mut(ROWS * dim);
        for (group, ((queries, sums), sofar)) in queries.zip(sums).zip(&mut sofar).enumerate() {
            score(queries, keys, &mut scores);
            for row in 0..ROWS {
                let query = (group * ROWS + row).min(out.len() - 1);
                let seen = seen(query).saturating_sub(first).min(KEYS);
                let sums = &mut sums[row * dim..][..dim];
                share(&mut scores[row], seen, sofar, row, sums, &mut shares[row]);
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
    for (i, (out, sums)) in out.iter_mut().zip(sums.chunks_exact(dim)).enumerate() {
        let share = 1.0 / sofar[i / ROWS].sum[i % ROWS];
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum * share;
        }
    }
}

/// Makes shares of the first `seen` scores and nothing of the others, as the nearest bf16, two in a word; and scales what
/// came before. Of the first block of keys every query sees some.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[inline]
fn share(
    scores: &mut [f32; KEYS],
    seen: usize,
    sofar: &mut Sofar,
    row: usize,
    sums: &mut [f32],
    words: &mut [u32; KEYS / 2],
) {
    scores[seen..].fill(f32::NEG_INFINITY);
    let vectors = scores.as_chunks::<LANES>().0.as_chunks::<2>().0;
    let mut most = [_mm512_set1_ps(sofar.most[row]); 2];
    for scores in vectors {
        for (most, scores) in most.iter_mut().zip(scores) {
            *most = _mm512_max_ps(*most, cast(*scores));
        }
    }
    let most = _mm512_reduce_max_ps(_mm512_max_ps(most[0], most[1]));
    if most > sofar.most[row] {
        let scale = (sofar.most[row] - most).exp2();
        sofar.sum[row] *= scale;
        for sum in sums {
            *sum *= scale;
        }
        sofar.most[row] = most;
    }
    let most = _mm512_set1_ps(most);
    let mut sum = [_mm512_setzero_ps(); 2];
    for (words, scores) in words.as_chunks_mut::<LANES>().0.iter_mut().zip(vectors) {
        let low = exp2(_mm512_sub_ps(cast(scores[0]), most));
        let high = exp2(_mm512_sub_ps(cast(scores[1]), most));
        sum = [_mm512_add_ps(sum[0], low), _mm512_add_ps(sum[1], high)];
        *words = words_of(_mm512_cvtne2ps_pbh(high, low));
    }
    sofar.sum[row] += _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1]));
}

/// 2 to the power of what is not positive, within 3 millionths of it, and 2⁻¹²⁶ for what is lower: the whole part goes to
/// the exponent, the rest through the series of `exp(x · ln 2)`.
#[target_feature(enable = "avx512f")]
#[inline]
fn exp2(x: __m512) -> __m512 {
    const SERIES: [f32; 6] = {
        let (ln, mut term, mut series, mut i) = (std::f32::consts::LN_2, 1.0, [1.0; 6], 1);
        while i < 6 {
            term *= ln / i as f32;
            series[i] = term;
            i += 1;
        }
        series
    };
    let x = _mm512_max_ps(x, _mm512_set1_ps(-126.0));
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

/// Adds the shares of [`KEYS`] values to 32 dimensions of [`ROWS`] sums, of which each is `dim` behind the one before.
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
