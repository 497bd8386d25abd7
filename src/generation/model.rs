//! The interface of a model to generation.

use anyhow::Result;
use candle_core::{Device, Tensor};
use image::RgbImage;

use super::{
    kv_cache::KvCache,
    tokenizer::{ChatTokenizer, Prompt},
};

/// A model that reads a page: pixels and a prompt in, logits out. It holds nothing of any sequence, so threads may share it.
pub trait VisionLanguageModel: Send + Sync {
    /// Runs the vision tower and the prompt into `cache`, which it empties first. At most `max_new_tokens` follow them.
    ///
    /// # Errors
    /// The page does not fit the model's patches or context, or the device fails.
    fn prefill(
        &self,
        page: &RgbImage,
        prompt: &Prompt,
        max_new_tokens: usize,
        cache: &mut KvCache,
    ) -> Result<Prefilled>;

    /// Runs the next tokens of several sequences and appends them to their caches. Each weight is read once for all of them.
    ///
    /// `tokens` is `(tokens)`, u32 on the model's [device](Self::device): those of the first slice, those of the second, and
    /// so on. Returns the logits of what follows each, `(tokens, vocab)`, on the device and in the type of activations.
    ///
    /// # Errors
    /// The device fails. Then the caches are of no use.
    fn forward(&self, tokens: &Tensor, slices: &mut [SequenceSlice]) -> Result<Tensor>;

    /// Whether it has a head of its own that drafts.
    fn has_draft_head(&self) -> bool;

    /// What may follow several answers, as the model's own head drafts it, in the order of `slices`. It never changes what
    /// [`forward`](Self::forward) computes of these or other sequences.
    ///
    /// # Errors
    /// The device fails, or there is no such head.
    fn draft(&self, slices: &mut [DraftSlice]) -> Result<Vec<Vec<u32>>>;

    /// Makes prompts and decodes answers.
    fn tokenizer(&self) -> &ChatTokenizer;

    /// Any of these tokens ends an answer.
    fn eos_token_ids(&self) -> &[u32];

    /// A cache for one sequence.
    fn new_cache(&self) -> KvCache;

    /// Where the model is.
    fn device(&self) -> &Device;
}

/// The tokens of one sequence among those that go through the decoder together.
pub struct SequenceSlice<'a> {
    /// How many they are.
    pub tokens: usize,
    /// Position of the first of them, counted as in [`Prefilled::next`].
    pub position: u32,
    /// What came before them in their sequence; they are appended.
    pub cache: &'a mut KvCache,
}

/// An answer that the model's own head goes on with.
pub struct DraftSlice<'a> {
    /// Its tokens so far; the decoder has seen all but the last.
    pub tokens: &'a [u32],
    /// Position of the first of them, counted as in [`Prefilled::next`].
    pub first: u32,
    /// How many tokens to draft, at least one.
    pub count: usize,
    /// What the model has kept of the sequence.
    pub cache: &'a mut KvCache,
}

/// Where a sequence stands after prefill.
pub struct Prefilled {
    /// Logits of the next token, `(1, vocab)`.
    pub logits: Tensor,
    /// Position of the next token; the ones after it count up from here.
    pub next: u32,
    /// How many more tokens the model's context and the budget have room for.
    pub room: usize,
    /// Tokens of the prompt, those of the image included.
    pub prompt_tokens: usize,
    /// Tokens of the image.
    pub image_tokens: usize,
}
