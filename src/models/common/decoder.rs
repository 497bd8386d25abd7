//! Decoders of layers that mix tokens and then work on each by itself: embeddings in, hidden states or logits out.

use anyhow::Result;
use candle_core::{Device, Result as CandleResult, Tensor};
use rayon::prelude::*;

use super::{
    attention::Attention,
    config::TextConfig,
    parts::{Decoder, Deepstack, DraftHead, Mixer, Run},
    positions::{Position, TextRope},
};
use crate::{
    generation::{
        kv_cache::{KvCache, LayerKind},
        model::SequenceSlice,
    },
    nn::{
        linear::Linear, matrix::Matrix, mlp::Mlp, norms::RmsNorm, pass::Pass, precision::Precision,
        weights::Weights,
    },
};

/// The decoder.
pub struct LayeredDecoder {
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
    head: Option<Box<dyn DraftHead>>,
}

impl LayeredDecoder {
    /// Takes the tensors under `prefix`, and `lm_head.weight` unless it is tied to the embeddings. All layers attend.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape than `config` says.
    pub fn load(weights: &Weights, prefix: &str, config: &TextConfig) -> Result<Self> {
        Self::load_mixed(weights, prefix, config, |_, name| {
            let attention = Attention::load(weights, &format!("{name}.self_attn"), config)?;
            Ok(Box::new(attention))
        })
    }

    /// As [`load`](Self::load), with what `mixer` makes of a layer's number and name.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_mixed(
        weights: &Weights,
        prefix: &str,
        config: &TextConfig,
        mixer: impl Fn(usize, &str) -> Result<Box<dyn Mixer>> + Sync,
    ) -> Result<Self> {
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
        let layer = |i| {
            let name = format!("{prefix}.layers.{i}");
            Layer::load(weights, &name, config, mixer(i, &name)?)
        };
        let numbers = (0..config.num_hidden_layers).into_par_iter();
        let mut layers: Vec<Layer> = numbers.map(layer).collect::<Result<_>>()?;
        for i in 0..layers.len() {
            let attends = |layer: &Layer| layer.mixer.kind() == LayerKind::Attention;
            let (before, rest) = layers.split_at_mut(i);
            let alike = before
                .iter()
                .filter(|layer| attends(layer) == attends(&rest[0]));
            rest[0].number = alike.count();
        }
        Ok(Self {
            embeddings,
            layers,
            norm: config.norm(weights, &format!("{prefix}.norm"), hidden)?,
            lm_head,
            rope: config.rope(),
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            precision: weights.precision(),
            device: weights.device().clone(),
            head: None,
        })
    }

    /// The same, with a draft head.
    #[must_use]
    pub fn with_head(self, head: impl DraftHead + 'static) -> Self {
        Self {
            head: Some(Box::new(head)),
            ..self
        }
    }
}

impl Decoder for LayeredDecoder {
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
        let mut slices = [SequenceSlice {
            tokens: positions.len(),
            // Not looked at: `positions` says more.
            position: 0,
            cache,
        }];
        let mut between = |i, mut x| {
            if let Some((start, feature)) =
                deepstack.and_then(|deep| Some((deep.start, deep.features.get(i)?)))
            {
                x = add_at(&x, start, feature)?;
            }
            each_layer(&x);
            Ok(x)
        };
        let between: Between = &mut between;
        self.run(x, positions, &mut slices, Pass::Prefill, Some(between))
    }

    fn forward_together(
        &self,
        x: &Tensor,
        positions: &[Position],
        slices: &mut [SequenceSlice],
    ) -> CandleResult<Tensor> {
        self.run(x, positions, slices, Pass::Decode, None)
    }

    fn states(&self, hidden: &Tensor) -> CandleResult<Tensor> {
        self.norm.forward(hidden)
    }

    fn logits_of(&self, states: &Tensor) -> CandleResult<Tensor> {
        self.lm_head.forward(states, Pass::Decode)
    }

    fn head(&self) -> Option<&dyn DraftHead> {
        self.head.as_deref()
    }

    fn new_cache(&self) -> KvCache {
        let (kv_heads, head_dim) = (self.kv_heads, self.head_dim);
        let dtype = self.precision.cache(&self.device, kv_heads * head_dim);
        let kinds = self.layers.iter().map(|layer| layer.mixer.kind());
        let kinds: Vec<LayerKind> = kinds.collect();
        let cache = KvCache::new(&kinds, kv_heads, head_dim, &self.device, dtype);
        match &self.head {
            Some(_) => cache.with_head(),
            None => cache,
        }
    }
}

/// May change what a layer, counted from 0, hands on.
type Between<'a> = &'a mut dyn FnMut(usize, Tensor) -> CandleResult<Tensor>;

impl LayeredDecoder {
    /// Runs all layers.
    fn run(
        &self,
        x: &Tensor,
        positions: &[Position],
        slices: &mut [SequenceSlice],
        pass: Pass,
        mut between: Option<Between>,
    ) -> CandleResult<Tensor> {
        let rope = self.rope.tables(positions, x.device(), x.dtype())?;
        let run = Run::new(rope, slices, pass)?;
        let (mut x, mut delta) = (x.clone(), None);
        for (i, layer) in self.layers.iter().enumerate() {
            let (hidden, added) = layer.forward(x, delta, &run, slices)?;
            (x, delta) = match &mut between {
                Some(between) => (between(i, (hidden + added)?)?, None),
                None => (hidden, Some(added)),
            };
        }
        if let Some(delta) = delta {
            x = (x + delta)?;
        }
        for slice in slices {
            slice.cache.advance(slice.tokens);
        }
        Ok(x)
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

/// A layer of a decoder.
pub(super) struct Layer {
    input_norm: RmsNorm,
    mixer: Box<dyn Mixer>,
    post_attention_norm: RmsNorm,
    mlp: Mlp,
    /// Which of the layers whose mixers are of this kind it is.
    number: usize,
}

impl Layer {
    pub(super) fn load(
        weights: &Weights,
        name: &str,
        config: &TextConfig,
        mixer: Box<dyn Mixer>,
    ) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let norm = |part: &str| config.norm(weights, &format!("{name}.{part}"), hidden);
        Ok(Self {
            input_norm: norm("input_layernorm")?,
            mixer,
            post_attention_norm: norm("post_attention_layernorm")?,
            mlp: Mlp::load_gated(weights, &format!("{name}.mlp"), hidden, inner, false)?,
            number: 0,
        })
    }

    /// From what the layer before it [returned](Self::forward), or from `x` alone. Returns two tensors: their sum is what the
    /// layer hands on, and the next one adds them up together with its norm.
    pub(super) fn forward(
        &self,
        x: Tensor,
        delta: Option<Tensor>,
        run: &Run,
        slices: &mut [SequenceSlice],
    ) -> CandleResult<(Tensor, Tensor)> {
        let (x, normed) = if let Some(delta) = delta {
            self.input_norm.forward_sum(&x, &delta)?
        } else {
            let normed = self.input_norm.forward(&x)?;
            (x, normed)
        };
        let mixed = self.mixer.forward(&normed, run, self.number, slices)?;
        let (x, normed) = self.post_attention_norm.forward_sum(&x, &mixed)?;
        Ok((x, self.mlp.forward(&normed, run.pass)?))
    }
}
