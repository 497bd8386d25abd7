//! Attention of many queries on a CPU, in blocks of keys.
//!
//! As in flash attention (Dao et al., arXiv 2205.14135) scores exist for one block of keys at a time: each block's weights
//! are relative to the largest score so far, and earlier sums are rescaled when a larger score comes.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::rows::Rows;
use crate::nn::{
    alloc::{columns, zeroed},
    rope::RopeTables,
};

/// The products and the softmax, with certain instructions.
pub(super) trait Kernel: Copy + Send + Sync {
    /// Queries per task.
    const QUERIES: usize;
    /// One head of keys and values, in the order in which they are multiplied.
    type Packed: Send + Sync;

    /// Packs the first `keys` of a head; `tables` turn them.
    fn pack(
        self,
        k: &Rows<f32>,
        v: &Rows<f32>,
        head: usize,
        keys: usize,
        tables: Option<&Tables>,
    ) -> Self::Packed;

    /// Fills `out`, one row of `head_dim` for each query; query `i` of them sees the first `seen(i)` keys, at least one.
    fn attend(
        self,
        queries: &Queries,
        packed: &Self::Packed,
        seen: &dyn Fn(usize) -> usize,
        out: &mut [&mut [f32]],
    );
}

/// Some queries of a head.
pub(super) struct Queries<'a> {
    q: &'a Rows<'a, f32>,
    head: usize,
    range: Range<usize>,
    scale: f32,
    tables: Option<&'a Tables>,
}

impl Queries<'_> {
    /// Each in turn, turned and scaled so that weights are powers of 2.
    pub(super) fn scaled(&self) -> impl Iterator<Item = Vec<f32>> {
        self.range.clone().map(|query| {
            let mut row = self.q.row(self.head, query).to_vec();
            if let Some(tables) = self.tables {
                tables.rotate(&mut row, query);
            }
            for value in &mut row {
                *value *= self.scale;
            }
            row
        })
    }

    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    pub(super) fn head_dim(&self) -> usize {
        self.q.head_dim
    }
}

/// Cosines and sines, `(positions, head_dim / 2)`.
pub(super) struct Tables {
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
    pub(super) fn rotate(&self, x: &mut [f32], position: usize) {
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

/// The online softmax of some queries: the largest score so far, and the sum of all weights relative to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnlineSoftmax<const ROWS: usize> {
    max: [f32; ROWS],
    sum: [f32; ROWS],
}

impl<const ROWS: usize> OnlineSoftmax<ROWS> {
    /// Before the first block of keys.
    pub(super) const START: Self = Self {
        max: [f32::NEG_INFINITY; ROWS],
        sum: [0.0; ROWS],
    };

    /// The largest score of query `row` so far.
    #[inline]
    pub(super) fn max(&self, row: usize) -> f32 {
        self.max[row]
    }

    /// Takes the largest score of a block of keys into account: rescales what came before, `sums` too, if it is larger.
    #[inline]
    pub(super) fn raise(&mut self, row: usize, max: f32, sums: &mut [f32]) {
        if max > self.max[row] {
            let scale = (self.max[row] - max).exp2();
            self.sum[row] *= scale;
            for sum in sums {
                *sum *= scale;
            }
            self.max[row] = max;
        }
    }

    /// Adds the weights of a block of keys.
    #[inline]
    pub(super) fn add(&mut self, row: usize, weights: f32) {
        self.sum[row] += weights;
    }

    /// Fills `out`, one row for each query, from its `dim` weighted sums.
    pub(super) fn finish(online: &[Self], sums: &[f32], dim: usize, out: &mut [&mut [f32]]) {
        for (i, (out, sums)) in out.iter_mut().zip(sums.chunks_exact(dim)).enumerate() {
            let share = 1.0 / online[i / ROWS].sum[i % ROWS];
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum * share;
            }
        }
    }
}

/// The series of `exp(x · ln 2)`, by its powers of `x`.
pub(super) const fn exp2_series<const TERMS: usize>() -> [f32; TERMS] {
    let (ln, mut term, mut series, mut i) = (std::f64::consts::LN_2, 1.0, [1.0; TERMS], 1);
    while i < TERMS {
        term *= ln / i as f64;
        series[i] = term as f32;
        i += 1;
    }
    series
}

/// From `q` of shape `(heads, queries, head_dim)` to `k` and `v` of shape `(kv_heads, keys, head_dim)`, all in f32. Returns
/// `(queries, heads · head_dim)`.
///
/// With `causal` the last query sees all keys, the one before it all but the last, and so on. `rope` turns queries and keys,
/// if they are not turned yet.
pub(super) fn attend(
    kernel: impl Kernel,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    causal: bool,
    rope: Option<&RopeTables>,
) -> Result<Tensor> {
    let attention = BlockedAttention {
        kernel,
        causal,
        rope,
    };
    q.apply_op3_no_bwd(k, v, &attention)
}

struct BlockedAttention<'a, K> {
    kernel: K,
    causal: bool,
    rope: Option<&'a RopeTables>,
}

impl<K: Kernel> CustomOp3 for BlockedAttention<'_, K> {
    fn name(&self) -> &'static str {
        "attention-in-blocks"
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
        let packed: Vec<K::Packed> = (0..kv_heads)
            .into_par_iter()
            .map(|head| self.kernel.pack(&k, &v, head, keys, tables))
            .collect();
        let mut out = zeroed(queries * heads * head_dim);
        let parts = columns(&mut out, heads * head_dim, head_dim);
        parts
            .into_par_iter()
            .enumerate()
            .flat_map_iter(|(head, rows)| {
                let mut rows = rows.into_iter();
                let tasks = (0..queries).step_by(K::QUERIES);
                tasks.map(move |first| (head, first, rows.by_ref().take(K::QUERIES).collect()))
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
                let of_task = Queries {
                    q: &q,
                    head,
                    range: first..first + out.len(),
                    scale: std::f32::consts::LOG2_E * (head_dim as f32).powf(-0.5),
                    tables,
                };
                let packed = &packed[head / (heads / kv_heads)];
                self.kernel.attend(&of_task, packed, &seen, &mut out);
            });
        Ok((CpuStorage::F32(out), (queries, heads * head_dim).into()))
    }
}
