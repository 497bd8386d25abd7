//! Rotary position embeddings (RoFormer, arXiv 2104.09864), as tables of cosines and sines.

use candle_core::{DType, Device, Result as CandleResult, Tensor};

/// Cosines and sines, each of shape `(positions, head_dim / 2)`.
pub struct RopeTables {
    /// Cosines.
    pub cos: Tensor,
    /// Sines.
    pub sin: Tensor,
}

impl RopeTables {
    /// `angles`, `half` of them for each position.
    pub fn new(
        angles: impl Iterator<Item = f32>,
        half: usize,
        device: &Device,
        dtype: DType,
    ) -> CandleResult<Self> {
        let angles = Tensor::from_iter(angles, device)?.reshape(((), half))?;
        Ok(Self {
            cos: angles.cos()?.to_dtype(dtype)?,
            sin: angles.sin()?.to_dtype(dtype)?,
        })
    }

    /// Rotates `x` of shape `(heads, positions, head_dim)`.
    pub fn rotate(&self, x: &Tensor) -> CandleResult<Tensor> {
        candle_nn::rotary_emb::rope(&x.unsqueeze(0)?.contiguous()?, &self.cos, &self.sin)?
            .squeeze(0)
    }
}

/// The frequencies `theta^(-i / dim)` for even `i` below `dim`.
#[must_use]
pub fn inv_freq(theta: f64, dim: usize) -> Vec<f32> {
    (0..dim)
        .step_by(2)
        .map(|i| 1.0 / (theta as f32).powf(i as f32 / dim as f32))
        .collect()
}
