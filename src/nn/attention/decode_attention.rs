//! Decode attention on a CPU: a few queries, many keys. Each key and value is read once, in place.

// Callees must be inlined into the functions that are compiled for several processors.
#![allow(clippy::inline_always, reason = "see above")]

use std::{ops::Range, slice};

use candle_core::{CpuStorage, Shape, WithDType};
use half::f16;
#[cfg(target_arch = "x86_64")]
use pulp::x86::V4;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::rows::{BlockRows, Rows};
use crate::nn::{alloc::columns, elementwise::softmax_row};

/// Streams of keys (or values) of one head that are read side by side: a core reads memory faster in several streams.
/// They are far enough apart to lie in different memory pages.
const STREAMS: usize = 4;
const APART: usize = 32;
/// Tokens of each stream that all queries read before the streams advance: as many as stay in the core's own cache.
const STRETCH: usize = 8;
/// Vectors of values that are added up side by side.
const VECTORS: usize = 8;

/// The queries of one sequence, and what they attend to.
pub(super) struct Part<'a, T> {
    pub(super) k: BlockRows<'a, T>,
    pub(super) v: BlockRows<'a, T>,
    /// Number of the first query.
    pub(super) first: usize,
    pub(super) queries: usize,
}

/// From `q` `(heads, queries, head_dim)`, those of the first part, those of the second, and so on: of each part the last query
/// sees all keys, the one before it all but the last, and so on. No query's result depends on the others. Returns
/// `(queries, heads · head_dim)`.
pub(super) fn attend<T: Kept>(
    q: Rows<f32>,
    kv_heads: usize,
    parts: &[Part<T>],
) -> (CpuStorage, Shape) {
    let head_dim = q.head_dim;
    let group = q.heads / kv_heads;
    let mut out = vec![0.0; q.tokens * q.heads * head_dim];
    let mut tasks = Vec::with_capacity(kv_heads * parts.len());
    for (kv_head, rows) in columns(&mut out, q.heads * head_dim, group * head_dim)
        .into_iter()
        .enumerate()
    {
        let mut rows = rows.into_iter();
        for part in parts {
            let rows: Vec<_> = rows.by_ref().take(part.queries).collect();
            tasks.push((kv_head, part, rows));
        }
    }
    let arch = Arch::new();
    tasks.into_par_iter().for_each(|(kv_head, part, rows)| {
        let keys = part.k.tokens;
        let queries = rows.into_iter().enumerate().flat_map(|(query, row)| {
            let heads = row.chunks_exact_mut(head_dim).enumerate();
            heads.map(move |(head, out)| Query {
                q: q.row(kv_head * group + head, part.first + query),
                out,
                seen: keys - part.queries + query + 1,
                scores: vec![0.0; keys.next_multiple_of(STREAMS * APART)],
            })
        });
        arch.dispatch(Attending {
            queries: queries.collect(),
            k: part.k,
            v: part.v,
            kv_head,
        });
    });
    (CpuStorage::F32(out), (q.tokens, q.heads * head_dim).into())
}

/// The number type of keys and values.
pub(super) trait Kept: WithDType + Sync + Into<f32> {
    /// Vector `i` of a row.
    fn vector<S: Simd>(simd: S, row: &[Self], i: usize) -> S::f32s;
}

impl Kept for f32 {
    #[inline(always)]
    fn vector<S: Simd>(_: S, row: &[Self], i: usize) -> S::f32s {
        S::as_simd_f32s(row).0[i]
    }
}

impl Kept for f16 {
    #[inline(always)]
    fn vector<S: Simd>(simd: S, row: &[Self], i: usize) -> S::f32s {
        let row = &row[i * S::F32_LANES..][..S::F32_LANES];
        #[cfg(target_arch = "x86_64")]
        {
            use bytemuck::cast;
            use half::slice::HalfFloatSliceExt;

            if let Some(simd) = (&simd as &dyn std::any::Any).downcast_ref::<V4>()
                && let Some(&row) = row.reinterpret_cast().first_chunk::<16>()
            {
                return cast(simd.avx512f._mm512_cvtph_ps(cast(row)));
            }
        }
        let mut vector = simd.splat_f32s(0.0);
        let lanes: &mut [f32] = bytemuck::cast_slice_mut(slice::from_mut(&mut vector));
        for (lane, kept) in lanes.iter_mut().zip(row) {
            *lane = kept.to_f32();
        }
        vector
    }
}

/// One head of one query.
struct Query<'a> {
    /// `(head_dim)`, as `out` is.
    q: &'a [f32],
    /// Zeros at first.
    out: &'a mut [f32],
    /// Number of keys that it sees, from the first on.
    seen: usize,
    /// One for each key, rounded up to whole blocks.
    scores: Vec<f32>,
}

/// The queries that attend to the head `kv_head` of keys and values.
struct Attending<'a, T> {
    queries: Vec<Query<'a>>,
    k: BlockRows<'a, T>,
    v: BlockRows<'a, T>,
    kv_head: usize,
}

