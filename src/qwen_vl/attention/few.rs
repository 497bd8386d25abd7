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
        let scale = 1.0 / (k.head_dim as f32).sqrt();
        let stretches = (0..k.tokens).step_by(STREAMS * APART).flat_map(|block| {
            let stretches = (block..block + APART).step_by(STRETCH);
            stretches.map(|first| first..first + STRETCH)
        });
        for stretch in stretches.clone() {
            for Query { q, scores, .. } in &mut queries {
                for key in stretch.clone() {
                    let dots = dots(simd, q, streams(k, kv_head, key));
                    for (stream, dot) in dots.into_iter().enumerate() {
                        scores[key + stream * APART] = scale * dot;
                    }
                }
            }
        }
        for Query { seen, scores, .. } in &mut queries {
            softmax_row(&mut scores[..*seen]);
            scores[*seen..].fill(0.0);
        }
        for stretch in stretches {
            for Query { out, scores, .. } in &mut queries {
                let values = Values {
                    shares: scores,
                    v,
                    kv_head,
                    stretch: stretch.clone(),
                };
                let mut at = 0;
                while at + VECTORS * S::F32_LANES <= out.len() {
                    at = values.add::<_, VECTORS>(simd, out, at);
                }
                while at + S::F32_LANES <= out.len() {
                    at = values.add::<_, 1>(simd, out, at);
                }
                values.add_rest(out, at);
            }
        }
    }
}

/// The rows of the token `first` and of those that are read beside it; instead of any beyond the last one, that one.
#[inline(always)]
fn streams(rows: Rows<'_>, head: usize, first: usize) -> [&[f32]; STREAMS] {
    let mut streams = [&[][..]; STREAMS];
    for (stream, row) in streams.iter_mut().enumerate() {
        *row = rows.row(head, (first + stream * APART).min(rows.tokens - 1));
    }
    streams
}

/// The products of `q` with some keys.
#[inline(always)]
fn dots<S: Simd>(simd: S, q: &[f32], keys: [&[f32]; STREAMS]) -> [f32; STREAMS] {
    let (whole, rest) = S::as_simd_f32s(q);
    let mut vectors = [(whole, rest); STREAMS];
    for (vectors, key) in vectors.iter_mut().zip(keys) {
        *vectors = S::as_simd_f32s(&key[..q.len()]);
    }
    let mut sums = [simd.splat_f32s(0.0); STREAMS];
    for (i, q) in whole.iter().enumerate() {
        for (sum, (key, _)) in sums.iter_mut().zip(vectors) {
            *sum = simd.mul_add_f32s(*q, key[i], *sum);
        }
    }
    let mut dots = [0.0; STREAMS];
    for ((dot, sum), (_, key)) in dots.iter_mut().zip(sums).zip(vectors) {
        *dot = simd.reduce_sum_f32s(sum);
        for (q, k) in rest.iter().zip(key) {
            *dot += q * k;
        }
    }
    dots
}

/// Some values of a head and a query's shares of them.
struct Values<'a> {
    /// One for each token, 0 beyond the last one.
    shares: &'a [f32],
    v: Rows<'a>,
    kv_head: usize,
    /// Tokens of the first stream.
    stretch: Range<usize>,
}

impl Values<'_> {
    /// Adds the shares to `N` vectors of `out`, of which the first begins `at`. Returns where the last one ends.
    #[inline(always)]
    fn add<S: Simd, const N: usize>(&self, simd: S, out: &mut [f32], at: usize) -> usize {
        let end = at + N * S::F32_LANES;
        let (out, _) = S::as_mut_simd_f32s(&mut out[at..end]);
        let mut sums = [simd.splat_f32s(0.0); N];
        for token in self.stretch.clone() {
            let values = streams(self.v, self.kv_head, token);
            for (stream, value) in values.into_iter().enumerate() {
                let share = simd.splat_f32s(self.shares[token + stream * APART]);
                let (value, _) = S::as_simd_f32s(&value[at..end]);
                for (sum, value) in sums.iter_mut().zip(value) {
                    *sum = simd.mul_add_f32s(share, *value, *sum);
                }
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = simd.add_f32s(*out, sum);
        }
        end
    }

    /// Adds the shares to what is left of `out`, where no vector fits.
    #[inline(always)]
    fn add_rest(&self, out: &mut [f32], at: usize) {
        for token in self.stretch.clone() {
            let values = streams(self.v, self.kv_head, token);
            for (stream, value) in values.into_iter().enumerate() {
                let share = self.shares[token + stream * APART];
                for (out, value) in out[at..].iter_mut().zip(&value[at..]) {
                    *out += share * value;
                }
            }
        }
    }
}
