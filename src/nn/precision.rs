//! Number types of weights and activations.

use candle_core::{DType, Device, quantized::GgmlDType};

use super::simd::converts_f16;

/// The number types of a model in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Weights and activations in one type.
    Dense(DType),
    /// Linear layers and embeddings quantized in blocks, all else in f32.
    Quantized(GgmlDType),
}

impl Precision {
    /// Blocks of 32 values of 8 bits with one scale.
    pub const Q8_0: Self = Self::Quantized(GgmlDType::Q8_0);
    /// Blocks of 256 values of 4 bits with scales and offsets.
    pub const Q4_K: Self = Self::Quantized(GgmlDType::Q4K);

    /// The type of activations and norms.
    #[must_use]
    pub fn activations(self) -> DType {
        match self {
            Self::Dense(dtype) => dtype,
            Self::Quantized(_) => DType::F32,
        }
    }

    /// The type of the KV cache, in which a token's keys of a layer are `width` numbers.
    ///
    /// Decoding reads all of it for each token, and f16 halves that; its error is far below that of quantized weights. A
    /// narrow cache stays in the processor's caches, where f16 gains nothing.
    #[must_use]
    pub fn cache(self, device: &Device, width: usize) -> DType {
        /// The smallest published model has 1,024.
        const MIN_WIDTH: usize = 512;

        match self {
            Self::Quantized(_) if device.is_cpu() && width >= MIN_WIDTH && converts_f16() => {
                DType::F16
            }
            _ => self.activations(),
        }
    }

    /// The name of it, as `--dtype` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense(dtype) => dtype.as_str(),
            Self::Quantized(GgmlDType::Q4K) => "q4_k",
            Self::Quantized(_) => "q8_0",
        }
    }

    /// The precision of the decoder's query, key and value projections: few weights with a large effect, so they keep 8 bits,
    /// as in llama.cpp's mixes. Tokens of the 2B model take 3 % longer; the cosine of the example reader's first logits with
    /// those in f32 rose from 0.981 to 0.991.
    #[must_use]
    pub fn of_attention(self) -> Self {
        match self {
            Self::Quantized(GgmlDType::Q4K) => Self::Q8_0,
            other => other,
        }
    }

    /// The block type for a weight of `columns` columns; none if it must stay dense. Blocks don't go over the end of a
    /// row, so that narrow layers take smaller ones.
    #[must_use]
    pub fn blocks(self, columns: usize) -> Option<GgmlDType> {
        let Self::Quantized(wanted) = self else {
            return None;
        };
        [wanted, GgmlDType::Q8_0]
            .into_iter()
            .find(|blocks| columns.is_multiple_of(blocks.block_size()))
    }
}

impl From<DType> for Precision {
    fn from(dtype: DType) -> Self {
        Self::Dense(dtype)
    }
}
