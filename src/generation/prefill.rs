//! The beginning of an answer: the page and the prompt through the model, up to the first token.

use std::time::Instant;

use anyhow::Result;
use image::RgbImage;

use super::{
    draft::Drafter,
    generator::{GenerateOptions, Generator, on_pool},
    sampler::{Choice, Sampling},
    sequence::Sequence,
    tokenizer::Prompt,
};
use crate::nn::fault::DeviceFault;

impl Generator {
    /// Begins an answer: runs the vision tower and the prompt, up to the first token.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn begin(
        &mut self,
        page: &RgbImage,
        prompt: &Prompt,
        sampling: Sampling,
        options: GenerateOptions,
    ) -> Result<Sequence> {
        let start = Instant::now();
        let model = &*self.model;
        let room = sampling.max_new_tokens;
        let has_spares = self.caches.has_spare_memory();
        let mut cache = self.caches.another();
        let mut prefilled = on_pool(|| model.prefill(page, prompt, room, &mut cache));
        let fault = prefilled.as_ref().err().and_then(DeviceFault::of);
        if has_spares && fault == Some(DeviceFault::OutOfMemory) {
            // What finished answers have left goes before anything is given up.
            cache = self.caches.another();
            self.caches.free_spare_memory();
            prefilled = on_pool(|| model.prefill(page, prompt, room, &mut cache));
        }
        let prefilled = prefilled?;
        let drafter = match options.draft {
            Some(text) if sampling.is_greedy() => {
                let drafter = Drafter::new(model.tokenizer().encode(text)?);
                Some(if model.has_draft_head() {
                    drafter.with_head()
                } else {
                    drafter
                })
            }
            _ => None,
        };
        let mut sequence = Sequence::new(&prefilled, cache, sampling, drafter, options.deadline);
        let choice = if let Some(sampler) = sequence.sampler() {
            sampler.sample(&prefilled.logits.squeeze(0)?)?
        } else {
            Choice::likeliest(&prefilled.logits)?[0]
        };
        sequence.take(&[choice], model.eos_token_ids())?;
        sequence.check_finite()?;
        sequence.prefilled_in(start.elapsed());
        Ok(sequence)
    }
}
