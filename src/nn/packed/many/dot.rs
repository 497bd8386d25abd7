//! Products by the instruction that multiplies and adds up, `vpdpwssd`: AVX-VNNI.

use std::arch::x86_64::{
    __m256i, _mm256_dpwssd_avx_epi32, _mm256_set1_epi32, _mm256_setzero_si256,
};

use super::{Facts, Kernel, Panel, Rows, Sums, add_dots};
use crate::nn::simd::{Avx2, AvxVnni};

/// More rows don't fit the registers.
const ROWS: usize = 6;

/// The kernel.
#[derive(Clone, Copy)]
pub(in crate::nn::packed) struct Dot(
    pub(in crate::nn::packed) Avx2,
    pub(in crate::nn::packed) AvxVnni,
);

impl Kernel<ROWS> for Dot {
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
        // SAFETY: the tokens are there, so the processor has the instructions.
        unsafe { add_by_instruction(panel, rows, facts, sums) }
    }
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn add_by_instruction(
    panel: &Panel,
    rows: Rows<ROWS>,
    facts: &[Facts; ROWS],
    sums: &mut Sums<ROWS>,
) {
    let add = |sums, a, b| _mm256_dpwssd_avx_epi32(sums, a, b);
    add_products(panel, rows, facts, sums, add);
}

/// `add` adds the products of pairs of 16-bit numbers to 32-bit sums.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add_products(
    panel: &Panel,
    rows: Rows<ROWS>,
    facts: &[Facts; ROWS],
    sums: &mut Sums<ROWS>,
    add: impl Fn(__m256i, __m256i, __m256i) -> __m256i,
) {
    let mut dots = [[_mm256_setzero_si256(); 2]; ROWS];
    let [a, b, c, d, e, f] = rows;
    let fours = a.iter().zip(b).zip(c).zip(d).zip(e).zip(f);
    for (weights, (((((a, b), c), d), e), f)) in panel.quants.iter().zip(fours) {
        let [first_low, first_high, last_low, last_high] = *weights;
        for (pair, [low, high]) in [[first_low, first_high], [last_low, last_high]]
            .into_iter()
            .enumerate()
        {
            for (dots, four) in dots.iter_mut().zip([a, b, c, d, e, f]) {
                let pair = _mm256_set1_epi32(four[pair]);
                dots[0] = add(dots[0], low, pair);
                dots[1] = add(dots[1], high, pair);
            }
        }
    }
    add_dots(panel, dots, facts, sums);
}

/// The same without the instruction, for processors that lack it.
#[cfg(test)]
pub(in crate::nn::packed) mod emulated {
    use std::arch::x86_64::{_mm256_add_epi32, _mm256_madd_epi16};

    use super::*;

    /// The kernel.
    #[derive(Clone, Copy)]
    pub(in crate::nn::packed) struct Emulated(pub(in crate::nn::packed) Avx2);

    impl Kernel<ROWS> for Emulated {
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
            unsafe { add_by_two(panel, rows, facts, sums) }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn add_by_two(panel: &Panel, rows: Rows<ROWS>, facts: &[Facts; ROWS], sums: &mut Sums<ROWS>) {
        let add = |sums, a, b| _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
        add_products(panel, rows, facts, sums, add);
    }
}
