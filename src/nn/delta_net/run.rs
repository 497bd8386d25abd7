//! Tokens that go through the rule together.

use candle_core::{Result, Tensor};

/// The reference adds it to the sum of squares (transformers 5.23, `l2norm` in `modeling_qwen3_5.py`).
const EPS: f64 = 1e-6;

/// Tokens that follow each other in one sequence, in f32.
#[derive(Clone)]
pub struct DeltaRun {
    /// Queries of unit length, times `key_dim^−½`: `(tokens, key_heads, key_dim)`.
    pub(super) q: Tensor,
    /// Keys of unit length, the same shape.
    pub(super) k: Tensor,
    /// `(tokens, value_heads, value_dim)`; `value_heads` is a multiple of `key_heads`.
    pub(super) v: Tensor,
    /// The logarithm of the decay, `g`: `(tokens, value_heads)`.
    pub(super) decay: Tensor,
    /// The share of the correction that is made, `β`: `(tokens, value_heads)`.
    pub(super) beta: Tensor,
}

impl DeltaRun {
    /// From queries and keys `(tokens, key_heads, key_dim)` of any length, and the rest as it is kept.
    pub fn new(q: &Tensor, k: &Tensor, v: Tensor, decay: Tensor, beta: Tensor) -> Result<Self> {
        let scale = (k.dim(2)? as f64).powf(-0.5);
        Ok(Self {
            q: unit_length(q, scale)?,
            k: unit_length(k, 1.0)?,
            v,
            decay,
            beta,
        })
    }

    /// How many tokens.
    pub fn tokens(&self) -> Result<usize> {
        self.v.dim(0)
    }

    /// Its `count` tokens from `start` on.
    pub fn part(&self, start: usize, count: usize) -> Result<Self> {
        let part = |x: &Tensor| x.narrow(0, start, count);
        Ok(Self {
            q: part(&self.q)?,
            k: part(&self.k)?,
            v: part(&self.v)?,
            decay: part(&self.decay)?,
            beta: part(&self.beta)?,
        })
    }
}

/// `x` with its last dimension brought to the length `length`: a root-mean-square norm of other constants.
fn unit_length(x: &Tensor, length: f64) -> Result<Tensor> {
    let size = x.dim(2)?;
    let weight = length / (size as f64).sqrt();
    let weight = Tensor::full(weight as f32, size, x.device())?;
    candle_nn::ops::rms_norm(&x.contiguous()?, &weight, (EPS / size as f64) as f32)
}
