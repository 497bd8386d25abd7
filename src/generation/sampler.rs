//! Selects the next token by the logits.

use std::fmt;

use candle_core::{DType, Device, Result, Tensor};
use candle_transformers::generation::LogitsProcessor;

use crate::nn::likeliest::{likeliest, log_probability};

/// How tokens are selected, and when to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Maximum number of tokens of an answer.
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token.
    pub temperature: f64,
    /// Every page starts from this seed, so that its text does not depend on the pages before it.
    pub seed: u64,
}

/// Temperatures of resampling. A resample is one step above the run's temperature, and at least 0.3: at 0.1 a looping model
/// keeps looping.
const STEPS: [f64; 3] = [0.1, 0.3, 0.6];

impl Sampling {
    /// Whether decoding is greedy.
    #[must_use]
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// For a resample: one step hotter, and from another seed.
    #[must_use]
    pub fn with_higher_temperature(self) -> Self {
        let from = self.temperature.max(STEPS[0]);
        let higher = STEPS.into_iter().find(|&step| step > from);
        Self {
            temperature: higher.unwrap_or(self.temperature),
            seed: self.seed.wrapping_add(1),
            ..self
        }
    }
}

/// The logits are NaN or infinite, so no token can be selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite;

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the model's numbers are not finite (NaN or infinite): they overflow this --dtype, or the weights are damaged; \
             try another --dtype (bf16 or f32), then fetch the model again",
        )
    }
}

impl std::error::Error for NotFinite {}

/// A token that was selected, and the logarithm of its probability: NaN where the logits are not finite.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) token: u32,
    pub(super) log_probability: f32,
}

impl Choice {
    /// The likeliest tokens of each row of `logits`, `(rows, vocab)`, read from the device.
    pub(super) fn likeliest(logits: &Tensor) -> Result<Vec<Self>> {
        let choices = likeliest(logits)?.choices.flatten_all()?;
        Ok(Self::all(&choices.to_vec1()?))
    }

    /// Those of [`Likeliest::choices`](crate::nn::likeliest::Likeliest), row by row.
    pub(super) fn all(numbers: &[f32]) -> Vec<Self> {
        let pairs = numbers.chunks_exact(2);
        let choice = |pair: &[f32]| Self {
            token: pair[0] as u32,
            log_probability: pair[1],
        };
        pairs.map(choice).collect()
    }

    /// Whether the logits that it was selected by are finite.
    pub(super) fn is_finite(self) -> bool {
        !self.log_probability.is_nan()
    }
}

/// Draws tokens for one answer.
pub(super) struct Sampler {
    processor: LogitsProcessor,
    temperature: f64,
}

/// Tokens whose share is less than e to the minus this of the likeliest's are not drawn from: of a vocabulary of 150,000 all of
/// them together are drawn less than once in 100,000 times, and leaving them out is faster than weighing them.
const MAX_DISTANCE: f64 = 24.0;

impl Sampler {
    /// None if `sampling` is greedy.
    pub(super) fn new(sampling: Sampling) -> Option<Self> {
        let Sampling {
            temperature, seed, ..
        } = sampling;
        (!sampling.is_greedy()).then(|| Self {
            processor: LogitsProcessor::new(seed, Some(temperature), None),
            temperature,
        })
    }

    /// A token by its `logits`, `(vocab)`. Its probability is the model's own, whatever the temperature.
    pub(super) fn sample(&mut self, logits: &Tensor) -> Result<Choice> {
        let all: Vec<f32> = logits.to_dtype(DType::F32)?.to_vec1()?;
        let largest = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if !largest.is_finite() || all.iter().any(|logit| logit.is_nan()) {
            return Ok(Choice {
                token: 0,
                log_probability: f32::NAN,
            });
        }
        let least = largest - (MAX_DISTANCE * self.temperature) as f32;
        let likely = (0_u32..).zip(&all).filter(|&(_, &logit)| logit >= least);
        let (tokens, logits): (Vec<u32>, Vec<f32>) = likely.unzip();
        let count = logits.len();
        let logits = Tensor::from_vec(logits, count, &Device::Cpu)?;
        let token = tokens[self.processor.sample(&logits)? as usize];
        Ok(Choice {
            token,
            log_probability: log_probability(&all, token as usize),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resample_raises_temperature_and_changes_seed() {
        let higher = |temperature| {
            let sampling = Sampling {
                max_new_tokens: 9,
                temperature,
                seed: 7,
            };
            let higher = sampling.with_higher_temperature();
            assert_eq!((higher.max_new_tokens, higher.seed), (9, 8));
            higher.temperature.to_string()
        };
        assert_eq!(
            [0.0, 0.1, 0.2, 0.3, 0.6, 1.5].map(higher),
            ["0.3", "0.3", "0.3", "0.6", "0.6", "1.5"]
        );
    }

    const NAN: f32 = f32::NAN;
    const INFINITY: f32 = f32::INFINITY;

    #[test]
    fn sampling_fails_on_non_finite_logits() {
        // The first of these temperatures is so low that the likeliest token is taken.
        for temperature in [1e-9, 0.7] {
            let sampling = Sampling {
                max_new_tokens: 9,
                temperature,
                seed: 7,
            };
            let sample = |logits: [f32; 3]| {
                let logits = Tensor::new(&logits, &Device::Cpu).unwrap();
                Sampler::new(sampling).unwrap().sample(&logits).unwrap()
            };
            let choice = sample([1.0, 99.0, 1.0]);
            assert_eq!((choice.token, choice.log_probability), (1, 0.0));
            assert!(choice.is_finite());
            assert!(!sample([NAN; 3]).is_finite());
            assert!(!sample([INFINITY, 1.0, 2.0]).is_finite());
        }
    }
}
