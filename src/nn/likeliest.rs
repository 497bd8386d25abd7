//! The likeliest token of each row of logits, and how likely it is.

use candle_core::{
    CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, backend::BackendStorage, bail,
};

use super::elementwise::{exp, values};

/// The likeliest tokens, one for each row of logits.
pub struct Likeliest {
    /// `(rows)` u32: always tokens of the vocabulary, for the decoder to go on with.
    pub tokens: Tensor,
    /// `(rows, 2)` f32: the same tokens, each with the logarithm of its probability, so that one copy brings both to the
    /// host. The logarithm is NaN where the row's largest logit is not finite or one of them is NaN.
    pub choices: Tensor,
}

/// The likeliest token of each row of `logits`, `(rows, vocab)`, where `vocab` is less than 2²⁴, so that f32 holds each token.
/// Of several alike it is the first.
///
/// # Errors
/// The device fails.
pub fn likeliest(logits: &Tensor) -> Result<Likeliest> {
    #[cfg(feature = "cuda")]
    if super::cuda::has_kernels(logits) {
        let (tokens, choices) = super::cuda::likeliest(logits)?;
        return Ok(Likeliest { tokens, choices });
    }
    let logits = logits.to_dtype(DType::F32)?.contiguous()?;
    if logits.device().is_cpu() {
        let choices = logits.apply_op1_no_bwd(&LikeliestOp)?;
        let tokens = choices.narrow(1, 0, 1)?.squeeze(1)?.to_dtype(DType::U32)?;
        return Ok(Likeliest { tokens, choices });
    }
    let tokens = logits.argmax(D::Minus1)?;
    let largest = logits.gather(&tokens.unsqueeze(1)?, 1)?;
    let sum = logits.broadcast_sub(&largest)?.exp()?.sum_keepdim(1)?;
    let places = tokens.to_dtype(DType::F32)?.unsqueeze(1)?;
    let choices = Tensor::cat(&[places, sum.log()?.neg()?], 1)?;
    Ok(Likeliest { tokens, choices })
}

/// The logarithm of the probability of `token` by its `logits`; NaN where [`likeliest`] has NaN.
#[must_use]
pub fn log_probability(logits: &[f32], token: usize) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.get(token).map_or(f32::NAN, |logit| {
        logit - largest - sum_of_exps(logits, largest).ln()
    })
}

/// Logits that are less than the largest by more than this add nothing to a sum in f32.
const NEGLIGIBLE: f32 = -30.0;

fn sum_of_exps(logits: &[f32], largest: f32) -> f32 {
    let mut sum = 0.0;
    for logit in logits {
        let distance = logit - largest;
        if distance.is_nan() {
            return f32::NAN;
        }
        if distance >= NEGLIGIBLE {
            sum += exp(distance);
        }
    }
    sum
}

/// One pass for the largest, one for the sum.
struct LikeliestOp;

impl CustomOp1 for LikeliestOp {
    fn name(&self) -> &'static str {
        "likeliest"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, vocab) = layout.shape().dims2()?;
        if vocab == 0 || vocab >= 1 << 24 {
            bail!("a vocabulary of {vocab} tokens in {:?}", storage.dtype())
        }
        let logits = values(storage, layout)?;
        let mut choices = Vec::with_capacity(2 * rows);
        for row in logits.chunks_exact(vocab) {
            let (mut token, mut largest) = (0, f32::NEG_INFINITY);
            for (at, &logit) in row.iter().enumerate() {
                if logit > largest {
                    (token, largest) = (at, logit);
                }
            }
            choices.extend([token as f32, -sum_of_exps(row, largest).ln()]);
        }
        Ok((CpuStorage::F32(choices), (rows, 2).into()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const NAN: f32 = f32::NAN;
    const INFINITY: f32 = f32::INFINITY;

    fn choices(rows: &Tensor) -> Vec<Vec<f32>> {
        likeliest(rows).unwrap().choices.to_vec2().unwrap()
    }

    #[test]
    fn likeliest_token_comes_with_its_log_probability() {
        let rows = Tensor::new(
            &[[1.0_f32, 5.0, -3.0, 5.0], [-700.0, -700.0, -700.0, -800.0]],
            &Device::Cpu,
        )
        .unwrap();
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let found = choices(&rows.to_dtype(dtype).unwrap());
            // The softmax of 5 among these, and a third.
            let first = -(2.0 + (-4.0_f64).exp() + (-8.0_f64).exp()).ln();
            for (row, (token, log)) in found.iter().zip([(1, first), (0, -(3.0_f64).ln())]) {
                assert_eq!(row[0] as u32, token);
                assert!((f64::from(row[1]) - log).abs() < 1e-6, "{row:?}");
            }
        }
        let row: Vec<f32> = rows.get(0).unwrap().to_vec1().unwrap();
        let total: f32 = (0..4).map(|token| log_probability(&row, token).exp()).sum();
        assert!((total - 1.0).abs() < 1e-6);
        assert!(log_probability(&row, 4).is_nan());
    }

    #[test]
    fn non_finite_logits_have_no_probability() {
        let rows = [
            [1.0_f32, 5.0, -3.0],
            [NAN, NAN, NAN],
            [9.0, NAN, 2.0],
            [9.0, INFINITY, 2.0],
            [-INFINITY, -INFINITY, -INFINITY],
            [7.0, -INFINITY, 2.0],
        ];
        let rows = Tensor::new(&rows, &Device::Cpu).unwrap();
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let rows = rows.to_dtype(dtype).unwrap();
            let logs: Vec<bool> = choices(&rows).iter().map(|row| row[1].is_nan()).collect();
            assert_eq!(logs, [false, true, true, true, true, false]);
            let tokens: Vec<u32> = likeliest(&rows).unwrap().tokens.to_vec1().unwrap();
            assert!(tokens.iter().all(|&token| token < 3), "{tokens:?}");
        }
    }
}
