//! Attention of a few queries to many keys on a CPU, as decoding has it: each key and value is read once, where it is.

// What is called must be inlined into what is compiled for several processors.
#![allow(clippy::inline_always, reason = "see above")]

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::Rows;
use crate::qwen_vl::elementwise::{columns, softmax_row};

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
                        scores: vec![0.0; seen],
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
    /// One for each key that it sees.
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
        let scale = (self.k.head_dim as f32).powf(-0.5);
        for (i, k) in self.k.head(self.kv_head).enumerate() {
            for query in &mut self.queries {
                if let Some(score) = query.scores.get_mut(i) {
                    *score = scale * dot(query.q, k);
                }
            }
        }
        for query in &mut self.queries {
            softmax_row(&mut query.scores);
        }
        for (i, v) in self.v.head(self.kv_head).enumerate() {
            for query in &mut self.queries {
                if let Some(share) = query.scores.get(i) {
                    for (out, v) in query.out.iter_mut().zip(v) {
                        *out += share * v;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0_f32; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes[0] + rest
}
