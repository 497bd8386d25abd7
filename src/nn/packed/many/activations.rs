//! Activations as 16-bit numbers.

use std::{
    arch::x86_64::{
        _mm256_add_epi32, _mm256_add_ps, _mm256_andnot_ps, _mm256_castps_si256, _mm256_cvtps_epi32,
        _mm256_madd_epi16, _mm256_max_epi32, _mm256_mul_ps, _mm256_packs_epi32,
        _mm256_permute4x64_epi64, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
        _mm256_shuffle_epi32,
    },
    array,
};

use bytemuck::cast;
use rayon::prelude::*;

use super::panel::{GROUP, MAX_WEIGHT};
use crate::nn::simd::Avx2;

/// An activation and a weight fit 16 bits together.
const MAX_ACTIVATION: f32 = 28_600.0;
/// The most that the sizes of a group's activations may be together, so that no product leaves 32 bits; each is rounded.
const MAX_SUM: f32 = (1_u64 << 31) as f32 / (MAX_WEIGHT + 1.0) * 0.9999 - GROUP as f32;
/// The order of 64-bit parts that undoes how instructions for two halves interleave them.
const IN_ORDER: i32 = 0b11_01_10_00;
/// Swaps the two pairs of each four.
const OTHER_PAIR: i32 = 0b10_11_00_01;

/// Rows of activations in 16 bits: of each group in turn, row after row.
pub(super) struct Activations {
    pub(super) input: usize,
    /// A multiple of how many are multiplied at a time; those beyond the last are zeros.
    rows: usize,
    /// Four activations in each, as two pairs.
    fours: Vec<[i32; 2]>,
    /// Of each group in turn, those of all rows.
    facts: Vec<Facts>,
}

/// What a row's part of a group is multiplied with, and the sum of the products of its pairs.
#[derive(Clone, Copy, Default)]
pub(in crate::nn::packed) struct Facts {
    pub(super) scale: f32,
    pub(super) pairs: i32,
}

impl Activations {
    /// Of rows of `input` numbers, and so many of zeros that `at_a_time` of them can be taken.
    pub(super) fn new(_: Avx2, x: &[f32], input: usize, at_a_time: usize) -> Self {
        let given = x.len() / input;
        let rows = given.next_multiple_of(at_a_time);
        let groups = input.div_ceil(GROUP);
        let mut fours = vec![[0; 2]; rows * input / 4];
        let mut facts = vec![Facts::default(); rows * groups];
        fours
            .par_chunks_mut(rows * GROUP / 4)
            .zip(facts.par_chunks_mut(rows))
            .enumerate()
            .for_each(|(group, (fours, facts))| {
                let first = group * GROUP;
                let length = (input - first).min(GROUP);
                let rows = x.par_chunks_exact(input).zip(facts);
                fours
                    .par_chunks_exact_mut(length / 4)
                    .zip(rows)
                    .for_each(|(fours, (x, facts))| {
                        // SAFETY: the token is there, so the processor has the instructions.
                        *facts = unsafe { quantize(&x[first..first + length], fours) };
                    });
            });
        Self {
            input,
            rows,
            fours,
            facts,
        }
    }

    /// Columns of a group.
    pub(super) fn length(&self, group: usize) -> usize {
        (self.input - group * GROUP).min(GROUP)
    }

    /// Up to `rows` rows from `row` on, of a group.
    pub(super) fn bytes(&self, group: usize, row: usize, rows: usize) -> &[u8] {
        let (start, length) = (self.rows * group * GROUP / 4, self.length(group) / 4);
        let rows = row.min(self.rows)..(row + rows).min(self.rows);
        bytemuck::cast_slice(&self.fours[start + rows.start * length..start + rows.end * length])
    }

    /// `ROWS` rows from `row` on, of a group of `length` columns.
    pub(super) fn part<const ROWS: usize>(
        &self,
        group: usize,
        length: usize,
        row: usize,
    ) -> (Rows<'_, ROWS>, &[Facts; ROWS]) {
        let start = self.rows * group * GROUP / 4 + row * length / 4;
        let fours = &self.fours[start..start + ROWS * length / 4];
        let mut rows = fours.chunks_exact(length / 4);
        let facts = &self.facts[group * self.rows + row..];
        let rows = array::from_fn(|_| rows.next().unwrap_or_default());
        let nothing = const { &[Facts::NOTHING; ROWS] };
        (rows, facts.first_chunk().unwrap_or(nothing))
    }
}

impl Facts {
    const NOTHING: Self = Self {
        scale: 0.0,
        pairs: 0,
    };
}

/// Rows of fours.
pub(in crate::nn::packed) type Rows<'a, const ROWS: usize> = [&'a [[i32; 2]]; ROWS];

/// Writes a row's part of a group, of a multiple of [`BLOCK`] numbers.
#[target_feature(enable = "avx2,fma,f16c")]
fn quantize(x: &[f32], fours: &mut [[i32; 2]]) -> Facts {
    let (x, _) = x.as_chunks::<8>();
    // Compared as integers, which keeps the order and puts NaN above all.
    let (mut bits, mut sums) = (_mm256_setzero_si256(), _mm256_setzero_ps());
    for &x in x {
        let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), cast(x));
        bits = _mm256_max_epi32(bits, _mm256_castps_si256(size));
        sums = _mm256_add_ps(sums, size);
    }
    let max = f32::from_bits(cast::<_, [u32; 8]>(bits).into_iter().fold(0, u32::max));
    if !max.is_finite() {
        // So is then each product.
        fours.fill([0; 2]);
        return Facts {
            scale: f32::NAN,
            pairs: 0,
        };
    }
    if max == 0.0 {
        fours.fill([0; 2]);
        return Facts::default();
    }
    let sum: f32 = cast::<_, [f32; 8]>(sums).into_iter().sum();
    let inverse = (MAX_ACTIVATION / max).min(MAX_SUM / sum).min(f32::MAX);
    let by = _mm256_set1_ps(inverse);
    let mut pairs = _mm256_setzero_si256();
    for (&[low, high], fours) in x
        .as_chunks::<2>()
        .0
        .iter()
        .zip(fours.as_chunks_mut::<4>().0)
    {
        let [low, high] = [low, high].map(|x| _mm256_cvtps_epi32(_mm256_mul_ps(cast(x), by)));
        let quants = _mm256_permute4x64_epi64::<IN_ORDER>(_mm256_packs_epi32(low, high));
        let other = _mm256_shuffle_epi32::<OTHER_PAIR>(quants);
        pairs = _mm256_add_epi32(pairs, _mm256_madd_epi16(quants, other));
        *fours = cast(quants);
    }
    // Each product is there twice.
    let [a, _, b, _, c, _, d, _] = cast::<_, [i32; 8]>(pairs);
    Facts {
        scale: inverse.recip(),
        pairs: a.wrapping_add(b).wrapping_add(c).wrapping_add(d),
    }
}
