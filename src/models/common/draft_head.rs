//! A draft head of one layer, which shares the decoder's embeddings and head: DeepSeek-V3's multi-token prediction
//! (arXiv 2412.19437, 2.2), as Qwen3.5 has it.

use anyhow::Result;
use candle_core::{D, Result as CandleResult, Tensor};

use super::{
    attention::Attention,
    config::TextConfig,
    decoder::Layer,
    parts::{DraftHead, Run},
    positions::{Position, TextRope},
};
use crate::{
    generation::model::SequenceSlice,
    nn::{linear::Linear, norms::RmsNorm, pass::Pass, weights::Weights},
};

/// The head.
pub struct LayerHead {
    norm_embedding: RmsNorm,
    norm_state: RmsNorm,
    /// An embedding and a state, side by side, to one row.
    join: Linear,
    layer: Layer,
    norm: RmsNorm,
    rope: TextRope,
}

impl LayerHead {
    /// The tensor that every head has.
    #[must_use]
    pub fn mark(prefix: &str) -> String {
        format!("{prefix}.fc.weight")
    }

    /// Takes the tensors under `prefix`. Where there are several layers, the first one drafts all tokens.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape than `config`, that of the decoder, says.
    pub fn load(weights: &Weights, prefix: &str, config: &TextConfig) -> Result<Self> {
        let width = config.hidden_size;
        let norm = |part| config.norm(weights, &format!("{prefix}.{part}"), width);
        let layer = format!("{prefix}.layers.0");
        let attention = Attention::load(weights, &format!("{layer}.self_attn"), config)?;
        Ok(Self {
            norm_embedding: norm("pre_fc_norm_embedding")?,
            norm_state: norm("pre_fc_norm_hidden")?,
            join: Linear::load(weights, &format!("{prefix}.fc"), 2 * width, width, false)?,
            layer: Layer::load(weights, &layer, config, Box::new(attention))?,
            norm: norm("norm")?,
            rope: config.rope(),
        })
    }
}

impl DraftHead for LayerHead {
    fn forward(
        &self,
        embeddings: &Tensor,
        states: &Tensor,
        positions: &[Position],
        slices: &mut [SequenceSlice],
    ) -> CandleResult<Tensor> {
        let rope = self
            .rope
            .tables(positions, embeddings.device(), embeddings.dtype())?;
        let joined = Tensor::cat(
            &[
                self.norm_embedding.forward(embeddings)?,
                self.norm_state.forward(states)?,
            ],
            D::Minus1,
        )?;
        let joined = self.join.forward(&joined, Pass::Decode)?;
        let run = Run::new(rope, slices, Pass::Decode)?;
        let (x, delta) = self.layer.forward(joined, None, &run, slices)?;
        for slice in slices {
            slice.cache.advance(slice.tokens);
        }
        Ok(self.norm.forward_sum(&x, &delta)?.1)
    }
}
