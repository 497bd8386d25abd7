//! Weights in FP8 with one scale for each block of 128 × 128, as `Qwen3-VL-*-FP8` and DeepSeek's checkpoints keep them.

use std::sync::LazyLock;

use rayon::prelude::*;

/// The side of a block; those at the right and at the bottom edge may be smaller.
pub const BLOCK: usize = 128;

/// The value of each byte in E4M3 (OCP 8-bit floating point 1.0): 4 bits of exponent, 3 of mantissa, no infinities.
static VALUES: LazyLock<[f32; 256]> =
    LazyLock::new(|| std::array::from_fn(|bits| value(bits as u8)));

fn value(bits: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 3 & 0xf), f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (0xf, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    if bits < 0x80 { magnitude } else { -magnitude }
}

/// How many scales a matrix of `shape` has, down and across.
#[must_use]
pub fn scales_of(shape: (usize, usize)) -> (usize, usize) {
    (shape.0.div_ceil(BLOCK), shape.1.div_ceil(BLOCK))
}

/// The values of a matrix with rows of `columns` bytes, each times the scale of its block; `scales` are row by row, as many
/// as [`scales_of`] says.
#[must_use]
pub fn dequantize(bytes: &[u8], columns: usize, scales: &[f32]) -> Vec<f32> {
    if columns == 0 {
        return Vec::new();
    }
    let values = &*VALUES;
    let mut numbers = vec![0.0; bytes.len()];
    numbers
        .par_chunks_mut(columns)
        .zip(bytes.par_chunks(columns))
        .enumerate()
        .for_each(|(row, (numbers, bytes))| {
            let scales = scales.chunks(columns.div_ceil(BLOCK)).nth(row / BLOCK);
            let blocks = numbers.chunks_mut(BLOCK).zip(bytes.chunks(BLOCK));
            for ((numbers, bytes), scale) in blocks.zip(scales.unwrap_or_default()) {
                for (number, &byte) in numbers.iter_mut().zip(bytes) {
                    *number = values[usize::from(byte)] * scale;
                }
            }
        });
    numbers
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;

    #[test]
    fn fp8_bytes_decode_like_candle() {
        let bytes: Vec<u8> = (0..=255).collect();
        let tensor = Tensor::from_raw_buffer(&bytes, DType::F8E4M3, &[256], &Device::Cpu).unwrap();
        let wanted: Vec<f32> = tensor.to_dtype(DType::F32).unwrap().to_vec1().unwrap();
        for (bits, wanted) in bytes.into_iter().zip(wanted) {
            let value = value(bits);
            assert!(
                value.to_bits() == wanted.to_bits() || value.is_nan() && wanted.is_nan(),
                "{bits:#x}: {value}, {wanted}"
            );
        }
    }

    #[test]
    fn fp8_edge_blocks_have_their_own_scale() {
        let (rows, columns) = (130, 129);
        assert_eq!(scales_of((rows, columns)), (2, 2));
        // 0x38 is 1.
        let numbers = dequantize(&vec![0x38; rows * columns], columns, &[1.0, 2.0, 3.0, 4.0]);
        let at = |row: usize, column: usize| numbers[row * columns + column];
        let corners = [at(127, 127), at(127, 128), at(128, 127), at(129, 128)];
        assert_eq!(
            corners.map(f32::to_bits),
            [1.0f32, 2.0, 3.0, 4.0].map(f32::to_bits)
        );
    }
}
