//! Queries, keys and values in bf16, in the order in which they are multiplied.

#![allow(
    unsafe_code,
    reason = "what uses instructions that not every processor has is unsafe to call; `Avx512Bf16` proves that this one has them"
)]

use crate::nn::{
    attention::{
        blocked::{Queries, Tables},
        rows::Rows,
    },
    simd::Avx512Bf16,
};

/// Numbers in a vector of f32.
pub(super) const LANES: usize = 16;
/// Queries that a key is multiplied with while it is in registers, and vectors of keys or values that are.
pub(super) const ROWS: usize = 8;
pub(super) const VECTORS: usize = 2;
pub(super) const WIDE: usize = VECTORS * LANES;
/// Keys whose scores exist at a time.
pub(super) const KEYS: usize = 512;

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
pub(super) fn pack_queries(queries: &Queries, dim: usize) -> Vec<[u32; ROWS]> {
    let mut words = vec![[0; ROWS]; queries.len().div_ceil(ROWS) * (dim / 2)];
    for (i, mut row) in queries.scaled().enumerate() {
        let words = &mut words[i / ROWS * (dim / 2)..][..dim / 2];
        row.resize(dim, 0.0);
        for (word, two) in words.iter_mut().zip(row.as_chunks::<2>().0) {
            word[i % ROWS] = pair(two[0], two[1]);
        }
    }
    words
}

/// One head of keys and values in bf16, up to a multiple of [`KEYS`] of them.
pub(in crate::nn::attention) struct Packed {
    /// `(keys / 32, dim / 2)`: two dimensions of 32 keys.
    pub(super) keys: Vec<Vectors>,
    /// `(dim / 32, keys / 2)`: 32 dimensions of two keys.
    pub(super) values: Vec<Vectors>,
}

/// Pairs of bf16 that are multiplied together.
pub(super) type Vectors = [[u32; LANES]; VECTORS];

impl Packed {
    pub(super) fn new(
        _: Avx512Bf16,
        k: &Rows<f32>,
        v: &Rows<f32>,
        head: usize,
        keys: usize,
        dim: usize,
        tables: Option<&Tables>,
    ) -> Self {
        // SAFETY: the token is there, so the processor has the instructions.
        unsafe { Self::pack(k, v, head, keys, dim, tables) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn pack(
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
