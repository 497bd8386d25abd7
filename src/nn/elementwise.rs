//! Vectorised softmax, GELU and SwiGLU in f32 on a CPU, in place.
//!
//! Candle's own call the system's `exp` and `tanh` value by value, and allocate for each step. On other devices and in other
//! types they are Candle's. Loops are compiled for several processors and the best is selected at run time, so their callees
//! must be inlined.

#![allow(clippy::inline_always, reason = "see above")]

use candle_core::{
    CpuStorage, CustomOp1, D, DType, Device, InplaceOp1, Layout, Result, Shape, Tensor, bail,
};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::alloc::zeroed;

/// Values per task.
pub(super) const PIECE: usize = 1 << 14;

/// Softmax over the last dimension of scores that nothing else refers to, `(…, rows, keys)`.
///
/// With `causal`, the scores are of the last `rows` of `keys` positions: the last row sees all keys, the one before it all
/// but the last, and so on.
pub fn softmax(scores: Tensor, causal: bool) -> Result<Tensor> {
    let (rows, keys) = (scores.dim(D::Minus2)?, scores.dim(D::Minus1)?);
    if is_plain(&scores) {
        scores.inplace_op1(&Softmax { rows, keys, causal })?;
        return Ok(scores);
    }
    let dtype = scores.dtype();
    let mut scores = scores.to_dtype(DType::F32)?;
    if causal && rows > 1 {
        scores = scores.broadcast_add(&causal_mask(rows, keys, scores.device())?)?;
    }
    candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(dtype)
}

/// GELU, by its tanh approximation, of a tensor that nothing else refers to.
pub fn gelu_tanh(x: Tensor) -> Result<Tensor> {
    if is_plain(&x) {
        x.inplace_op1(&Gelu::Tanh)?;
        return Ok(x);
    }
    x.gelu()
}

/// The sigmoid approximation of GELU, `x·σ(1.702·x)`, of a tensor that nothing else refers to.
pub fn quick_gelu(x: Tensor) -> Result<Tensor> {
    if is_plain(&x) {
        x.inplace_op1(&Gelu::Quick)?;
        return Ok(x);
    }
    &x * candle_nn::ops::sigmoid(&(&x * f64::from(QUICK))?)?
}

/// `(rows, 2 · size)`, gate and value side by side → `silu(gate) · value`, `(rows, size)`.
pub fn swiglu(x: &Tensor) -> Result<Tensor> {
    if is_plain(x) {
        return x.apply_op1_no_bwd(&SwiGlu);
    }
    #[cfg(feature = "cuda")]
    if super::cuda::has_kernels(x) && x.dim(D::Minus1)?.is_multiple_of(16) && x.rank() == 2 {
        return super::cuda::swiglu(x);
    }
    let halves = x.chunk(2, D::Minus1)?;
    halves[0].silu()? * &halves[1]
}

/// Whether `tensor` is f32, contiguous and on a CPU.
pub(super) fn is_plain(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32 && x.is_contiguous()
}

/// The causal mask, `(rows, keys)`: 0 where row `i` may look, −∞ at the last `rows − 1 − i` keys. Computed on the device:
/// copying it would take megabytes per layer.
fn causal_mask(rows: usize, keys: usize, device: &Device) -> Result<Tensor> {
    let (rows, keys) = (rows as u32, keys as u32);
    let key = Tensor::arange(0, keys, device)?.unsqueeze(0)?;
    let last_seen = Tensor::arange(keys - rows, keys, device)?.unsqueeze(1)?;
    let unseen = key.broadcast_gt(&last_seen)?;
    let value = |value: f32| Tensor::new(value, device)?.broadcast_as(unseen.shape());
    unseen.where_cond(&value(f32::NEG_INFINITY)?, &value(0.0)?)
}

/// `exp`, within 2 units of the last place from −87 to 88, and the value at that end beyond: 2ⁿ by the exponent's bits,
/// the rest by its Taylor polynomial. Written so that the compiler vectorises it.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding this rounds to whole numbers, which then are the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, so that the multiples of the first are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;

    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let p = (1.0_f32 / 5040.0).mul_add(r, 1.0 / 720.0);
    let p = p.mul_add(r, 1.0 / 120.0);
    let p = p.mul_add(r, 1.0 / 24.0);
    let p = p.mul_add(r, 1.0 / 6.0);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r, 1.0);
    let p = p.mul_add(r, 1.0);
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    p * f32::from_bits(exponent.wrapping_add(127) << 23)
}

#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The values of a contiguous layout in f32.
pub(super) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("f32 in one piece is wanted here"),
    }
}

pub(super) fn values_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => bail!("f32 in one piece is wanted here"),
    }
}

struct Softmax {
    rows: usize,
    keys: usize,
    causal: bool,
}

impl InplaceOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let arch = Arch::new();
        let rows = values_mut(storage, layout)?.par_chunks_mut(self.keys);
        rows.enumerate().with_min_len(8).for_each(|(i, row)| {
            let seen = if self.causal {
                self.keys - self.rows + i % self.rows + 1
            } else {
                self.keys
            };
            arch.dispatch(SoftmaxRow { row, seen });
        });
        Ok(())
    }
}

/// Softmax over the first `seen` values; the others become 0.
struct SoftmaxRow<'a> {
    row: &'a mut [f32],
    seen: usize,
}

