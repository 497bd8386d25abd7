//! Feed-forward layers.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};

use super::{
    elementwise::{gelu_tanh, quick_gelu, swiglu},
    linear::Linear,
    weights::Weights,
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
        Ok(Self::Gated {
            gate_up: Linear::load_fused(
                weights,
                &[(&part("gate"), inner), (&part("up"), inner)],
                hidden,
                bias,
                weights.precision(),
            )?,
            down: Linear::load(weights, &part("down"), inner, hidden, bias)?,
        })
    }

    /// `(rows, hidden)` → `(rows, hidden)`.
    ///
    /// # Errors
    /// The device fails.
    pub fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        match self {
            Self::Plain {
                up,
                down,
                activation,
            } => {
                let inner = up.forward(x)?;
                down.forward(&match activation {
                    Activation::GeluTanh => gelu_tanh(inner)?,
                    Activation::QuickGelu => quick_gelu(inner)?,
                })
            }
            Self::Gated { gate_up, down } => down.forward(&swiglu(&gate_up.forward(x)?)?),
        }
    }
}
