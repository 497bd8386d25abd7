//! Attention of a few queries to many keys on a CPU, as decoding has it: each key and value is read once, where it is.

// What is called must be inlined into what is compiled for several processors.
#![allow(clippy::inline_always, reason = "see above")]

use std::array;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::Rows;
use crate::qwen_vl::elementwise::{columns, softmax_row};

const LANES: usize = 16;
/// Keys and values that are worked through together.
const TOGETHER: usize = 4;

/// Heads of queries are multiplied with a key while it is at hand.
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
                        scores: vec![0.0; keys],
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
    /// One for each key.
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
    fn with_simd<S: Simd>(mut self, _: S) {
        let keys = self.k.tokens;
        let whole = keys / TOGETHER * TOGETHER;
        for first in (0..whole).step_by(TOGETHER) {
            self.score::<TOGETHER>(first);
        }
        (whole..keys).for_each(|key| self.score::<1>(key));
        for query in &mut self.queries {
            softmax_row(&mut query.scores[..query.seen]);
            // Keys that are not seen.
            query.scores[query.seen..].fill(0.0);
        }
        for first in (0..whole).step_by(TOGETHER) {
            self.add::<TOGETHER>(first);
        }
        (whole..keys).for_each(|key| self.add::<1>(key));
    }
}

impl Attending<'_> {
    /// Scores of `N` keys from `first` on.
    #[inline(always)]
    fn score<const N: usize>(&mut self, first: usize) {
        let scale = (self.k.head_dim as f32).powf(-0.5);
        let keys: [&[f32]; N] = array::from_fn(|i| self.k.row(self.kv_head, first + i));
        for query in &mut self.queries {
            let dots = dots(query.q, keys);
            for (score, dot) in query.scores[first..].iter_mut().zip(dots) {
                *score = scale * dot;
            }
        }
    }

    /// Adds the shares of `N` values from `first` on.
    #[inline(always)]
    fn add<const N: usize>(&mut self, first: usize) {
        let values: [&[f32]; N] = array::from_fn(|i| self.v.row(self.kv_head, first + i));
        for query in &mut self.queries {
            let shares: [f32; N] = array::from_fn(|i| query.scores[first + i]);
            let (chunks, rest) = query.out.as_chunks_mut::<LANES>();
            for (c, out) in chunks.iter_mut().enumerate() {
                for (share, value) in shares.iter().zip(values) {
                    for (out, value) in out.iter_mut().zip(&value[c * LANES..][..LANES]) {
                        *out = share.mul_add(*value, *out);
                    }
                }
            }
            let from = self.v.head_dim - rest.len();
            for (share, value) in shares.iter().zip(values) {
                for (out, value) in rest.iter_mut().zip(&value[from..]) {
                    *out = share.mul_add(*value, *out);
                }
            }
        }
    }
}

/// The products of `q` with `N` keys.
#[inline(always)]
fn dots<const N: usize>(q: &[f32], keys: [&[f32]; N]) -> [f32; N] {
    let mut lanes = [[0.0_f32; LANES]; N];
    let (chunks, rest) = q.as_chunks::<LANES>();
    for (c, q) in chunks.iter().enumerate() {
        for (lanes, key) in lanes.iter_mut().zip(keys) {
            for ((lane, q), k) in lanes.iter_mut().zip(q).zip(&key[c * LANES..][..LANES]) {
                *lane = q.mul_add(*k, *lane);
            }
        }
    }
    let from = q.len() - rest.len();
    array::from_fn(|i| {
        let lanes = &mut lanes[i];
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        let rest: f32 = rest.iter().zip(&keys[i][from..]).map(|(q, k)| q * k).sum();
        lanes[0] + rest
    })
}
