//! The whole model: from a page and a prompt to logits.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use image::RgbImage;

use super::{
    config::CommonConfig,
    drafting,
    parts::{Decoder, Deepstack, VisionTower},
    patches::patchify,
    positions::{Position, prompt_positions},
};
use crate::{
    generation::{
        kv_cache::KvCache,
        model::{DraftSlice, Prefilled, SequenceSlice, VisionLanguageModel},
        tokenizer::{ChatTokenizer, ModelTokens, Prompt},
    },
    nn::{alloc, precision::Precision, quantized::QuantizedFile, weights::Weights},
};

/// Name of the token that stands for one merged patch.
const IMAGE_TOKEN: &str = "<|image_pad|>";

/// Tokens of an answer that the cache has room for when it begins. Most answers are shorter than what they may be, so that
/// much is not kept for each of them.
const FIRST_ROOM: usize = 512;

/// Bytes of freed memory that are kept for a CPU's next results: about what a layer of a large vision tower takes for a page of a
/// megapixel.
const KEPT_BYTES: usize = 256 << 20;

/// A model that is ready to read.
pub struct QwenVl {
    /// What the folder's JSON files say, as far as every family says it.
    pub config: CommonConfig,
    /// Makes prompts and decodes answers.
    pub tokenizer: ChatTokenizer,
    /// Pixels to embeddings.
    pub vision: Box<dyn VisionTower>,
    /// Embeddings to logits.
    pub text: Box<dyn Decoder>,
    device: Device,
    precision: Precision,
}

/// Where a model's files are, and where and as what it is to be kept in memory.
pub struct Source<'a> {
    /// In the published layout.
    pub folder: &'a Path,
    /// Where it runs.
    pub device: &'a Device,
    /// What the weights are kept in.
    pub precision: Precision,
    /// Quantized weights are taken from here, and kept there if they are not yet.
    pub quantized: Option<QuantizedFile>,
    /// Whether its draft head is loaded too, which must be there then.
    pub draft_head: bool,
}

impl QwenVl {
    /// Loads the model in `source`, whose tower and decoder `parts` takes from the weights.
    ///
    /// # Errors
    /// A file is missing or damaged, or the files don't fit each other; the error names the tensor or field.
    pub fn load(
        source: Source,
        config: CommonConfig,
        parts: impl FnOnce(&Weights) -> Result<(Box<dyn VisionTower>, Box<dyn Decoder>)>,
    ) -> Result<Self> {
        let Source {
            folder,
            device,
            precision,
            quantized,
            draft_head: _,
        } = source;
        let tokens = ModelTokens {
            image_token: IMAGE_TOKEN,
            image_token_id: config.image_token_id,
            vocab_size: config.vocab_size,
        };
        let tokenizer = ChatTokenizer::open(folder, tokens)?;
        let weights = Weights::open(folder, device, precision, quantized)?;
        let (vision, text) = parts(&weights)?;
        weights.keep_quantized();
        if device.is_cpu() {
            alloc::keep_freed(KEPT_BYTES);
        }
        Ok(Self {
            config,
            tokenizer,
            vision,
            text,
            device: device.clone(),
            precision,
        })
    }
}

impl VisionLanguageModel for QwenVl {
    fn prefill(
        &self,
        page: &RgbImage,
        prompt: &Prompt,
        max_new_tokens: usize,
        cache: &mut KvCache,
    ) -> Result<Prefilled> {
        let activations = self.precision.activations();
        let patch_settings = &self.config.patches;
        let (patches, grid) = patchify(page, patch_settings, &self.device, activations)?;
        let merged = grid.merged(patch_settings.merge_size);
        let tokens = prompt.tokens(merged.len());
        let context = self.config.max_position_embeddings;
        ensure!(
            tokens.len() < context,
            "the page and its prompt are {} tokens, but the model holds {context}; lower --max-pixels",
            tokens.len()
        );
        let room = max_new_tokens.min(context - tokens.len());
        let positions = prompt_positions(&tokens, self.config.image_token_id, &[merged])?;
        let vision = self
            .vision
            .forward(&patches, grid)
            .context("vision tower")?;

        let start = prompt.image_start();
        let text = self.text.embed(&Tensor::new(&*tokens, &self.device)?)?;
        let after = start + merged.len();
        let embeddings = Tensor::cat(
            &[
                &text.narrow(0, 0, start)?,
                &vision.embeddings,
                &text.narrow(0, after, tokens.len() - after)?,
            ],
            0,
        )?;
        cache.reset(tokens.len() + room.min(FIRST_ROOM))?;
        let deepstack = Deepstack {
            start,
            features: &vision.deepstack,
        };
        let hidden = self.text.forward(
            &embeddings,
            &positions.tokens,
            Some(&deepstack),
            cache,
            &mut |_| (),
        )?;
        drafting::prefill(&*self.text, &embeddings, &positions.tokens, &hidden, cache)?;
        // Only the last token's logits are wanted; for all of them the product would cost as much as several layers.
        let logits = self.text.logits(&hidden.narrow(0, tokens.len() - 1, 1)?)?;
        Ok(Prefilled {
            logits,
            next: positions.next,
            room,
            prompt_tokens: tokens.len(),
            image_tokens: merged.len(),
        })
    }

    fn forward(&self, tokens: &Tensor, slices: &mut [SequenceSlice]) -> Result<Tensor> {
        let x = self.text.embed(tokens)?;
        // Text has the same position on all three axes.
        let of_slice =
            |slice: &SequenceSlice| (slice.position..).take(slice.tokens).map(|p| [p; 3]);
        let positions: Vec<Position> = slices.iter().flat_map(of_slice).collect();
        let hidden = self.text.forward_together(&x, &positions, slices)?;
        let states = self.text.states(&hidden)?;
        drafting::keep(&states, slices)?;
        Ok(self.text.logits_of(&states)?)
    }

    fn has_draft_head(&self) -> bool {
        self.text.head().is_some()
    }

    fn draft(&self, slices: &mut [DraftSlice]) -> Result<Vec<Vec<u32>>> {
        drafting::draft(&*self.text, &self.device, slices)
    }

    fn tokenizer(&self) -> &ChatTokenizer {
        &self.tokenizer
    }

    fn eos_token_ids(&self) -> &[u32] {
        &self.config.eos_token_ids
    }

    fn new_cache(&self) -> KvCache {
        self.text.new_cache()
    }

    fn device(&self) -> &Device {
        &self.device
    }
}
