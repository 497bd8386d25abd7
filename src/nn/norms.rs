//! Norms over the last dimension.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};

use super::weights::Weights;

/// Root-mean-square norm over the last dimension.
pub struct RmsNorm {
    weight: Tensor,
    /// The same in f32.
    #[cfg(feature = "cuda")]
    wide: Tensor,
    eps: f32,
}

impl RmsNorm {
    /// Takes `{name}.weight` of shape `(size)`.
    pub fn load(weights: &Weights, name: &str, size: usize, eps: f64) -> Result<Self> {
        Self::new(weights.get(&format!("{name}.weight"), &[size])?, eps as f32)
    }

    /// As [`load`](Self::load), in f32 whatever the numbers of activations.
    pub fn load_f32(weights: &Weights, name: &str, size: usize, eps: f64) -> Result<Self> {
        let weight = weights.get_f32(&format!("{name}.weight"), &[size])?;
        Self::new(weight, eps as f32)
    }

    /// As [`load_f32`](Self::load_f32), of a weight that says how far from 1 each scale is, as Qwen3.5 keeps it: in fewer
    /// bits its sum with 1 would lose most of it.
    pub fn load_zero_centred(weights: &Weights, name: &str, size: usize, eps: f64) -> Result<Self> {
        let norm = Self::load_f32(weights, name, size, eps)?;
        Self::new((norm.weight + 1.0)?, norm.eps)
    }

    #[cfg_attr(
        not(feature = "cuda"),
        allow(
            clippy::unnecessary_wraps,
            reason = "it can fail only where there is a device"
        )
    )]
    fn new(weight: Tensor, eps: f32) -> Result<Self> {
        Ok(Self {
            #[cfg(feature = "cuda")]
            wide: weight.to_dtype(candle_core::DType::F32)?,
            weight,
            eps,
        })
    }

    /// `x + delta`, and the norm of that.
    pub fn forward_sum(&self, x: &Tensor, delta: &Tensor) -> CandleResult<(Tensor, Tensor)> {
        #[cfg(feature = "cuda")]
        if super::cuda::has_kernels(x) {
            return super::cuda::add_norm(x, delta, &self.wide, self.eps);
        }
        let sum = (x + delta)?;
        let normed = self.forward(&sum)?;
        Ok((sum, normed))
    }

    /// Its weight in f32, and what is added to the mean of squares.
    #[cfg(feature = "cuda")]
    #[must_use]
    pub fn parts(&self) -> (&Tensor, f32) {
        (&self.wide, self.eps)
    }

    /// Same shape and type out as in.
    pub fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        if x.dtype() != self.weight.dtype() {
            let wide = x.to_dtype(self.weight.dtype())?;
            return self.forward(&wide)?.to_dtype(x.dtype());
        }
        candle_nn::ops::rms_norm(x, &self.weight, self.eps)
    }
}

/// Layer norm over the last dimension, with scale and shift.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// The reference fixes it for all vision towers (transformers 5.23, `modeling_qwen3_vl.py`, `modeling_qwen2_vl.py`).
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

/// A norm of a vision tower.
pub enum Norm {
    /// With scale and shift.
    Layer(LayerNorm),
    /// With scale.
    Rms(RmsNorm),
}

impl Norm {
    /// Same shape out as in.
    pub fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::Rms(norm) => norm.forward(x),
        }
    }
}
