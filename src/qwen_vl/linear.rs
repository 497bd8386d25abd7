//! Linear layers and norms of the model, each made from named weights.

use std::sync::Arc;

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor, quantized::QTensor};

use super::weights::Weights;

/// A matrix of weights, `(out, in)`.
#[derive(Clone)]
pub enum Matrix {
    /// `(in, out)`: a transposed view, as the product wants it.
    Dense(Tensor),
    /// In blocks along its rows; activations are f32.
    Quantized(Arc<QTensor>),
}

impl Matrix {
    /// From weights of shape `(out, in)`.
    pub fn dense(weight: &Tensor) -> CandleResult<Self> {
        Ok(Self::Dense(weight.t()?))
    }

    /// `(rows, in)` → `(rows, out)`.
    fn multiply(&self, x: &Tensor) -> CandleResult<Tensor> {
        match self {
            Self::Dense(weight) => x.matmul(weight),
            Self::Quantized(weight) => x.contiguous()?.apply_op1_no_bwd(weight.as_ref()),
        }
    }

    /// The rows `indices`, `(indices, in)`: what an embedding is.
    pub fn rows(&self, indices: &Tensor) -> CandleResult<Tensor> {
        match self {
            Self::Dense(weight) => weight.t()?.index_select(indices, 0),
            Self::Quantized(weight) => weight.embedding(indices),
        }
    }
}

/// `y = x·Wᵀ + b` over the last dimension.
pub struct Linear {
    weight: Matrix,
    bias: Option<Tensor>,
}

impl Linear {
    /// Takes `{name}.weight` of shape `(out, in)` and, with `bias`, `{name}.bias` of shape `(out)`.
    pub fn load(
        weights: &Weights,
        name: &str,
        input: usize,
        output: usize,
        bias: bool,
    ) -> Result<Self> {
        Self::load_fused(weights, &[(name, output)], input, bias)
    }

    /// Several layers with the same input as one, their outputs side by side: each `(name, out)` as in
    /// [`load`](Self::load).
    pub fn load_fused(
        weights: &Weights,
        parts: &[(&str, usize)],
        input: usize,
        bias: bool,
    ) -> Result<Self> {
        let named = |what: &str| -> Vec<(String, usize)> {
            let name = |&(name, output): &(&str, usize)| (format!("{name}.{what}"), output);
            parts.iter().map(name).collect()
        };
        let bias = if bias {
            let parts: Vec<Tensor> = named("bias")
                .iter()
                .map(|(name, output)| weights.get(name, &[*output]))
                .collect::<Result<_>>()?;
            Some(Tensor::cat(&parts, 0)?)
        } else {
            None
        };
        Ok(Self {
            weight: weights.matrix(&named("weight"), input)?,
            bias,
        })
    }

    /// From weights that are there.
    #[must_use]
    pub fn new(weight: Matrix, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// `(rows, in)` → `(rows, out)`.
    pub fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        let y = self.weight.multiply(x)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// Root-mean-square norm over the last dimension.
pub struct RmsNorm {
    weight: Tensor,
    eps: f32,
}

impl RmsNorm {
    /// Takes `{name}.weight` of shape `(size)`.
    pub fn load(weights: &Weights, name: &str, size: usize, eps: f64) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"), &[size])?,
            eps: eps as f32,
        })
    }

    /// Same shape out as in.
    pub fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        candle_nn::ops::rms_norm(x, &self.weight, self.eps)
    }
}

/// Layer norm over the last dimension, with scale and shift.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// The reference fixes it for the vision tower (transformers 5.23, `modeling_qwen3_vl.py`).
    const EPS: f32 = 1e-6;

    /// Takes `{name}.weight` and `{name}.bias` of shape `(size)`.
    pub fn load(weights: &Weights, name: &str, size: usize) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"), &[size])?,
            bias: weights.get(&format!("{name}.bias"), &[size])?,
        })
    }

    /// Same shape out as in.
    pub fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        candle_nn::ops::layer_norm(x, &self.weight, &self.bias, Self::EPS)
    }
}
