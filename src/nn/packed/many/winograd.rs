//! Half as many multiplications as there are weights (Winograd, "A new algorithm for inner product", 1968).
//!
//! With pairs of activations a and weights w, a₀w₀ + a₂w₂ = (a₀ + w₂)(a₂ + w₀) − a₀a₂ − w₀w₂. The last two terms belong to a row
//! and to a column alone. What the sums in between wrap around does not matter: the result fits 32 bits, so it is exact.

use std::{
    arch::x86_64::{
        __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_madd_epi16, _mm256_set1_epi32,
        _mm256_sub_epi32,
    },
    array,
};

use super::{Facts, Kernel, Panel, Rows, Sums, add_dots};
use crate::nn::simd::Avx2;

/// More rows don't fit the registers.
const ROWS: usize = 4;

/// The kernel.
#[derive(Clone, Copy)]
pub(in crate::nn::packed) struct Winograd(pub(in crate::nn::packed) Avx2);

impl Kernel<ROWS> for Winograd {
    fn avx2(self) -> Avx2 {
        self.0
    }

    fn add_products(
        self,
        panel: &Panel,
        rows: Rows<ROWS>,
        facts: &[Facts; ROWS],
        sums: &mut Sums<ROWS>,
    ) {
        // SAFETY: the token is there, so the processor has the instructions.
        unsafe { add_products(panel, rows, facts, sums) }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn add_products(panel: &Panel, rows: Rows<ROWS>, facts: &[Facts; ROWS], sums: &mut Sums<ROWS>) {
    let mut dots: [[__m256i; 2]; ROWS] = array::from_fn(|row| {
        let of_row = _mm256_set1_epi32(facts[row].pairs);
        panel
            .pairs
            .map(|of_columns| _mm256_sub_epi32(of_columns, of_row))
    });
    let [a, b, c, d] = rows;
    let fours = a.iter().zip(b).zip(c).zip(d);
    for (weights, (((a, b), c), d)) in panel.quants.iter().zip(fours) {
        let [first_low, first_high, last_low, last_high] = *weights;
        for (dots, four) in dots.iter_mut().zip([a, b, c, d]) {
            // Each from memory: taken out of one number they would cost more than the products.
            let (first, last) = (_mm256_set1_epi32(four[0]), _mm256_set1_epi32(four[1]));
            let low = _mm256_madd_epi16(
                _mm256_add_epi16(last_low, first),
                _mm256_add_epi16(first_low, last),
            );
            let high = _mm256_madd_epi16(
                _mm256_add_epi16(last_high, first),
                _mm256_add_epi16(first_high, last),
            );
            dots[0] = _mm256_add_epi32(dots[0], low);
            dots[1] = _mm256_add_epi32(dots[1], high);
        }
    }
    add_dots(panel, dots, facts, sums);
}
