//! Attention with products of bf16 as x86 processors have them (AVX-512 BF16), and sums in f32.

mod kernel;
mod pack;

use self::pack::{Packed, WIDE, pack_queries};
use super::{
    blocked::{Kernel, Queries, Tables},
    rows::Rows,
};
use crate::nn::simd::Avx512Bf16;

/// The kernel.
#[derive(Clone, Copy)]
pub(super) struct Bf16(pub(super) Avx512Bf16);

impl Kernel for Bf16 {
    const QUERIES: usize = 64;
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
        Packed::new(self.0, k, v, head, keys, dim, tables)
    }

    fn attend(
        self,
        queries: &Queries,
        packed: &Packed,
        seen: &dyn Fn(usize) -> usize,
        out: &mut [&mut [f32]],
    ) {
        let dim = queries.head_dim().next_multiple_of(WIDE);
        kernel::attend(self.0, &pack_queries(queries, dim), packed, dim, seen, out);
    }
}
