//! Linear layers, each made from named weights.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};

use super::{
    matrix::Matrix,
    pass::Pass,
    precision::Precision,
    weights::{Padding, Weights},
};

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
        Self::load_fused(weights, &[(name, output)], input, bias, weights.precision())
    }

    /// Fuses several layers with the same input; their outputs lie side by side. Each is `(name, out)` as in
    /// [`load`](Self::load), in `precision`.
    pub fn load_fused(
        weights: &Weights,
        parts: &[(&str, usize)],
        input: usize,
        bias: bool,
        precision: Precision,
    ) -> Result<Self> {
        Self::load_padded(weights, parts, input, bias, precision, Padding::default())
    }

    /// As [`load_fused`](Self::load_fused), with zeros added to each part.
    pub fn load_padded(
        weights: &Weights,
        parts: &[(&str, usize)],
        input: usize,
        bias: bool,
        precision: Precision,
        padding: Padding,
    ) -> Result<Self> {
        let named = |what: &str| -> Vec<(String, usize)> {
            let name = |&(name, output): &(&str, usize)| (format!("{name}.{what}"), output);
            parts.iter().map(name).collect()
        };
        let bias = if bias {
            let parts: Vec<Tensor> = named("bias")
                .iter()
                .map(|(name, output)| {
                    let bias = weights.get(name, &[*output])?;
                    Ok(bias.pad_with_zeros(0, 0, padding.outputs)?)
                })
                .collect::<Result<_>>()?;
            Some(Tensor::cat(&parts, 0)?)
        } else {
            None
        };
        Ok(Self {
            weight: weights.matrix_padded(&named("weight"), input, precision, padding)?,
            bias,
        })
    }

    /// From loaded weights.
    #[must_use]
    pub fn new(weight: Matrix, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// What is added to products, for who adds it together with something else.
    #[must_use]
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// As [`forward`](Self::forward), without the bias.
    pub fn product(&self, x: &Tensor, pass: Pass) -> CandleResult<Tensor> {
        self.weight.multiply(x, None, pass)
    }

    /// `(rows, in)` → `(rows, out)`.
    pub fn forward(&self, x: &Tensor, pass: Pass) -> CandleResult<Tensor> {
        self.weight.multiply(x, self.bias.as_ref(), pass)
    }
}