impl<T: Kept> WithSimd for Attending<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            mut queries,
            k,
            v,
            kv_head,
        } = self;
        let stretches = (0..k.tokens).step_by(STREAMS * APART).flat_map(|block| {
            let stretches = (block..block + APART).step_by(STRETCH);
            stretches.map(|first| first..first + STRETCH)
        });
        for tokens in stretches.clone() {
            let keys = Stretch::new(k, kv_head, tokens);
            let (pairs, rest) = queries.as_chunks_mut::<2>();
            for pair in pairs {
                keys.score(simd, pair);
            }
            for query in rest.as_chunks_mut::<1>().0 {
                keys.score(simd, query);
            }
        }
        for Query { seen, scores, .. } in &mut queries {
            softmax_row(&mut scores[..*seen]);
            scores[*seen..].fill(0.0);
        }
        for tokens in stretches {
            let values = Stretch::new(v, kv_head, tokens);
            let (pairs, rest) = queries.as_chunks_mut::<2>();
            for pair in pairs {
                values.add(simd, pair);
            }
            for query in rest.as_chunks_mut::<1>().0 {
                values.add(simd, query);
            }
        }
    }
}

/// A block of a head's keys or values: all queries go through it before the next block.
struct Stretch<'a, T> {
    /// Of each token of the first stream and of those beside it; instead of any beyond the last token, that of the last one.
    rows: [[&'a [T]; STREAMS]; STRETCH],
    /// The first one of the first stream.
    first: usize,
    head_dim: usize,
}

impl<'a, T: Kept> Stretch<'a, T> {
    #[inline(always)]
    fn new(all: BlockRows<'a, T>, head: usize, tokens: Range<usize>) -> Self {
        let mut made = Self {
            rows: [[&[]; STREAMS]; STRETCH],
            first: tokens.start,
            head_dim: all.head_dim,
        };
        for (token, rows) in tokens.zip(&mut made.rows) {
            for (stream, row) in rows.iter_mut().enumerate() {
                *row = all.row(head, (token + stream * APART).min(all.tokens - 1));
            }
        }
        made
    }

    /// The rows, and the tokens that they are of.
    #[inline(always)]
    fn rows(&self) -> impl Iterator<Item = (usize, [&'a [T]; STREAMS])> {
        (self.first..).zip(self.rows)
    }

    /// The scores of these keys with `N` queries.
    #[inline(always)]
    fn score<S: Simd, const N: usize>(&self, simd: S, queries: &mut [Query; N]) {
        let scale = 1.0 / (self.head_dim as f32).sqrt();
        let vectors = self.head_dim / S::F32_LANES;
        let rest = vectors * S::F32_LANES..self.head_dim;
        for (token, rows) in self.rows() {
            let mut sums = [[simd.splat_f32s(0.0); STREAMS]; N];
            for i in 0..vectors {
                for (key, row) in rows.iter().enumerate() {
                    let k = T::vector(simd, row, i);
                    for (sums, query) in sums.iter_mut().zip(&*queries) {
                        let q = f32::vector(simd, query.q, i);
                        sums[key] = simd.mul_add_f32s(q, k, sums[key]);
                    }
                }
            }
            for (sums, query) in sums.into_iter().zip(&mut *queries) {
                for (stream, (sum, row)) in sums.into_iter().zip(rows).enumerate() {
                    let mut dot = simd.reduce_sum_f32s(sum);
                    for (q, &k) in query.q[rest.clone()].iter().zip(&row[rest.clone()]) {
                        dot += q * k.into();
                    }
                    query.scores[token + stream * APART] = scale * dot;
                }
            }
        }
    }

    /// Adds these values, weighted, to the outputs of `N` queries.
    #[inline(always)]
    fn add<S: Simd, const N: usize>(&self, simd: S, queries: &mut [Query; N]) {
        let mut at = 0;
        while at + VECTORS * S::F32_LANES <= self.head_dim {
            at = self.add_vectors::<_, N, VECTORS>(simd, queries, at);
        }
        while at + S::F32_LANES <= self.head_dim {
            at = self.add_vectors::<_, N, 1>(simd, queries, at);
        }
        for (token, rows) in self.rows() {
            for (stream, row) in rows.into_iter().enumerate() {
                for query in &mut *queries {
                    let share = query.scores[token + stream * APART];
                    for (out, &value) in query.out[at..].iter_mut().zip(&row[at..]) {
                        *out += share * value.into();
                    }
                }
            }
        }
    }

    /// Of `V` vectors of each value, the first of which begins `at`. Returns where the last one ends.
    #[inline(always)]
    fn add_vectors<S: Simd, const N: usize, const V: usize>(
        &self,
        simd: S,
        queries: &mut [Query; N],
        at: usize,
    ) -> usize {
        let first = at / S::F32_LANES;
        let end = at + V * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); V]; N];
        for (token, rows) in self.rows() {
            for (stream, row) in rows.into_iter().enumerate() {
                let mut shares = [simd.splat_f32s(0.0); N];
                for (share, query) in shares.iter_mut().zip(&*queries) {
                    *share = simd.splat_f32s(query.scores[token + stream * APART]);
                }
                for i in 0..V {
                    let value = T::vector(simd, row, first + i);
                    for (sums, share) in sums.iter_mut().zip(shares) {
                        sums[i] = simd.mul_add_f32s(share, value, sums[i]);
                    }
                }
            }
        }
        for (sums, query) in sums.into_iter().zip(queries) {
            let (out, _) = S::as_mut_simd_f32s(&mut query.out[at..end]);
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = simd.add_f32s(*out, sum);
            }
        }
        end
    }
}
