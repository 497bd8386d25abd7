//! The short convolution before the rule.

// What is called must be inlined into what is compiled for several processors.
#![allow(clippy::inline_always, reason = "see above")]

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::nn::{
    alloc::zeroed,
    elementwise::{sigmoid, values},
};

/// Convolves each channel of `x`, `(tokens, channels)`, over its own tokens up to each, then takes SiLU.
///
/// `before` are the tokens before `x`, `(kernel − 1, channels)`; `weight` is `(kernel, channels)`, its last row of the token
/// itself. All are f32. Returns `(tokens, channels)`.
pub fn causal_conv(x: &Tensor, before: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() && x.dtype() == DType::F32 {
        return x.apply_op3_no_bwd(before, weight, &CausalConv);
    }
    by_operations(x, before, weight)
}

/// In Candle's operations.
fn by_operations(x: &Tensor, before: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let all = Tensor::cat(&[before, x], 0)?;
    let tap = |tap: usize| {
        let seen = all.narrow(0, tap, x.dim(0)?)?;
        seen.broadcast_mul(&weight.narrow(0, tap, 1)?)
    };
    let mut sum = tap(0)?;
    for i in 1..weight.dim(0)? {
        sum = (sum + tap(i)?)?;
    }
    sum.silu()
}

struct CausalConv;

impl CustomOp3 for CausalConv {
    fn name(&self) -> &'static str {
        "causal-conv"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        before: &CpuStorage,
        before_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (tokens, channels) = x_layout.shape().dims2()?;
        let (taps, _) = weight_layout.shape().dims2()?;
        let (CpuStorage::F32(x), &[stride, 1]) = (x, x_layout.stride()) else {
            bail!("rows of f32 in one piece are wanted here")
        };
        let x = &x[x_layout.start_offset()..];
        let before = values(before, before_layout)?;
        let weight = values(weight, weight_layout)?;
        let row = |token: usize| match token.checked_sub(taps - 1) {
            Some(token) => &x[token * stride..][..channels],
            None => &before[token * channels..][..channels],
        };
        let mut out = zeroed(tokens * channels);
        let arch = Arch::new();
        let rows = out.par_chunks_mut(channels).enumerate();
        rows.with_min_len(4).for_each(|(token, out)| {
            let taps = (token..token + taps)
                .map(row)
                .zip(weight.chunks_exact(channels));
            arch.dispatch(Row { out, taps });
        });
        Ok((CpuStorage::F32(out), (tokens, channels).into()))
    }
}

/// One token; `taps` are the tokens that it sees, with their weights.
struct Row<'a, I> {
    out: &'a mut [f32],
    taps: I,
}

impl<'a, I: Iterator<Item = (&'a [f32], &'a [f32])>> WithSimd for Row<'_, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (row, weight) in self.taps {
            for ((out, &x), &weight) in self.out.iter_mut().zip(row).zip(weight) {
                *out = x.mul_add(weight, *out);
            }
        }
        for out in self.out {
            *out *= sigmoid(*out);
        }
    }
}
