//! What a model is made of, as the [whole](super::model) sees it.

use candle_core::{Result as CandleResult, Tensor};

use super::{patches::Grid, positions::Position};
use crate::{
    generation::{
        kv_cache::{KvCache, LayerKind},
        model::SequenceSlice,
    },
    nn::{attention::spans::Spans, pass::Pass, rope::RopeTables},
};

/// Pixels to embeddings.
pub trait VisionTower: Send + Sync {
    /// `patches` as [`patchify`](super::patches::patchify) makes them, `(patches, channels · patch²)`.
    ///
    /// # Errors
    /// The device fails.
    fn forward(&self, patches: &Tensor, grid: Grid) -> CandleResult<VisionOutput>;
}

/// What the decoder gets to see of a page.
pub struct VisionOutput {
    /// `(image tokens, decoder hidden)`: stands in the place of the image tokens' embeddings.
    pub embeddings: Tensor,
    /// `(image tokens, decoder hidden)` each: feature i is added to the image positions after decoder layer i.
    pub deepstack: Vec<Tensor>,
}

/// Where a page's image tokens lie in a prompt, and what the decoder adds there.
pub struct Deepstack<'a> {
    /// Index of the first image token.
    pub start: usize,
    /// Feature i, `(image tokens, hidden)`, is added after layer i.
    pub features: &'a [Tensor],
}

/// Embeddings to logits.
pub trait Decoder: Send + Sync {
    /// The embeddings of `tokens`, `(tokens)` u32 on the model's device: `(tokens, hidden)`.
    ///
    /// # Errors
    /// The device fails, or there is no such token.
    fn embed(&self, tokens: &Tensor) -> CandleResult<Tensor>;

    /// Runs all layers over a prompt, or a first part of one, and leaves what later tokens need of it in `cache`.
    ///
    /// `x` is `(tokens, hidden)`, `positions` one for each of them. Returns `(tokens, hidden)`, not yet normalised;
    /// `each_layer` sees what every layer hands on.
    ///
    /// # Errors
    /// The device fails.
    fn forward(
        &self,
        x: &Tensor,
        positions: &[Position],
        deepstack: Option<&Deepstack>,
        cache: &mut KvCache,
        each_layer: &mut dyn FnMut(&Tensor),
    ) -> CandleResult<Tensor>;

    /// As [`forward`](Self::forward), for the next tokens of several sequences: those of the first slice, those of the
    /// second, and so on, with `positions` for each. Each weight is read once for all of them.
    ///
    /// # Errors
    /// The device fails.
    fn forward_together(
        &self,
        x: &Tensor,
        positions: &[Position],
        slices: &mut [SequenceSlice],
    ) -> CandleResult<Tensor>;

    /// Normalises what [`forward`](Self::forward) returns: the states, `(tokens, hidden)`.
    ///
    /// # Errors
    /// The device fails.
    fn states(&self, hidden: &Tensor) -> CandleResult<Tensor>;

    /// The logits that follow `states`, `(tokens, vocab)`.
    ///
    /// # Errors
    /// The device fails.
    fn logits_of(&self, states: &Tensor) -> CandleResult<Tensor>;

    /// The logits that follow `hidden` of shape `(tokens, hidden)`, not yet normalised: `(tokens, vocab)`.
    ///
    /// # Errors
    /// The device fails.
    fn logits(&self, hidden: &Tensor) -> CandleResult<Tensor> {
        self.logits_of(&self.states(hidden)?)
    }

    /// What drafts, if it was loaded.
    fn head(&self) -> Option<&dyn DraftHead> {
        None
    }

    /// A cache for one sequence.
    fn new_cache(&self) -> KvCache;
}

/// Layers that predict the token after the next one (multi-token prediction).
pub trait DraftHead: Send + Sync {
    /// From the `embeddings` of tokens and the decoder's `states` of the tokens before them, `(tokens, hidden)` each.
    /// `positions` are those of the tokens, and the caches in `slices` the head's own. Returns states: the decoder makes
    /// [logits](Decoder::logits_of) of them, and the head goes on from them as from the decoder's.
    ///
    /// # Errors
    /// The device fails.
    fn forward(
        &self,
        embeddings: &Tensor,
        states: &Tensor,
        positions: &[Position],
        slices: &mut [SequenceSlice],
    ) -> CandleResult<Tensor>;
}

/// A run of a decoder's layers: what is the same for all of them.
pub struct Run {
    /// Turns queries and keys, a row for each token.
    pub rope: RopeTables,
    /// Where the keys and values of the sequences are.
    pub spans: Spans,
    /// What is run.
    pub pass: Pass,
}

impl Run {
    /// That of the new tokens of `slices`, for which room is made in their caches.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn new(rope: RopeTables, slices: &mut [SequenceSlice], pass: Pass) -> CandleResult<Self> {
        let spans = slices
            .iter_mut()
            .map(|slice| slice.cache.span(slice.tokens));
        Ok(Self {
            rope,
            spans: Spans::new(spans.collect::<CandleResult<_>>()?)?,
            pass,
        })
    }
}

/// What lets the tokens of a decoder's layer see each other.
pub trait Mixer: Send + Sync {
    /// From the tokens of all `slices`, `(tokens, hidden)`; leaves what later ones need of them in their caches, where `layer`
    /// says which of the layers of this [kind](Self::kind) it is. Returns `(tokens, hidden)`.
    ///
    /// # Errors
    /// The device fails.
    fn forward(
        &self,
        x: &Tensor,
        run: &Run,
        layer: usize,
        slices: &mut [SequenceSlice],
    ) -> CandleResult<Tensor>;

    /// What it keeps of tokens.
    fn kind(&self) -> LayerKind;
}
