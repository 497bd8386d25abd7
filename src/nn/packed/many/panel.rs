//! Weights as 16-bit numbers.

use std::{
    arch::x86_64::{
        __m256, __m256i, _CMP_GT_OQ, _mm256_add_epi16, _mm256_and_ps, _mm256_andnot_ps,
        _mm256_cmp_ps, _mm256_cvtph_ps, _mm256_cvtps_epi32, _mm256_div_ps, _mm256_madd_epi16,
        _mm256_max_ps, _mm256_mul_ps, _mm256_mulhrs_epi16, _mm256_or_si256, _mm256_set1_epi8,
        _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi8, _mm256_setzero_ps,
        _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_sub_epi32,
        _mm256_xor_si256,
    },
    array,
};

use bytemuck::cast;

use crate::nn::packed::tiles::{BLOCK, LANES, Tile};

/// Columns whose products are summed as whole numbers: more lose bits, fewer cost time.
pub(super) const GROUP: usize = 512;
/// Weights are up to 127/128 of this.
pub(super) const MAX_WEIGHT: f32 = 4095.0;

/// Sixteen columns of a group as 16-bit numbers.
pub(in crate::nn::packed) struct Panel {
    /// Of four weights of each column: the first two of columns 0 to 7, of 8 to 15, then the last two.
    pub(super) quants: [[__m256i; 4]; GROUP / 4],
    /// What the columns are multiplied with.
    pub(super) scales: [__m256; 2],
    /// The negated sums of the products of their pairs.
    pub(super) pairs: [__m256i; 2],
}

impl Panel {
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn new() -> Self {
        Self {
            quants: [[_mm256_setzero_si256(); 4]; GROUP / 4],
            scales: [_mm256_setzero_ps(); 2],
            pairs: [_mm256_setzero_si256(); 2],
        }
    }

    /// Takes the tiles of a group.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn expand(&mut self, tiles: &[Tile]) {
        // Into the upper bytes of 16-bit numbers.
        let first_two = _mm256_setr_epi8(
            -1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1, 0, -1, 1, -1, 4, -1, 5,
            -1, 8, -1, 9, -1, 12, -1, 13,
        );
        let last_two = _mm256_add_epi16(first_two, _mm256_set1_epi32(0x0200_0200));
        let largest = tiles
            .iter()
            .fold([_mm256_setzero_ps(); 2], |largest, tile| {
                let scales = scales(tile);
                array::from_fn(|half| {
                    let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), scales[half]);
                    _mm256_max_ps(largest[half], size)
                })
            });
        let unit = _mm256_set1_ps(128.0 / MAX_WEIGHT);
        self.scales = largest.map(|largest| _mm256_mul_ps(largest, unit));
        let to_weights = largest.map(|largest| {
            let is_some = _mm256_cmp_ps::<_CMP_GT_OQ>(largest, _mm256_setzero_ps());
            _mm256_and_ps(_mm256_div_ps(_mm256_set1_ps(MAX_WEIGHT), largest), is_some)
        });
        let mut pairs = [_mm256_setzero_si256(); 2];
        for (tile, to) in tiles
            .iter()
            .zip(self.quants.as_chunks_mut::<{ BLOCK / 4 }>().0)
        {
            let scales = scales(tile);
            let factors: [__m256i; 2] = array::from_fn(|half| {
                let factor = _mm256_cvtps_epi32(_mm256_mul_ps(scales[half], to_weights[half]));
                _mm256_or_si256(factor, _mm256_slli_epi32::<16>(factor))
            });
            for (&quants, to) in tile.quants.iter().zip(to) {
                let quants: [__m256i; 2] = cast(quants);
                for half in 0..2 {
                    let signed = _mm256_xor_si256(quants[half], _mm256_set1_epi8(-128));
                    let [first, last] = [first_two, last_two].map(|order| {
                        _mm256_mulhrs_epi16(_mm256_shuffle_epi8(signed, order), factors[half])
                    });
                    pairs[half] = _mm256_sub_epi32(pairs[half], _mm256_madd_epi16(first, last));
                    (to[half], to[2 + half]) = (first, last);
                }
            }
        }
        self.pairs = pairs;
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn scales(tile: &Tile) -> [__m256; 2] {
    let halves: [[u16; LANES / 2]; 2] = cast(tile.scales);
    halves.map(|half| _mm256_cvtph_ps(cast(half)))
}
