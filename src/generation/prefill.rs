//! Pages through the model: prefill, then token after token until an end.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use candle_core::Tensor;
use image::RgbImage;

use super::{draft::Drafter, kv_cache::KvCache, sequence::Sequence, tokenizer::Prompt};
use crate::models::qwen3_vl::{
    QwenVl, patches::patchify, positions::prompt_positions, text::Deepstack,
};

/// How tokens are chosen and when to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// At most this many tokens are written.
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token.
    pub temperature: f64,
    /// Every page starts from this seed, so that its text does not depend on the pages before it.
    pub seed: u64,
}

/// What changes nothing about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Help<'a> {
    /// What the page is known to say, as far as it is: greedy answers are guessed from it and from themselves. Without it
    /// there are no guesses.
    pub draft: Option<&'a str>,
    /// When there is no more time; looked at before each run of the decoder.
    pub deadline: Option<Instant>,
}

/// Steps of temperature. A second look at a page whose answer looped or was cut off is one step above that of the run, or
/// above the first one if the run is greedier than that: at 0.1 a model that loops goes on looping.
const STEPS: [f64; 3] = [0.1, 0.3, 0.6];

impl Sampling {
    /// Whether the likeliest token is taken.
    #[must_use]
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// For another answer than the one that these gave.
    #[must_use]
    pub fn raised(self) -> Self {
        let from = self.temperature.max(STEPS[0]);
        let raised = STEPS.into_iter().find(|&step| step > from);
        Self {
            temperature: raised.unwrap_or(self.temperature),
            seed: self.seed.wrapping_add(1),
            ..self
        }
    }
}

/// The deadline passed before the answer was whole.
#[derive(Debug)]
pub struct OutOfTime;

impl fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the model took too long; give it more time with --page-timeout")
    }
}

impl std::error::Error for OutOfTime {}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The model wrote an end-of-sequence token.
    Stop,
    /// The token budget or the model's context was used up.
    Length,
    /// The model wrote the same thing over and over; only the first time is kept.
    Repetition,
}

/// What the model wrote, and what that took.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The tokens, without the one that ended them.
    pub tokens: Vec<u32>,
    /// Why there are no more.
    pub ending: Ending,
    /// Tokens of the prompt, those of the image included.
    pub prompt_tokens: usize,
    /// Tokens of the image.
    pub image_tokens: usize,
    /// How often the decoder ran, the prompt included.
    pub forward_passes: usize,
    /// Tokens that were guessed before the decoder wrote them.
    pub draft_accepted: usize,
    /// Vision tower and prompt, up to the first token.
    pub prefill: Duration,
    /// The tokens after the first.
    pub decode: Duration,
}

/// Where a sequence stands after prefill.
pub struct Prefilled {
    /// Logits of the next token, `(1, vocab)`.
    pub logits: Tensor,
    /// Position of the next token.
    pub next: u32,
    /// How many more tokens there is room for.
    pub room: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the image.
    pub image_tokens: usize,
}

impl QwenVl {
    /// Answers `prompt` about `image`, whose sides are multiples of the patch size times the merge size.
    ///
    /// # Errors
    /// The image does not fit the patch grid or the model's context, the deadline passes ([`OutOfTime`]), or the device
    /// fails.
    pub fn generate(
        &mut self,
        image: &RgbImage,
        prompt: &Prompt,
        sampling: Sampling,
        help: Help,
    ) -> Result<Generated> {
        let mut sequence = self.begin(image, prompt, sampling, help)?;
        loop {
            if let Some(ending) = sequence.ending() {
                return Ok(self.finish(sequence, ending));
            }
            sequence.check_deadline()?;
            self.advance(&mut [&mut sequence])?;
        }
    }

    /// Begins an answer: runs the vision tower and the prompt, up to the first token.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn begin(
        &mut self,
        image: &RgbImage,
        prompt: &Prompt,
        sampling: Sampling,
        help: Help,
    ) -> Result<Sequence> {
        let start = Instant::now();
        let mut cache = self.spare.pop().unwrap_or_else(|| self.new_cache());
        let room = sampling.max_new_tokens;
        let prefilled = on_a_worker(|| self.prefill(image, prompt, room, &mut cache))?;
        let drafter = match help.draft {
            Some(text) if sampling.is_greedy() => Some(Drafter::new(self.tokenizer.encode(text)?)),
            _ => None,
        };
        let mut sequence = Sequence::new(&prefilled, cache, sampling, drafter, help.deadline);
        let choices = sequence.choose(&prefilled.logits, None)?;
        sequence.take(&choices, &self.config.eos_token_ids);
        sequence.prefilled_in(start.elapsed());
        Ok(sequence)
    }

    /// What came of a sequence that has ended so.
    pub fn finish(&mut self, sequence: Sequence, ending: Ending) -> Generated {
        let (generated, cache) = sequence.into_parts(ending);
        self.spare.push(cache);
        generated
    }

    /// Runs the vision tower and the prompt into `cache`, with room for `max_new_tokens` after it.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn prefill(
        &self,
        image: &RgbImage,
        prompt: &Prompt,
        max_new_tokens: usize,
        cache: &mut KvCache,
    ) -> Result<Prefilled> {
        let (patches, grid) = patchify(
            image,
            &self.config,
            &self.device,
            self.precision.activations(),
        )?;
        let merged = grid.merged(self.config.vision.spatial_merge_size);
        let tokens = prompt.tokens(merged.len());
        let context = self.config.text.max_position_embeddings;
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
        cache.reset(self.config.text.num_hidden_layers, tokens.len() + room)?;
        let deepstack = Deepstack {
            start,
            features: &vision.deepstack,
        };
        let hidden = self.text.forward(
            &embeddings,
            &positions.tokens,
            Some(&deepstack),
            cache,
            |_| (),
        )?;
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
}

/// Runs `work` on a thread of the pool that it spreads over. From any other thread, each of a page's thousands of products
/// would put that to sleep until the pool is done with it.
pub(super) fn on_a_worker<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_look_is_one_step_hotter_with_another_seed() {
        let raised = |temperature| {
            let sampling = Sampling {
                max_new_tokens: 9,
                temperature,
                seed: 7,
            };
            let raised = sampling.raised();
            assert_eq!((raised.max_new_tokens, raised.seed), (9, 8));
            raised.temperature.to_string()
        };
        assert_eq!(
            [0.0, 0.1, 0.2, 0.3, 0.6, 1.5].map(raised),
            ["0.3", "0.3", "0.3", "0.6", "0.6", "1.5"]
        );
    }
}
