//! One page through the model: prefill, then token after token until an end.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use candle_core::Tensor;
use candle_transformers::generation::LogitsProcessor;
use image::RgbImage;

use super::{
    QwenVl, patches::patchify, repetition::LoopDetector, rope::prompt_positions, text::Deepstack,
    tokenizer::Prompt,
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

/// Steps of temperature. A second look at a page whose answer looped or was cut off is one step above that of the run, or
/// above the first one if the run is greedier than that: at 0.1 a model that loops goes on looping.
const STEPS: [f64; 3] = [0.1, 0.3, 0.6];

impl Sampling {
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

fn check(deadline: Option<Instant>) -> Result<(), OutOfTime> {
    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        Err(OutOfTime)
    } else {
        Ok(())
    }
}

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
    /// Answers `prompt` about `image`, whose sides are multiples of the patch size times the merge size. The deadline is
    /// looked at before each token.
    ///
    /// # Errors
    /// The image does not fit the patch grid or the model's context, the deadline passes ([`OutOfTime`]), or the device
    /// fails.
    pub fn generate(
        &mut self,
        image: &RgbImage,
        prompt: &Prompt,
        sampling: Sampling,
        deadline: Option<Instant>,
    ) -> Result<Generated> {
        let start = Instant::now();
        let Prefilled {
            mut logits,
            next,
            room,
            prompt_tokens,
            image_tokens,
        } = self.prefill(image, prompt, sampling.max_new_tokens)?;
        let mut processor = LogitsProcessor::new(sampling.seed, Some(sampling.temperature), None);
        let mut tokens = Vec::new();
        let mut loops = LoopDetector::default();
        let mut prefill = None;
        let ending = loop {
            check(deadline)?;
            let token = processor.sample(&logits.squeeze(0)?)?;
            prefill.get_or_insert_with(|| start.elapsed());
            if self.config.eos_token_ids.contains(&token) {
                break Ending::Stop;
            }
            tokens.push(token);
            if let Some(found) = loops.push(&tokens) {
                tokens.truncate(found.keep);
                break Ending::Repetition;
            }
            if tokens.len() == room {
                break Ending::Length;
            }
            logits = self.step(token, next + tokens.len() as u32 - 1)?;
        };
        let prefill = prefill.unwrap_or_default();
        Ok(Generated {
            tokens,
            ending,
            prompt_tokens,
            image_tokens,
            prefill,
            decode: start.elapsed().saturating_sub(prefill),
        })
    }

    /// Runs the vision tower and the prompt, with room for `max_new_tokens` after it.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn prefill(
        &mut self,
        image: &RgbImage,
        prompt: &Prompt,
        max_new_tokens: usize,
    ) -> Result<Prefilled> {
        let (patches, grid) = patchify(image, &self.config, &self.device, self.dtype)?;
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
        let text = self.text.embed(&tokens)?;
        let after = start + merged.len();
        let embeddings = Tensor::cat(
            &[
                &text.narrow(0, 0, start)?,
                &vision.embeddings,
                &text.narrow(0, after, tokens.len() - after)?,
            ],
            0,
        )?;
        self.cache
            .reset(self.config.text.num_hidden_layers, tokens.len() + room)?;
        let deepstack = Deepstack {
            start,
            features: &vision.deepstack,
        };
        let hidden = self.text.forward(
            &embeddings,
            &positions.tokens,
            Some(&deepstack),
            &mut self.cache,
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

    /// Appends `token` at `position`; returns the logits of the one after it, `(1, vocab)`.
    ///
    /// # Errors
    /// The device fails.
    pub fn step(&mut self, token: u32, position: u32) -> Result<Tensor> {
        let x = self.text.embed(&[token])?;
        let hidden = self
            .text
            .forward(&x, &[[position; 3]], None, &mut self.cache, |_| ())?;
        Ok(self.text.logits(&hidden)?)
    }
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
