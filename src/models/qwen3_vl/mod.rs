//! Qwen3-VL on Candle: from a prepared page to tokens.
//!
//! Written from the reference implementation, `models/qwen3_vl` of transformers 5.23, and held to its output by
//! `tests/model/parity.rs`. This is the only code that knows tensors. Sequences have no batch dimension: `(tokens, hidden)`
//! in the decoder, `(patches, hidden)` in the vision tower, `(heads, tokens, head_dim)` in attention.

pub mod config;
pub mod patches;
pub mod positions;
pub mod text;
pub mod vision;

use std::{path::Path, sync::Arc};

use anyhow::Result;
use candle_core::Device;

use self::{config::Config, text::TextModel, vision::VisionTower};
use crate::{
    generation::{kv_cache::KvCache, readback::Inbox, tokenizer::ChatTokenizer},
    nn::{precision::Precision, quantized::QuantizedFile, weights::Weights},
};

/// A model that is ready to read.
pub struct QwenVl {
    /// What the folder's JSON files say.
    pub config: Config,
    /// Makes prompts and decodes answers.
    pub tokenizer: Arc<ChatTokenizer>,
    /// Pixels to embeddings.
    pub vision: Arc<VisionTower>,
    /// Embeddings to logits.
    pub text: Arc<TextModel>,
    /// Whether the decoder goes on with a token before the host has read it. It changes no answer, and pays where the
    /// device works on its own.
    pub runs_ahead: bool,
    pub(crate) inbox: Inbox,
    /// Of answers that are done, for those to come.
    pub(crate) spare: Vec<KvCache>,
    pub(crate) device: Device,
    pub(crate) precision: Precision,
}

impl QwenVl {
    /// Loads the model in `folder`, in the published layout, to `device`, in `precision`.
    ///
    /// # Errors
    /// A file is missing or damaged, or the files don't fit each other; the error names the tensor or field.
    pub fn load(folder: &Path, device: &Device, precision: impl Into<Precision>) -> Result<Self> {
        Self::load_with(folder, device, precision.into(), None)
    }

    /// As [`load`](Self::load), with quantized weights taken from `quantized`, and kept there if they are not yet.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(
        folder: &Path,
        device: &Device,
        precision: Precision,
        quantized: Option<QuantizedFile>,
    ) -> Result<Self> {
        let config = Config::read(folder)?;
        let tokenizer = ChatTokenizer::open(folder, &config)?;
        let weights = Weights::open(folder, device, precision, quantized)?;
        let model = Self {
            vision: Arc::new(VisionTower::load(&weights, &config.vision)?),
            text: Arc::new(TextModel::load(&weights, &config.text)?),
            runs_ahead: device.is_cuda(),
            inbox: Inbox::default(),
            spare: Vec::new(),
            config,
            tokenizer: Arc::new(tokenizer),
            device: device.clone(),
            precision,
        };
        weights.keep_quantized();
        Ok(model)
    }

    /// The same model once more, for another thread: it has the same weights in memory, and its own caches.
    #[must_use]
    pub fn share(&self) -> Self {
        Self {
            config: self.config.clone(),
            tokenizer: Arc::clone(&self.tokenizer),
            vision: Arc::clone(&self.vision),
            text: Arc::clone(&self.text),
            runs_ahead: self.runs_ahead,
            inbox: Inbox::default(),
            spare: Vec::new(),
            device: self.device.clone(),
            precision: self.precision,
        }
    }

    /// A cache for one sequence.
    #[must_use]
    pub fn new_cache(&self) -> KvCache {
        let config = &self.config.text;
        let width = config.num_key_value_heads * config.head_dim;
        let dtype = self.precision.cache(&self.device, width);
        KvCache::new(config, &self.device, dtype)
    }
}
