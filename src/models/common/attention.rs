//! Attention of the Qwen2, Qwen3 and Qwen3.5 decoders.

use anyhow::Result;
use candle_core::{Result as CandleResult, Tensor};

use super::{
    config::TextConfig,
    parts::{Mixer, Run},
};
#[cfg(feature = "cuda")]
use crate::nn::cuda::attention::Projected;
use crate::{
    generation::{kv_cache::LayerKind, model::SequenceSlice},
    nn::{
        attention::AttentionArgs,
        gates::{Gate, gated},
        linear::Linear,
        norms::RmsNorm,
        precision::Precision,
        weights::Weights,
    },
};

/// A layer's attention.
pub struct Attention {
    /// Queries, keys and values, side by side. With a gate, each head's queries come with it.
    qkv: Linear,
    out: Linear,
    /// Of queries and of keys, each head by itself.
    norms: Option<(RmsNorm, RmsNorm)>,
    /// Whether the output is gated.
    gated: bool,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    precision: Precision,
}

impl Attention {
    /// Takes the tensors under `name`.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape than `config` says.
    pub fn load(weights: &Weights, name: &str, config: &TextConfig) -> Result<Self> {
        let (hidden, head_dim) = (config.hidden_size, config.head_dim);
        let (out_size, kv_size) = (
            config.num_attention_heads * head_dim,
            config.num_key_value_heads * head_dim,
        );
        let q_size = if config.traits.output_gate {
            2 * out_size
        } else {
            out_size
        };
        let part = |part: &str| format!("{name}.{part}_proj");
        let norm = |part| config.norm(weights, &format!("{name}.{part}"), head_dim);
        Ok(Self {
            qkv: Linear::load_fused(
                weights,
                &[
                    (&part("q"), q_size),
                    (&part("k"), kv_size),
                    (&part("v"), kv_size),
                ],
                hidden,
                config.biases.qkv,
                weights.precision().of_attention(),
            )?,
            out: Linear::load(weights, &part("o"), out_size, hidden, config.biases.out)?,
            norms: if config.traits.qk_norm {
                Some((norm("q_norm")?, norm("k_norm")?))
            } else {
                None
            },
            gated: config.traits.output_gate,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim,
            precision: weights.precision(),
        })
    }
}

impl Mixer for Attention {
    fn forward(
        &self,
        x: &Tensor,
        run: &Run,
        layer: usize,
        _: &mut [SequenceSlice],
    ) -> CandleResult<Tensor> {
        let args = AttentionArgs {
            causal: true,
            rope: None,
            precision: self.precision,
        };
        #[cfg(feature = "cuda")]
        if run.spans.has_kernels(x) && !(self.gated && self.qkv.bias().is_some()) {
            let norms = self.norms.as_ref();
            let norms = norms.map(|(q_norm, k_norm)| (q_norm.parts(), k_norm.parts()));
            let projected = Projected {
                qkv: &self.qkv.product(x, run.pass)?,
                bias: self.qkv.bias(),
                norms: norms.map(|(q_norm, k_norm)| (q_norm.0, k_norm.0)),
                eps: norms.map_or(0.0, |(q_norm, _)| q_norm.1),
                rope: &run.rope,
                heads: self.heads,
                gated: self.gated,
            };
            let attended = run.spans.attend_projected(layer, &projected, args)?;
            return self.out.forward(&attended, run.pass);
        }
        let (rows, head_dim) = (x.dim(0)?, self.head_dim);
        // A gate lies behind each head's queries.
        let per_head = if self.gated { 2 } else { 1 };
        let qkv = self.qkv.forward(x, run.pass)?.reshape((
            rows,
            per_head * self.heads + 2 * self.kv_heads,
            head_dim,
        ))?;
        let part = |start, heads| qkv.narrow(1, start, heads);
        let (keys, values) = (per_head * self.heads, per_head * self.heads + self.kv_heads);
        let of_heads = |which| -> CandleResult<Tensor> {
            let all = part(0, keys)?.reshape((rows, self.heads, per_head, head_dim))?;
            all.narrow(2, which, 1)?.squeeze(2)?.contiguous()
        };
        let (mut q, mut k) = (of_heads(0)?, part(keys, self.kv_heads)?.contiguous()?);
        if let Some((q_norm, k_norm)) = &self.norms {
            (q, k) = (q_norm.forward(&q)?, k_norm.forward(&k)?);
        }
        let v = part(values, self.kv_heads)?.contiguous()?.transpose(0, 1)?;
        let q = run.rope.rotate(&q.transpose(0, 1)?)?;
        let k = run.rope.rotate(&k.transpose(0, 1)?)?;
        let mut attended = run.spans.attend(layer, &q, &k, &v, args)?;
        if self.gated {
            attended = gated(&attended, &of_heads(1)?.flatten_from(1)?, Gate::Sigmoid)?;
        }
        self.out.forward(&attended, run.pass)
    }

    fn kind(&self) -> LayerKind {
        LayerKind::Attention
    }
}
