//! Feed-forward layers.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};

use super::{
    elementwise::{gelu_tanh, quick_gelu, swiglu},
    linear::Linear,
    pass::Pass,
    precision::Precision,
    weights::{Padding, Weights},
};

/// What is done to each inner value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// GELU, by its tanh approximation.
    GeluTanh,
    /// `x·σ(1.702·x)`.
    QuickGelu,
}

/// A feed-forward layer: every row by itself.
pub enum Mlp {
    /// `down(activation(up(x)))`.
    Plain {
        /// To the inner width.
        up: Linear,
        /// And back.
        down: Linear,
        /// Between them.
        activation: Activation,
    },
    /// `down(silu(gate(x)) · up(x))`.
    Gated {
        /// Gate and up projection, side by side.
        gate_up: Linear,
        /// Back from the inner width.
        down: Linear,
    },
}

impl Mlp {
    /// Takes `{name}.{parts}`, up and down, both with bias.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape.
    pub fn load_plain(
        weights: &Weights,
        name: &str,
        parts: [&str; 2],
        (hidden, inner): (usize, usize),
        activation: Activation,
    ) -> Result<Self> {
        let [up, down] = parts.map(|part| format!("{name}.{part}"));
        Ok(Self::Plain {
            up: Linear::load(weights, &up, hidden, inner, true)?,
            down: Linear::load(weights, &down, inner, hidden, true)?,
            activation,
        })
    }

    /// Takes `{name}.gate_proj`, `{name}.up_proj` and `{name}.down_proj`.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape.
    pub fn load_gated(
        weights: &Weights,
        name: &str,
        hidden: usize,
        inner: usize,
        bias: bool,
    ) -> Result<Self> {
        let part = |part: &str| format!("{name}.{part}_proj");
        let precision = weights.precision();
        let extra = inner_padding(inner, precision);
        Ok(Self::Gated {
            gate_up: Linear::load_padded(
                weights,
                &[(&part("gate"), inner), (&part("up"), inner)],
                hidden,
                bias,
                precision,
                Padding {
                    outputs: extra,
                    inputs: 0,
                },
            )?,
            down: Linear::load_padded(
                weights,
                &[(&part("down"), hidden)],
                inner,
                bias,
                precision,
                Padding {
                    outputs: 0,
                    inputs: extra,
                },
            )?,
        })
    }

    /// `(rows, hidden)` → `(rows, hidden)`.
    ///
    /// # Errors
    /// The device fails.
    pub fn forward(&self, x: &Tensor, pass: Pass) -> CandleResult<Tensor> {
        match self {
            Self::Plain {
                up,
                down,
                activation,
            } => {
                let inner = up.forward(x, pass)?;
                let inner = match activation {
                    Activation::GeluTanh => gelu_tanh(inner)?,
                    Activation::QuickGelu => quick_gelu(inner)?,
                };
                down.forward(&inner, pass)
            }
            Self::Gated { gate_up, down } => {
                down.forward(&swiglu(&gate_up.forward(x, pass)?)?, pass)
            }
        }
    }
}

/// How much wider a gated layer's inside becomes if its weights are quantized and its width is none of whole blocks, as
/// 3,420 in Qwen2.5-VL's tower: to a width for the packed kernels if that is at most an eighth more, else to the next block. A gate
/// of 0 lets nothing through.
fn inner_padding(inner: usize, precision: Precision) -> usize {
    const BLOCK: usize = 32;
    const PACKED: usize = 256;

    match precision {
        Precision::Quantized(_) if !inner.is_multiple_of(BLOCK) => {
            let packed = inner.next_multiple_of(PACKED);
            let wanted = if packed - inner <= inner / 8 {
                packed
            } else {
                inner.next_multiple_of(BLOCK)
            };
            wanted - inner
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;

    #[test]
    fn odd_inner_widths_are_padded_for_quantized_weights_alone() {
        for (inner, precision, padding) in [
            (3420, Precision::Q8_0, 164),
            (3420, Precision::Q4_K, 164),
            (3420, DType::F32.into(), 0),
            (3072, Precision::Q8_0, 0),
            (3104, Precision::Q8_0, 0),
            (30, Precision::Q8_0, 2),
        ] {
            assert_eq!(inner_padding(inner, precision), padding, "{inner}");
        }
    }
}
