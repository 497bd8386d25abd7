//! Generates answers: pages in, answers out, one at a time or in a batch.

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use image::RgbImage;

use super::{
    kv_cache::KvCache,
    model::VisionLanguageModel,
    readback::AsyncReadback,
    sampler::Sampling,
    sequence::{Ending, Generated, Sequence},
    tokenizer::{ChatTokenizer, Prompt},
};

/// Options that never change an answer, up to rounding in bf16, f16 and on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GenerateOptions<'a> {
    /// Source of draft tokens: the known text of the page. Greedy answers are drafted from it, from themselves, and by the
    /// model's own head if it was loaded with one. Without it there are no drafts.
    pub draft: Option<&'a str>,
    /// Deadline, checked before each step of the decoder.
    pub deadline: Option<Instant>,
}

/// Generates answers with one model, for one thread.
pub struct Generator {
    /// Whether the decoder goes on with a token before the host has read it. It changes no answer, and pays where the
    /// device works on its own.
    pub pipelined: bool,
    pub(super) model: Arc<dyn VisionLanguageModel>,
    pub(super) readback: AsyncReadback,
    /// Makes the caches of answers, and keeps the memory of those that have ended for the next.
    pub(super) caches: KvCache,
}

impl Generator {
    /// Generates with `model`, pipelined where that pays.
    #[must_use]
    pub fn new(model: Arc<dyn VisionLanguageModel>) -> Self {
        Self {
            pipelined: model.device().is_cuda(),
            readback: AsyncReadback::default(),
            caches: model.new_cache(),
            model,
        }
    }

    /// The same model once more, for another thread: it has the same weights in memory, and its own caches.
    #[must_use]
    pub fn share(&self) -> Self {
        Self {
            pipelined: self.pipelined,
            model: Arc::clone(&self.model),
            readback: AsyncReadback::default(),
            caches: self.model.new_cache(),
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &dyn VisionLanguageModel {
        &*self.model
    }

    /// Makes prompts and decodes answers.
    #[must_use]
    pub fn tokenizer(&self) -> &ChatTokenizer {
        self.model.tokenizer()
    }

    /// Answers `prompt` about `page`, whose sides are multiples of what the model's patches ask for.
    ///
    /// # Errors
    /// The page does not fit the model's patches or context, the deadline passes
    /// ([`OutOfTime`](super::sequence::OutOfTime)), the model's numbers are not finite
    /// ([`NotFinite`](super::sampler::NotFinite)), or the device fails.
    pub fn generate(
        &mut self,
        page: &RgbImage,
        prompt: &Prompt,
        sampling: Sampling,
        options: GenerateOptions,
    ) -> Result<Generated> {
        let mut sequence = self.begin(page, prompt, sampling, options)?;
        loop {
            if let Some(ending) = sequence.ending() {
                return Ok(self.finish(sequence, ending));
            }
            sequence.check()?;
            self.reserve(&mut sequence)?;
            self.advance(&mut [&mut sequence])?;
        }
    }

    /// Makes room in the cache of `sequence` for what its next step can add.
    ///
    /// # Errors
    /// There is not enough memory, even without that of finished answers. The sequence can still go on once there is.
    pub fn reserve(&mut self, sequence: &mut Sequence) -> Result<()> {
        let reserved = sequence.reserve();
        if reserved.is_err() && self.caches.has_spare_memory() {
            self.caches.free_spare_memory();
            return sequence.reserve();
        }
        reserved
    }

    /// The answer of a sequence that has ended so.
    pub fn finish(&mut self, sequence: Sequence, ending: Ending) -> Generated {
        sequence.into_generated(ending)
    }
}

/// Runs `work` on a thread of the rayon pool. Any other thread would be put to sleep and woken for each of a page's thousands
/// of products.
pub(super) fn on_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}
