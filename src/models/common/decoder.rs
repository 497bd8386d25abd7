//! The Qwen2 and Qwen3 decoders, all of attention layers: embeddings in, hidden states or logits out.

use anyhow::Result;
use candle_core::{Device, Result as CandleResult, Tensor};
use rayon::prelude::*;

use super::{
    config::TextConfig,
    parts::{Decoder, Deepstack},
    positions::{Position, TextRope},
};
use crate::{
    generation::{kv_cache::KvCache, model::SequenceSlice},
    nn::{
        attention::{AttentionArgs, attend},
        linear::Linear,
        matrix::Matrix,
        mlp::Mlp,
        norms::RmsNorm,
        precision::Precision,
        rope::RopeTables,
        weights::Weights,
    },
};

/// The decoder.
pub struct AttentionDecoder {
    /// `(vocab, hidden)`.
    embeddings: Matrix,
    layers: Vec<Layer>,
    norm: RmsNorm,
    lm_head: Linear,
    rope: TextRope,
    kv_heads: usize,
    head_dim: usize,
    precision: Precision,
    device: Device,
}

impl AttentionDecoder {
    /// Takes the tensors under `prefix`, and `lm_head.weight` unless it is tied to the embeddings.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape than `config` says.
    pub fn load(weights: &Weights, prefix: &str, config: &TextConfig) -> Result<Self> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let embeddings = weights.matrix(
            &[(format!("{prefix}.embed_tokens.weight"), vocab)],
            hidden,
            weights.precision(),
        )?;
        let lm_head = if config.tie_word_embeddings {
            Linear::new(embeddings.clone(), None)
        } else {
            Linear::load(weights, "lm_head", hidden, vocab, false)?
        };
        let layer = |i| Layer::load(weights, &format!("{prefix}.layers.{i}"), config);
        Ok(Self {
            embeddings,
            layers: (0..config.num_hidden_layers)
                .into_par_iter()
                .map(layer)
                .collect::<Result<_>>()?,
            norm: RmsNorm::load(
                weights,
                &format!("{prefix}.norm"),
                hidden,
                config.rms_norm_eps,
            )?,
            lm_head,
            rope: TextRope::new(
                config.rope_theta,
                config.head_dim,
                config.mrope_section,
                config.sections,
            ),
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            precision: weights.precision(),
            device: weights.device().clone(),
        })
    }
}

impl Decoder for AttentionDecoder {
    fn embed(&self, tokens: &Tensor) -> CandleResult<Tensor> {
        self.embeddings.rows(tokens)
    }

    fn forward(
        &self,
        x: &Tensor,
        positions: &[Position],
        deepstack: Option<&Deepstack>,
        cache: &mut KvCache,
        each_layer: &mut dyn FnMut(&Tensor),
    ) -> CandleResult<Tensor> {
        let rope = self.rope.tables(positions, x.device(), x.dtype())?;
        let mut slices = [SequenceSlice {
            tokens: positions.len(),
            // Not looked at: `positions` says more.
            position: 0,
            cache,
        }];
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &rope, i, &mut slices)?;
            if let Some((start, feature)) =
                deepstack.and_then(|deep| Some((deep.start, deep.features.get(i)?)))
            {
                x = add_at(&x, start, feature)?;
            }
            each_layer(&x);
        }
        cache.advance(positions.len());
        Ok(x)
    }

    fn forward_together(
        &self,
        x: &Tensor,
        positions: &[Position],
        slices: &mut [SequenceSlice],
    ) -> CandleResult<Tensor> {
        let rope = self.rope.tables(positions, x.device(), x.dtype())?;
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &rope, i, slices)?;
        }
        for slice in slices {
            slice.cache.advance(slice.tokens);
        }
        Ok(x)
    }

    fn logits(&self, hidden: &Tensor) -> CandleResult<Tensor> {
        self.lm_head.forward(&self.norm.forward(hidden)?)
    }

    fn new_cache(&self) -> KvCache {
        let (kv_heads, head_dim) = (self.kv_heads, self.head_dim);
        let dtype = self.precision.cache(&self.device, kv_heads * head_dim);
        KvCache::new(self.layers.len(), kv_heads, head_dim, &self.device, dtype)
    }
}