impl WithSimd for SoftmaxRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (seen, unseen) = self.row.split_at_mut(self.seen);
        softmax_row(seen);
        unseen.fill(0.0);
    }
}

#[inline(always)]
pub(super) fn softmax_row(row: &mut [f32]) {
    let max = fold(row, f32::NEG_INFINITY, f32::max);
    for value in &mut *row {
        *value = exp(*value - max);
    }
    let share = 1.0 / fold(row, 0.0, |sum, value| sum + value);
    for value in row {
        *value *= share;
    }
}

/// Folds values in parallel lanes: faster than one by one, and more exact for a sum. `start` must be the neutral element.
#[inline(always)]
fn fold(values: &[f32], start: f32, with: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; 64];
    let (whole, rest) = values.as_chunks::<64>();
    for chunk in whole {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = with(*lane, value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = with(*lane, value);
    }
    for half in [32, 16, 8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = with(lanes[i], lanes[i + half]);
        }
    }
    lanes[0]
}

/// Of the sigmoid approximation.
const QUICK: f32 = 1.702;

/// An approximation of GELU.
#[derive(Clone, Copy)]
enum Gelu {
    Tanh,
    Quick,
}

impl InplaceOp1 for Gelu {
    fn name(&self) -> &'static str {
        match self {
            Self::Tanh => "gelu-tanh",
            Self::Quick => "quick-gelu",
        }
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let arch = Arch::new();
        let pieces = values_mut(storage, layout)?.par_chunks_mut(PIECE);
        pieces.for_each(|piece| match self {
            Self::Tanh => arch.dispatch(TanhPiece(piece)),
            Self::Quick => arch.dispatch(QuickPiece(piece)),
        });
        Ok(())
    }
}

struct QuickPiece<'a>(&'a mut [f32]);

impl WithSimd for QuickPiece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for x in self.0 {
            *x *= sigmoid(QUICK * *x);
        }
    }
}

struct TanhPiece<'a>(&'a mut [f32]);

impl WithSimd for TanhPiece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        /// √(2/π), twice: tanh(u) = 2·sigmoid(2u) − 1.
        const TWICE: f32 = 2.0 * 0.797_884_6;
        for x in self.0 {
            *x *= sigmoid(TWICE * *x * (1.0 + 0.044_715 * *x * *x));
        }
    }
}

struct SwiGlu;

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = values(storage, layout)?;
        let (rows, size) = layout.shape().dims2()?;
        let size = size / 2;
        let arch = Arch::new();
        let mut out = zeroed(rows * size);
        out.par_chunks_mut(size)
            .zip(values.par_chunks(2 * size))
            .for_each(|(out, row)| {
                let (gate, value) = row.split_at(size);
                arch.dispatch(SwiGluRow { out, gate, value });
            });
        Ok((CpuStorage::F32(out), (rows, size).into()))
    }
}

struct SwiGluRow<'a> {
    out: &'a mut [f32],
    gate: &'a [f32],
    value: &'a [f32],
}

impl WithSimd for SwiGluRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((out, gate), value) in self.out.iter_mut().zip(self.gate).zip(self.value) {
            *out = gate * sigmoid(*gate) * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(a: &Tensor, b: &Tensor) -> f32 {
        let difference = (a - b).unwrap().abs().unwrap();
        difference.max_all().unwrap().to_scalar().unwrap()
    }

    fn random(shape: (usize, usize, usize)) -> Tensor {
        Tensor::randn(0_f32, 4.0, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn exp_is_accurate_to_seven_digits() {
        for i in -8700..8800_i16 {
            let x = f32::from(i) / 100.0;
            let (found, wanted) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(
                (found / wanted - 1.0).abs() < 2.5e-7,
                "{x}: {found} {wanted}"
            );
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(-1e30) >= 0.0 && exp(1e30).is_finite());
    }

    #[test]
    fn softmax_matches_candle_with_and_without_mask() {
        for (rows, keys, causal) in [(5, 5, true), (1, 9, true), (3, 70, true), (7, 33, false)] {
            let scores = random((2, rows, keys));
            let masked = if causal {
                let mask = causal_mask(rows, keys, &Device::Cpu).unwrap();
                scores.broadcast_add(&mask).unwrap()
            } else {
                scores.clone()
            };
            let wanted = candle_nn::ops::softmax_last_dim(&masked).unwrap();
            let found = softmax(scores.copy().unwrap(), causal).unwrap();
            assert!(difference(&found, &wanted) < 1e-6, "{rows}×{keys}");
        }
    }

    #[test]
    fn gelu_and_swiglu_match_candle() {
        let x = random((1, 40, 66)).squeeze(0).unwrap();
        let found = gelu_tanh(x.copy().unwrap()).unwrap();
        // Values go to 20 and their products to 400, of which f32 keeps seven digits.
        assert!(difference(&found, &x.gelu().unwrap()) < 1e-5);
        let found = quick_gelu(x.copy().unwrap()).unwrap();
        let wanted = (&x * candle_nn::ops::sigmoid(&(&x * 1.702).unwrap()).unwrap()).unwrap();
        assert!(difference(&found, &wanted) < 1e-5);
        let halves = x.chunk(2, 1).unwrap();
        let wanted = (halves[0].silu().unwrap() * &halves[1]).unwrap();
        assert!(difference(&swiglu(&x).unwrap(), &wanted) < 2e-4);
    }
}
