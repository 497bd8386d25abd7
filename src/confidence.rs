//! How sure a model was of its answer: the probabilities of its tokens in two numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How sure the model was of its answer, in natural logarithms of probabilities: 0 is certain, −0.69 one in two.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confidence {
    /// Mean over all tokens.
    pub mean: f64,
    /// Mean over the worst 64 tokens in a row, or over all if there are fewer.
    pub worst: f64,
}

/// Length of the worst stretch, in tokens: a line or two of print.
const STRETCH: usize = 64;

/// What is kept of the numbers: processors add in different orders, and differ in later places.
const PLACES: f64 = 1e4;

impl Confidence {
    /// Of an answer whose tokens have these log-probabilities; none without tokens.
    #[must_use]
    pub fn of(log_probabilities: &[f32]) -> Option<Self> {
        if log_probabilities.is_empty() {
            return None;
        }
        let stretches = log_probabilities.windows(STRETCH.min(log_probabilities.len()));
        let worst = stretches.map(mean).fold(f64::INFINITY, f64::min);
        Some(Self {
            mean: rounded(mean(log_probabilities)),
            worst: rounded(worst),
        })
    }

    /// Of an answer in parts, each with its number of tokens; none without parts.
    #[must_use]
    pub fn together(parts: &[(Self, usize)]) -> Option<Self> {
        let tokens: usize = parts.iter().map(|(_, tokens)| tokens).sum();
        if tokens == 0 {
            return None;
        }
        let sum: f64 = parts
            .iter()
            .map(|(part, count)| part.mean * *count as f64)
            .sum();
        let worst = parts.iter().map(|(part, _)| part.worst);
        Some(Self {
            mean: rounded(sum / tokens as f64),
            worst: worst.fold(f64::INFINITY, f64::min),
        })
    }
}

fn mean(numbers: &[f32]) -> f64 {
    numbers.iter().copied().map(f64::from).sum::<f64>() / numbers.len() as f64
}

/// Never a negative zero.
fn rounded(number: f64) -> f64 {
    (number * PLACES).round() / PLACES + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_is_the_mean_and_the_worst_stretch() {
        assert_eq!(Confidence::of(&[]), None);
        let of = |numbers: &[f32]| {
            let confidence = Confidence::of(numbers).unwrap();
            (confidence.mean, confidence.worst)
        };
        assert_eq!(of(&[-0.25, -0.75]), (-0.5, -0.5));
        assert_eq!(of(&[-1e-7]).1.to_bits(), 0.0_f64.to_bits());
        // A line that is unsure among sure ones.
        let mut numbers = vec![0.0; 640];
        numbers[300..364].fill(-2.0);
        assert_eq!(of(&numbers), (-0.2, -2.0));
    }
}
