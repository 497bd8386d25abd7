//! Half as many multiplications as there are weights (Winograd, "A new algorithm for inner product", 1968).
//!
//! With pairs of activations a and weights w, a₀w₀ + a₂w₂ = (a₀ + w₂)(a₂ + w₀) − a₀a₂ − w₀w₂. The last two terms belong to a row
//! and to a column alone. What the sums in between wrap around does not matter: the result fits 32 bits, so it is exact.

use std::{
    arch::{
        asm,
        x86_64::{__m256i, _mm256_set1_epi32, _mm256_sub_epi32},
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
    add_to_dots(panel, rows, &mut dots);
    add_dots(panel, dots, facts, sums);
}

/// Four columns four times a turn. So few instructions come to each product that those of a loop, and what a compiler moves
/// between registers, took a twentieth of the time.
#[target_feature(enable = "avx2,fma,f16c")]
fn add_to_dots(panel: &Panel, rows: Rows<ROWS>, dots: &mut [[__m256i; 2]; ROWS]) {
    // The weights' first pairs are in registers 8 and 9, the last pairs in 10 and 11.
    macro_rules! row {
        ($row:literal, $at:literal, $low:literal, $high:literal) => {
            concat!(
                "vpbroadcastd ymm12, dword ptr [",
                $row,
                " + 8*{i} + ",
                $at,
                "]\n",
                "vpbroadcastd ymm13, dword ptr [",
                $row,
                " + 8*{i} + ",
                $at,
                " + 4]\n",
                "vpaddw ymm14, ymm10, ymm12\n",
                "vpaddw ymm15, ymm8, ymm13\n",
                "vpmaddwd ymm14, ymm14, ymm15\n",
                "vpaddw ymm12, ymm11, ymm12\n",
                "vpaddw ymm13, ymm9, ymm13\n",
                "vpmaddwd ymm12, ymm12, ymm13\n",
                "vpaddd ",
                $low,
                ", ",
                $low,
                ", ymm14\n",
                "vpaddd ",
                $high,
                ", ",
                $high,
                ", ymm12\n",
            )
        };
    }
    macro_rules! step {
        ($at:literal, $weights:literal) => {
            concat!(
                "vmovdqa ymm8, ymmword ptr [{weights} + ",
                $weights,
                "]\n",
                "vmovdqa ymm9, ymmword ptr [{weights} + ",
                $weights,
                " + 32]\n",
                "vmovdqa ymm10, ymmword ptr [{weights} + ",
                $weights,
                " + 64]\n",
                "vmovdqa ymm11, ymmword ptr [{weights} + ",
                $weights,
                " + 96]\n",
                row!("{a}", $at, "ymm0", "ymm1"),
                row!("{b}", $at, "ymm2", "ymm3"),
                row!("{c}", $at, "ymm4", "ymm5"),
                row!("{d}", $at, "ymm6", "ymm7"),
            )
        };
    }
    let [a, b, c, d] = rows;
    let [[a0, a1], [b0, b1], [c0, c1], [d0, d1]] = dots;
    let count = a.len();
    let whole = count > 0 && count.is_multiple_of(4) && count <= panel.quants.len();
    assert!(whole && [b, c, d].iter().all(|row| row.len() == count));
    // SAFETY: what is read is in the rows and the panel, as was just seen, and the processor has the instructions.
    unsafe {
        asm!(
            ".p2align 5",
            "2:",
            step!("0", "0"),
            step!("8", "128"),
            step!("16", "256"),
            step!("24", "384"),
            "add {weights}, 512",
            "add {i}, 4",
            "cmp {i}, {count}",
            "jne 2b",
            weights = inout(reg) panel.quants.as_ptr() => _,
            i = inout(reg) 0_usize => _,
            count = in(reg) count,
            a = in(reg) a.as_ptr(),
            b = in(reg) b.as_ptr(),
            c = in(reg) c.as_ptr(),
            d = in(reg) d.as_ptr(),
            inout("ymm0") *a0,
            inout("ymm1") *a1,
            inout("ymm2") *b0,
            inout("ymm3") *b1,
            inout("ymm4") *c0,
            inout("ymm5") *c1,
            inout("ymm6") *d0,
            inout("ymm7") *d1,
            out("ymm8") _,
            out("ymm9") _,
            out("ymm10") _,
            out("ymm11") _,
            out("ymm12") _,
            out("ymm13") _,
            out("ymm14") _,
            out("ymm15") _,
            options(nostack, readonly),
        );
    }
}
