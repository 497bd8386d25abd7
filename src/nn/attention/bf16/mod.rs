//! Attention of many queries on a CPU, with products of bf16 as x86 processors have them (AVX-512 BF16) and sums in f32.
//!
//! As in flash attention (Dao et al., arXiv 2205.14135) scores exist for one block of keys at a time: each block's weights
//! are relative to the largest score so far, and earlier sums are rescaled when a larger score comes.

mod kernel;
mod pack;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use self::pack::{Packed, Tables, WIDE, pack_queries};
use super::rows::Rows;
use crate::nn::{alloc::zeroed, elementwise::columns, rope::RopeTables, simd::Avx512Bf16};

/// Queries per task.
const QUERIES: usize = 64;

/// From `q` of shape `(heads, queries, head_dim)` to `k` and `v` of shape `(kv_heads, keys, head_dim)`, all in f32. Returns
/// `(queries, heads · head_dim)`.
///
/// With `causal` the last query sees all keys, the one before it all but the last, and so on. `rope` turns queries and keys,
/// if they are not turned yet.
pub(super) fn attend(
    token: Avx512Bf16,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    causal: bool,
    rope: Option<&RopeTables>,
) -> Result<Tensor> {
    let attention = Bf16Attention {
        token,
        causal,
        rope,
    };
    q.apply_op3_no_bwd(k, v, &attention)
}

struct Bf16Attention<'a> {
    token: Avx512Bf16,
    causal: bool,
    rope: Option<&'a RopeTables>,
}

impl CustomOp3 for Bf16Attention<'_> {
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
        let packed: Vec<Packed> = (0..kv_heads)
            .into_par_iter()
            .map(|head| Packed::new(self.token, &k, &v, head, keys, dim, tables))
            .collect();
        let mut out = zeroed(queries * heads * head_dim);
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
                // Weights are then powers of 2.
                let scale = std::f32::consts::LOG2_E * (head_dim as f32).powf(-0.5);
                let words = pack_queries(&q, head, first..first + out.len(), dim, scale, tables);
                let packed = &packed[head / (heads / kv_heads)];
                kernel::attend(self.token, &words, packed, dim, &seen, &mut out);
            });
        Ok((CpuStorage::F32(out), (queries, heads * head_dim).into()))
    }
}
