//! Linear attention: a gated DeltaNet between its projections.

use anyhow::Result;
use candle_core::{DType, Result as CandleResult, Tensor};

use super::config::LinearConfig;
use crate::{
    generation::{
        kv_cache::LayerKind,
        model::SequenceSlice,
        recurrent::{RecurrentShape, RecurrentState},
    },
    models::common::parts::{Mixer, Run},
    nn::{
        delta_net::DeltaRun,
        gates::{Gate, gated},
        linear::Linear,
        norms::RmsNorm,
        weights::Weights,
    },
};

/// A layer's linear attention.
pub struct LinearAttention {
    /// Queries, keys and values before the convolution, then what makes the share β and the decay, side by side.
    mixed: Linear,
    /// What gates the output.
    gate: Linear,
    /// `(kernel, channels)`, in f32 as all that follows up to the output.
    conv: Tensor,
    /// `−exp(A)` of each value head.
    rate: Tensor,
    /// Of each value head.
    dt_bias: Tensor,
    norm: RmsNorm,
    out: Linear,
    config: LinearConfig,
}

impl LinearAttention {
    /// Takes the tensors under `name`, for a decoder of width `hidden`.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape than `config` says.
    pub fn load(
        weights: &Weights,
        name: &str,
        hidden: usize,
        config: LinearConfig,
        eps: f64,
    ) -> Result<Self> {
        let (channels, values, heads) = (config.channels(), config.values(), config.value_heads);
        let part = |part: &str| format!("{name}.in_proj_{part}");
        let conv = [channels, 1, config.kernel];
        let conv = weights.get_f32(&format!("{name}.conv1d.weight"), &conv)?;
        let of_heads = |part: &str| weights.get_f32(&format!("{name}.{part}"), &[heads]);
        Ok(Self {
            // As with queries, keys and values of attention: few of the weights, and most of the say.
            mixed: Linear::load_fused(
                weights,
                &[
                    (&part("qkv"), channels),
                    (&part("b"), heads),
                    (&part("a"), heads),
                ],
                hidden,
                false,
                weights.precision().of_attention(),
            )?,
            gate: Linear::load(weights, &part("z"), hidden, values, false)?,
            conv: conv.squeeze(1)?.t()?.contiguous()?,
            rate: of_heads("A_log")?.exp()?.neg()?,
            dt_bias: of_heads("dt_bias")?,
            norm: RmsNorm::load_f32(weights, &format!("{name}.norm"), config.value_dim, eps)?,
            out: Linear::load(weights, &format!("{name}.out_proj"), values, hidden, false)?,
            config,
        })
    }

    /// What new tokens of one sequence read of its `state`, `(tokens, values)`: `qkv` is `(tokens, channels)`, `decay` and
    /// `beta` are `(tokens, heads)`.
    fn read(
        &self,
        state: &mut RecurrentState,
        qkv: &Tensor,
        decay: Tensor,
        beta: Tensor,
        undoable: bool,
    ) -> CandleResult<Tensor> {
        let config = &self.config;
        let qkv = state.convolve(qkv, &self.conv, undoable)?;
        let heads = |start, heads: usize, size: usize| {
            qkv.narrow(1, start, heads * size)?
                .reshape(((), heads, size))
        };
        let keys = config.keys();
        let q = heads(0, config.key_heads, config.key_dim)?;
        let k = heads(keys, config.key_heads, config.key_dim)?;
        let v = heads(2 * keys, config.value_heads, config.value_dim)?;
        state.advance(DeltaRun::new(&q, &k, v, decay, beta)?)
    }
}

impl Mixer for LinearAttention {
    fn forward(
        &self,
        x: &Tensor,
        run: &Run,
        layer: usize,
        slices: &mut [SequenceSlice],
    ) -> CandleResult<Tensor> {
        let LinearConfig {
            value_heads: heads,
            value_dim,
            ..
        } = self.config;
        let (rows, channels) = (x.dim(0)?, self.config.channels());
        let mixed = self.mixed.forward(x, run.pass)?.to_dtype(DType::F32)?;
        let beta = candle_nn::ops::sigmoid(&mixed.narrow(1, channels, heads)?)?;
        let a = mixed.narrow(1, channels + heads, heads)?;
        let decay = softplus(&a.broadcast_add(&self.dt_bias)?)?.broadcast_mul(&self.rate)?;
        let mut reads = Vec::with_capacity(slices.len());
        let mut start = 0;
        for SequenceSlice { tokens, cache, .. } in slices {
            let own = |x: &Tensor| x.narrow(0, start, *tokens);
            let qkv = own(&mixed)?.narrow(1, 0, channels)?;
            // Nothing is drafted before the prompt.
            let undoable = !cache.is_empty();
            let state = cache.recurrent(layer)?;
            reads.push(self.read(state, &qkv, own(&decay)?, own(&beta)?, undoable)?);
            start += *tokens;
        }
        let read = match &*reads {
            [alone] => alone.clone(),
            together => Tensor::cat(together, 0)?,
        };
        let by_head = |x: &Tensor| x.reshape((rows * heads, value_dim));
        let gate = by_head(&self.gate.forward(x, run.pass)?.to_dtype(DType::F32)?)?;
        let gated = gated(&self.norm.forward(&by_head(&read)?)?, &gate, Gate::Silu)?;
        let gated = gated.reshape((rows, heads * value_dim))?;
        self.out.forward(&gated.to_dtype(x.dtype())?, run.pass)
    }

    fn kind(&self) -> LayerKind {
        LayerKind::Recurrent(RecurrentShape {
            channels: self.config.channels(),
            kernel: self.config.kernel,
            heads: self.config.value_heads,
            key_dim: self.config.key_dim,
            value_dim: self.config.value_dim,
        })
    }
}

/// `ln(1 + eˣ)`, of any x.
fn softplus(x: &Tensor) -> CandleResult<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}
