//! Rotary position embeddings (RoFormer, arXiv 2104.09864), as tables of cosines and sines.

use candle_core::{D, DType, Device, Result as CandleResult, Tensor};

/// Cosines and sines, each of shape `(positions, rotary_dim / 2)`.
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

    /// Rotates the first `rotary_dim` dimensions of `x`, of shape `(heads, positions, head_dim)`.
    pub fn rotate(&self, x: &Tensor) -> CandleResult<Tensor> {
        let (rotary_dim, head_dim) = (2 * self.cos.dim(D::Minus1)?, x.dim(D::Minus1)?);
        if rotary_dim < head_dim {
            let turned = self.rotate(&x.narrow(D::Minus1, 0, rotary_dim)?)?;
            // Of parts that are not in one piece the result would not be either.
            let rest = x.narrow(D::Minus1, rotary_dim, head_dim - rotary_dim)?;
            let rest = rest.contiguous()?;
            return Tensor::cat(&[turned, rest], D::Minus1);
        }
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
