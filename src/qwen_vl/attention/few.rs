//! Attention of a few queries to many keys on a CPU, as decoding has it: each key and value is read once, where it is.

// What is called must be inlined into what is compiled for several processors.
#![allow(clippy::inline_always, reason = "see above")]

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::Rows;
use crate::qwen_vl::elementwise::{columns, softmax_row};

/// Keys, and values, of one head that are read side by side: a core gets more from memory in several streams, which here
/// are far enough apart to be in different pages of it.
const STREAMS: usize = 4;
const APART: usize = 32;
/// How far all queries go along the streams before the next do: it stays in the core's own cache meanwhile.
const STRETCH: usize = 8;
/// Vectors of values that are added up side by side.
const VECTORS: usize = 8;

/// See the top of this file.
pub struct Few;

impl CustomOp3 for Few {
    fn name(&self) -> &'static str {
        "attention-few"
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
        let group = heads / kv_heads;
        let mut out = vec![0.0; queries * heads * head_dim];
        let arch = Arch::new();
        let parts = columns(&mut out, heads * head_dim, group * head_dim);
        parts
            .into_par_iter()
            .enumerate()
            .for_each(|(kv_head, rows)| {
                let queries = rows.into_iter().enumerate().flat_map(|(query, row)| {
                    let seen = keys - queries + query + 1;
                    let heads = row.chunks_exact_mut(head_dim).enumerate();
                    heads.map(move |(head, out)| Query {
                        q: q.row(kv_head * group + head, query),
                        out,
                        seen,
                        scores: vec![0.0; keys.next_multiple_of(STREAMS * APART)],
                    })
                });
                arch.dispatch(Attending {
                    queries: queries.collect(),
                    k,
                    v,
                    kv_head,
                });
            });
        Ok((CpuStorage::F32(out), (queries, heads * head_dim).into()))
    }
}

/// One head of one query.
struct Query<'a> {
    /// `(head_dim)`, as `out` is.
    q: &'a [f32],
    /// Zeros at first.
    out: &'a mut [f32],
    /// How many keys it sees, the first ones.
    seen: usize,
    /// One for each key, and some more.
    scores: Vec<f32>,
}

/// What attends to the head `kv_head` of keys and values.
struct Attending<'a> {
    queries: Vec<Query<'a>>,
    k: Rows<'a>,
    v: Rows<'a>,
    kv_head: usize,
}

impl WithSimd for Attending<'_> {
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
        for stretch in stretches.clone() {
            let keys = Stretch {
                rows: k,
                kv_head,
                tokens: stretch,
            };
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
        for stretch in stretches {
            let values = Stretch {
                rows: v,
                kv_head,
                tokens: stretch,
            };
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

/// Keys or values of a head that are worked through by all queries before the next ones are.
struct Stretch<'a> {
    rows: Rows<'a>,
    kv_head: usize,
    /// Those of the first stream.
    tokens: Range<usize>,
}

impl Stretch<'_> {
    /// Where a token of the first stream and those beside it have their scores, and their rows: instead of any beyond the
    /// last token, that of the last one.
    #[inline(always)]
    fn streams(&self, token: usize) -> [(usize, &[f32]); STREAMS] {
        let mut streams = [(0, &[][..]); STREAMS];
        for (i, stream) in streams.iter_mut().enumerate() {
            let token = token + i * APART;
            *stream = (
                token,
                self.rows.row(self.kv_head, token.min(self.rows.tokens - 1)),
            );
        }
        streams
    }

    /// The scores of these keys with `N` queries.
    #[inline(always)]
    fn score<S: Simd, const N: usize>(&self, simd: S, queries: &mut [Query; N]) {
        let head_dim = self.rows.head_dim;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let (whole, _) = S::as_simd_f32s(queries[0].q);
        let rest = whole.len() * S::F32_LANES..head_dim;
        let vectors = whole.len();
        for token in self.tokens.clone() {
            let streams = self.streams(token);
            let mut sums = [[simd.splat_f32s(0.0); STREAMS]; N];
            for i in 0..vectors {
                for (key, (_, row)) in streams.iter().enumerate() {
                    let key_vector = S::as_simd_f32s(row).0[i];
                    for (sums, query) in sums.iter_mut().zip(&*queries) {
                        let q = S::as_simd_f32s(query.q).0[i];
                        sums[key] = simd.mul_add_f32s(q, key_vector, sums[key]);
                    }
                }
            }
            for (sums, query) in sums.into_iter().zip(&mut *queries) {
                for (sum, (token, row)) in sums.into_iter().zip(streams) {
                    let mut dot = simd.reduce_sum_f32s(sum);
                    for (q, k) in query.q[rest.clone()].iter().zip(&row[rest.clone()]) {
                        dot += q * k;
                    }
                    query.scores[token] = scale * dot;
                }
            }
        }
    }

    /// Adds the shares of these values to what `N` queries have.
    #[inline(always)]
    fn add<S: Simd, const N: usize>(&self, simd: S, queries: &mut [Query; N]) {
        let mut at = 0;
        while at + VECTORS * S::F32_LANES <= self.rows.head_dim {
            at = self.add_vectors::<_, N, VECTORS>(simd, queries, at);
        }
        while at + S::F32_LANES <= self.rows.head_dim {
            at = self.add_vectors::<_, N, 1>(simd, queries, at);
        }
        for token in self.tokens.clone() {
            for (token, row) in self.streams(token) {
                for query in &mut *queries {
                    let share = query.scores[token];
                    for (out, value) in query.out[at..].iter_mut().zip(&row[at..]) {
                        *out += share * value;
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
        let end = at + V * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); V]; N];
        for token in self.tokens.clone() {
            for (token, row) in self.streams(token) {
                let mut shares = [simd.splat_f32s(0.0); N];
                for (share, query) in shares.iter_mut().zip(&*queries) {
                    *share = simd.splat_f32s(query.scores[token]);
                }
                let (values, _) = S::as_simd_f32s(&row[at..end]);
                for (i, value) in values.iter().enumerate().take(V) {
                    for (sums, share) in sums.iter_mut().zip(shares) {
                        sums[i] = simd.mul_add_f32s(share, *value, sums[i]);
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
