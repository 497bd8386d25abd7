//! One page through the model: prefill, then token after token until an end.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use candle_core::{D, Tensor};
use candle_transformers::generation::LogitsProcessor;
use image::RgbImage;

use super::{
    QwenVl, draft::Drafter, patches::patchify, repetition::LoopDetector, rope::prompt_positions,
    text::Deepstack, tokenizer::Prompt,
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
        let start = Instant::now();
        let Prefilled {
            logits,
            next,
            room,
            prompt_tokens,
            image_tokens,
        } = self.prefill(image, prompt, sampling.max_new_tokens)?;
        let mut processor = LogitsProcessor::new(sampling.seed, Some(sampling.temperature), None);
        let greedy = sampling.temperature == 0.0;
        let mut drafter = match help.draft {
            Some(text) if greedy => Some(Drafter::new(self.tokenizer.encode(text)?)),
            _ => None,
        };
        let mut tokens = Vec::new();
        let mut loops = LoopDetector::default();
        let (mut forward_passes, mut draft_accepted) = (1, 0);
        // What the model wrote and is not in the answer yet.
        let mut written = VecDeque::from([processor.sample(&logits.squeeze(0)?)?]);
        let prefill = start.elapsed();
        let ending = 'answer: loop {
            while let Some(token) = written.pop_front() {
                if self.config.eos_token_ids.contains(&token) {
                    break 'answer Ending::Stop;
                }
                tokens.push(token);
                if let Some(found) = loops.push(&tokens) {
                    tokens.truncate(found.keep);
                    break 'answer Ending::Repetition;
                }
                if tokens.len() == room {
                    break 'answer Ending::Length;
                }
            }
            check(help.deadline)?;
            let draft = drafter.as_mut().map_or_else(Vec::new, |drafter| {
                drafter.guess(&tokens, room - tokens.len() - 1)
            });
            let last = tokens.len() - 1;
            let logits = self.step(&[&tokens[last..], &draft].concat(), next + last as u32)?;
            forward_passes += 1;
            if draft.is_empty() {
                written.push_back(processor.sample(&logits.squeeze(0)?)?);
                continue;
            }
            let choices: Vec<u32> = logits.argmax(D::Minus1)?.to_vec1()?;
            let agreed = draft.iter().zip(&choices);
            let accepted = agreed.take_while(|(draft, choice)| draft == choice).count();
            self.cache
                .truncate(self.cache.len() - (draft.len() - accepted));
            draft_accepted += accepted;
            written.extend(&choices[..=accepted]);
            if let Some(drafter) = &mut drafter {
                let answer = [&tokens[..], &choices[..=accepted]].concat();
                drafter.learn(draft.len(), accepted, &answer);
            }
        };
        Ok(Generated {
            tokens,
            ending,
            prompt_tokens,
            image_tokens,
            forward_passes,
            draft_accepted,
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

    /// Appends `tokens` from `position` on; returns the logits that follow each of them, `(tokens, vocab)`.
    ///
    /// # Errors
    /// The device fails.
    pub fn step(&mut self, tokens: &[u32], position: u32) -> Result<Tensor> {
        let x = self.text.embed(tokens)?;
        let positions: Vec<_> = (position..).take(tokens.len()).map(|p| [p; 3]).collect();
        let hidden = self
            .text
            .forward(&x, &positions, None, &mut self.cache, |_| ())?;
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
