//! Selects the next token by the logits.

use std::fmt;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_transformers::generation::LogitsProcessor;

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

/// Stands in place of a token where the logits are not finite. No vocabulary is that large.
pub(super) const NOT_FINITE: u32 = u32::MAX;

/// Takes the likeliest token of each row of logits, on the device.
#[derive(Clone)]
pub(super) struct Argmax {
    /// [`NOT_FINITE`], `(1)`, kept on the device.
    sentinel: Tensor,
}

/// The likeliest tokens, one for each row of logits.
pub(super) struct Likeliest {
    /// `(rows)`: always tokens of the vocabulary, for the decoder to go on with.
    pub(super) tokens: Tensor,
    /// `(rows)`: the same, but [`NOT_FINITE`] where the largest logit is not finite. Read these.
    pub(super) checked: Tensor,
}

impl Argmax {
    pub(super) fn new(device: &Device) -> Result<Self> {
        Ok(Self {
            sentinel: Tensor::new(&[NOT_FINITE], device)?,
        })
    }

    /// From `logits`, `(rows, vocab)`. A row with a NaN somewhere may pass, a row of nothing else can't.
    pub(super) fn likeliest(&self, logits: &Tensor) -> Result<Likeliest> {
        let tokens = logits.argmax(D::Minus1)?;
        let largest = logits.gather(&tokens.unsqueeze(1)?, 1)?.squeeze(1)?;
        // 0 where it is finite; else NaN, which equals nothing.
        let rest = largest.affine(0.0, 0.0)?;
        let sentinel = self.sentinel.broadcast_as(tokens.shape())?;
        let checked = rest.eq(&rest)?.where_cond(&tokens, &sentinel)?;
        Ok(Likeliest { tokens, checked })
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

    /// A token by its `logits`, `(vocab)`, or [`NOT_FINITE`].
    pub(super) fn sample(&mut self, logits: &Tensor) -> Result<u32> {
        let logits: Vec<f32> = logits.to_dtype(DType::F32)?.to_vec1()?;
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if !largest.is_finite() || logits.iter().any(|logit| logit.is_nan()) {
            return Ok(NOT_FINITE);
        }
        let least = largest - (MAX_DISTANCE * self.temperature) as f32;
        let likely = (0_u32..).zip(logits).filter(|&(_, logit)| logit >= least);
        let (tokens, logits): (Vec<u32>, Vec<f32>) = likely.unzip();
        let count = logits.len();
        let logits = Tensor::from_vec(logits, count, &Device::Cpu)?;
        Ok(tokens[self.processor.sample(&logits)? as usize])
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
    fn argmax_fails_on_non_finite_logits() {
        let rows = [
            [1.0_f32, 5.0, -3.0],
            [NAN, NAN, NAN],
            [9.0, INFINITY, 2.0],
            [-INFINITY, -INFINITY, -INFINITY],
            [7.0, -INFINITY, 2.0],
        ];
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let logits = Tensor::new(&rows, &Device::Cpu).unwrap().to_dtype(dtype);
            let found = Argmax::new(&Device::Cpu)
                .and_then(|argmax| argmax.likeliest(&logits.unwrap()))
                .unwrap();
            assert_eq!(
                found.checked.to_vec1::<u32>().unwrap(),
                [1, NOT_FINITE, NOT_FINITE, NOT_FINITE, 0]
            );
            let tokens: Vec<u32> = found.tokens.to_vec1().unwrap();
            assert!(tokens.iter().all(|&token| token < 3), "{tokens:?}");
        }
    }

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
            assert_eq!(sample([1.0, 99.0, 1.0]), 1);
            assert_eq!(sample([NAN; 3]), NOT_FINITE);
            assert_eq!(sample([INFINITY, 1.0, 2.0]), NOT_FINITE);
        }
    }
}