/// `x` with `addend` added to its rows from `start` on.
fn add_at(x: &Tensor, start: usize, addend: &Tensor) -> CandleResult<Tensor> {
    let (rows, count) = (x.dim(0)?, addend.dim(0)?);
    let end = start + count;
    let middle = (x.narrow(0, start, count)? + addend)?;
    Tensor::cat(
        &[
            &x.narrow(0, 0, start)?,
            &middle,
            &x.narrow(0, end, rows - end)?,
        ],
        0,
    )
}

struct Layer {
    input_norm: RmsNorm,
    attention: Attention,
    post_attention_norm: RmsNorm,
    mlp: Mlp,
}

impl Layer {
    fn load(weights: &Weights, name: &str, config: &TextConfig) -> Result<Self> {
        let (hidden, inner, eps) = (
            config.hidden_size,
            config.intermediate_size,
            config.rms_norm_eps,
        );
        Ok(Self {
            input_norm: RmsNorm::load(weights, &format!("{name}.input_layernorm"), hidden, eps)?,
            attention: Attention::load(weights, &format!("{name}.self_attn"), config)?,
            post_attention_norm: RmsNorm::load(
                weights,
                &format!("{name}.post_attention_layernorm"),
                hidden,
                eps,
            )?,
            mlp: Mlp::load_gated(weights, &format!("{name}.mlp"), hidden, inner, false)?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        rope: &RopeTables,
        layer: usize,
        slices: &mut [SequenceSlice],
    ) -> CandleResult<Tensor> {
        let x = (x + self
            .attention
            .forward(&self.input_norm.forward(x)?, rope, layer, slices)?)?;
        let normed = self.post_attention_norm.forward(&x)?;
        x + self.mlp.forward(&normed)?
    }
}

struct Attention {
    /// Queries, keys and values, side by side.
    qkv: Linear,
    out: Linear,
    /// Of queries and of keys, each head by itself.
    norms: Option<(RmsNorm, RmsNorm)>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    precision: Precision,
}

impl Attention {
    fn load(weights: &Weights, name: &str, config: &TextConfig) -> Result<Self> {
        let (hidden, head_dim) = (config.hidden_size, config.head_dim);
        let (q_size, kv_size) = (
            config.num_attention_heads * head_dim,
            config.num_key_value_heads * head_dim,
        );
        let part = |part: &str| format!("{name}.{part}_proj");
        let norm = |part| {
            RmsNorm::load(
                weights,
                &format!("{name}.{part}"),
                head_dim,
                config.rms_norm_eps,
            )
        };
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
            out: Linear::load(weights, &part("o"), q_size, hidden, config.biases.out)?,
            norms: if config.qk_norm {
                Some((norm("q_norm")?, norm("k_norm")?))
            } else {
                None
            },
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim,
            precision: weights.precision(),
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        rope: &RopeTables,
        layer: usize,
        slices: &mut [SequenceSlice],
    ) -> CandleResult<Tensor> {
        let qkv = self.qkv.forward(x)?.reshape((
            x.dim(0)?,
            self.heads + 2 * self.kv_heads,
            self.head_dim,
        ))?;
        let part = |start, heads| qkv.narrow(1, start, heads)?.contiguous();
        let (mut q, mut k) = (part(0, self.heads)?, part(self.heads, self.kv_heads)?);
        if let Some((q_norm, k_norm)) = &self.norms {
            (q, k) = (q_norm.forward(&q)?, k_norm.forward(&k)?);
        }
        let v = part(self.heads + self.kv_heads, self.kv_heads)?.transpose(0, 1)?;
        let q = rope.rotate(&q.transpose(0, 1)?)?;
        let k = rope.rotate(&k.transpose(0, 1)?)?;
        let args = AttentionArgs {
            causal: true,
            rope: None,
            precision: self.precision,
        };
        let mut attended = Vec::with_capacity(slices.len());
        let mut start = 0;
        for SequenceSlice { tokens, cache, .. } in slices {
            let own = |x: &Tensor| x.narrow(1, start, *tokens);
            let (k, v) = cache.append(layer, &own(&k)?, &own(&v)?)?;
            attended.push(attend(&own(&q)?, &k, &v, args)?);
            start += *tokens;
        }
        match &*attended {
            [alone] => self.out.forward(alone),
            together => self.out.forward(&Tensor::cat(together, 0)?),
        }
    }
}
