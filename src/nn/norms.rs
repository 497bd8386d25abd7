//! Norms over the last dimension.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};

use super::weights::Weights;

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
