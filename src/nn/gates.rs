//! Products with gates, vectorised in f32 on a CPU.

// What is called must be inlined into what is compiled for several processors.
#![allow(clippy::inline_always, reason = "see above")]

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    alloc::zeroed,
    elementwise::{PIECE, is_plain, sigmoid, values},
};

/// What a gate's values go through before they are multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// `x·σ(x)`.
    Silu,
    /// `σ(x)`.
    Sigmoid,
}

/// `x · act(gate)`, both of one shape.
pub fn gated(x: &Tensor, gate: &Tensor, act: Gate) -> Result<Tensor> {
    if is_plain(x) && is_plain(gate) {
        return x.apply_op2_no_bwd(gate, &Gated(act));
    }
    match act {
        Gate::Silu => x * gate.silu()?,
        Gate::Sigmoid => x * candle_nn::ops::sigmoid(gate)?,
    }
}

struct Gated(Gate);

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gate: &CpuStorage,
        gate_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gate) = (values(x, x_layout)?, values(gate, gate_layout)?);
        let arch = Arch::new();
        let mut out = zeroed(x.len());
        let inputs = x.par_chunks(PIECE).zip(gate.par_chunks(PIECE));
        out.par_chunks_mut(PIECE)
            .zip(inputs)
            .for_each(|(out, (x, gate))| {
                let act = self.0;
                arch.dispatch(GatedPiece { out, x, gate, act });
            });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

struct GatedPiece<'a> {
    out: &'a mut [f32],
    x: &'a [f32],
    gate: &'a [f32],
    act: Gate,
}

impl WithSimd for GatedPiece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let inputs = self.x.iter().zip(self.gate);
        let values = self.out.iter_mut().zip(inputs);
        match self.act {
            Gate::Silu => values.for_each(|(out, (x, gate))| *out = x * gate * sigmoid(*gate)),
            Gate::Sigmoid => values.for_each(|(out, (x, gate))| *out = x * sigmoid(*gate)),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn random(shape: (usize, usize, usize)) -> Tensor {
        Tensor::randn(0_f32, 4.0, shape, &Device::Cpu).unwrap()
    }

    fn difference(a: &Tensor, b: &Tensor) -> f32 {
        let difference = (a - b).unwrap().abs().unwrap();
        difference.max_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn gates_match_candle() {
        let (x, gate) = (random((3, 40, 66)), random((3, 40, 66)));
        let silu = (&x * gate.silu().unwrap()).unwrap();
        let sigmoid = (&x * candle_nn::ops::sigmoid(&gate).unwrap()).unwrap();
        for (act, wanted) in [(Gate::Silu, silu), (Gate::Sigmoid, sigmoid)] {
            assert!(difference(&gated(&x, &gate, act).unwrap(), &wanted) < 2e-4);
            // As elsewhere than on a CPU, and in other numbers.
            let strided = |x: &Tensor| x.transpose(0, 1).unwrap();
            let found = gated(&strided(&x), &strided(&gate), act).unwrap();
            assert!(difference(&found, &strided(&wanted)) < 2e-4);
        }
    }
}
