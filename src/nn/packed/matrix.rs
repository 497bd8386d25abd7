//! A packed matrix, and which kernel multiplies it.

use std::sync::Arc;

use memmap2::Mmap;

use super::{
    avx2, avx512,
    many::{self, Dot, Winograd},
    tiles::{BLOCK, LANES, Tiles},
};
use crate::nn::simd::{Avx2, Avx512Vnni, AvxVnni};

/// For fewer rows, unpacking the weights takes longer than it saves.
const MIN_MANY: usize = 32;

/// A matrix of weights, `(output, input)`.
pub struct Packed {
    tiles: Tiles,
    kernel: Kernel,
}

/// The kernel that multiplies.
#[derive(Clone, Copy)]
enum Kernel {
    Avx512(Avx512Vnni),
    AvxVnni(Avx2, AvxVnni),
    Avx2(Avx2),
}

impl Kernel {
    /// This processor's best kernel for matrices of this shape; none where Candle's products are faster.
    fn detect(output: usize, input: usize) -> Option<Self> {
        if !output.is_multiple_of(LANES) {
            return None;
        }
        if input.is_multiple_of(avx512::SPAN)
            && let Some(token) = Avx512Vnni::detect()
        {
            return Some(Self::Avx512(token));
        }
        if !input.is_multiple_of(BLOCK) {
            return None;
        }
        let avx2 = Avx2::detect()?;
        Some(match AvxVnni::detect() {
            Some(vnni) => Self::AvxVnni(avx2, vnni),
            None => Self::Avx2(avx2),
        })
    }
}

impl Packed {
    /// Whether this processor has a kernel for matrices of this shape.
    #[must_use]
    pub fn is_supported(output: usize, input: usize) -> bool {
        Kernel::detect(output, input).is_some()
    }

    /// `x·Wᵀ + bias` for `x` of shape `(rows, input)`: `(rows, output)`. `bias` is of shape `(output)`.
    ///
    /// # Panics
    /// The shapes are others.
    #[must_use]
    pub fn multiply(&self, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        match self.kernel {
            Kernel::Avx512(token) => avx512::multiply(token, &self.tiles, x, bias),
            Kernel::AvxVnni(token, _) | Kernel::Avx2(token) => {
                avx2::multiply(token, &self.tiles, x, bias)
            }
        }
    }

    /// As [`multiply`](Self::multiply), faster for many rows, and with AVX2 off by 3 in 10,000 where that is off by 2 in
    /// 100,000.
    ///
    /// # Panics
    /// The shapes are others.
    #[must_use]
    pub fn multiply_many(&self, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let many = x.len() >= MIN_MANY * self.tiles.input;
        match self.kernel {
            Kernel::AvxVnni(avx2, vnni) if many => {
                many::multiply(Dot(avx2, vnni), &self.tiles, x, bias)
            }
            Kernel::Avx2(token) if many => many::multiply(Winograd(token), &self.tiles, x, bias),
            _ => self.multiply(x, bias),
        }
    }

    /// Size of a matrix in bytes.
    #[must_use]
    pub fn size(output: usize, input: usize) -> usize {
        Tiles::size(output, input)
    }

    /// From `blocks` in llama.cpp's layout: row by row, the scale as f16 and 32 signed bytes.
    ///
    /// `None` if the shape is not [supported](Self::is_supported), or the number of blocks does not fit it.
    #[must_use]
    pub fn new(blocks: &[u8], output: usize, input: usize) -> Option<Self> {
        let kernel = Kernel::detect(output, input)?;
        let tiles = Tiles::new(blocks, output, input)?;
        Some(Self { tiles, kernel })
    }

    /// From the [bytes](Self::bytes) of such a matrix, which are in `file` from `start` on.
    ///
    /// `None` if the shape is not [supported](Self::is_supported), or they can't be there.
    #[must_use]
    pub fn mapped(file: &Arc<Mmap>, start: usize, output: usize, input: usize) -> Option<Self> {
        let kernel = Kernel::detect(output, input)?;
        let tiles = Tiles::mapped(file, start, output, input)?;
        Some(Self { tiles, kernel })
    }

    /// Its bytes, to be kept on disk.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.tiles.bytes()
    }

    /// Rows of the matrix.
    #[must_use]
    pub fn output(&self) -> usize {
        self.tiles.output
    }

    /// Row `index`, `(input)`.
    ///
    /// # Panics
    /// There is no such row.
    pub fn row(&self, index: usize) -> impl Iterator<Item = f32> {
        self.tiles.row(index)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{
        Device, Tensor,
        quantized::{GgmlDType, QTensor},
    };

    use super::{super::many::Emulated, *};

    fn random(shape: (usize, usize)) -> Tensor {
        Tensor::randn(0_f32, 1.0, shape, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// A random matrix, packed, and as it is after it was quantized; none where the processor can't.
    fn matrix(output: usize, input: usize) -> Option<(Packed, Tensor)> {
        let blocks = QTensor::quantize(&random((output, input)), GgmlDType::Q8_0).unwrap();
        let packed = Packed::new(&blocks.data().unwrap(), output, input)?;
        Some((packed, blocks.dequantize(&Device::Cpu).unwrap()))
    }

    type Multiply = Box<dyn Fn(&Packed, &[f32], Option<&[f32]>) -> Vec<f32>>;

    /// The ways in which this processor multiplies with such a matrix, and how far off a product of one activation is.
    fn ways(input: usize) -> Vec<(Multiply, f32)> {
        let mut ways: Vec<(Multiply, f32)> = vec![];
        if let Some(token) = Avx512Vnni::detect()
            && input.is_multiple_of(avx512::SPAN)
        {
            // Activations in 8 bits are off by 1/254 of the largest at most, in random directions: 0.008.
            let multiply = move |packed: &Packed, x: &[f32], bias: Option<&[f32]>| {
                avx512::multiply(token, &packed.tiles, x, bias)
            };
            ways.push((Box::new(multiply), 0.01));
        }
        if let Some(token) = Avx2::detect() {
            // In 16 bits, by 1/65,534.
            let multiply = move |packed: &Packed, x: &[f32], bias: Option<&[f32]>| {
                avx2::multiply(token, &packed.tiles, x, bias)
            };
            ways.push((Box::new(multiply), 0.00003));
            // In up to 16 bits, of which the sum over a group takes some, and weights in 12.
            let multiply = move |packed: &Packed, x: &[f32], bias: Option<&[f32]>| {
                many::multiply(Winograd(token), &packed.tiles, x, bias)
            };
            ways.push((Box::new(multiply), 0.0004));
            let multiply = move |packed: &Packed, x: &[f32], bias: Option<&[f32]>| {
                many::multiply(Emulated(token), &packed.tiles, x, bias)
            };
            ways.push((Box::new(multiply), 0.0004));
            if let Some(vnni) = AvxVnni::detect() {
                let multiply = move |packed: &Packed, x: &[f32], bias: Option<&[f32]>| {
                    many::multiply(Dot(token, vnni), &packed.tiles, x, bias)
                };
                ways.push((Box::new(multiply), 0.0004));
            }
        }
        ways
    }

    #[test]
    fn packed_product_matches_the_matrix() {
        // One stripe, an odd number of them, several parts, one row, as many as a weight is read for at a time and less,
        // more than what is cached at a time, and the narrowest matrix; enough of each that chance is evened out.
        for (output, input, rows) in [
            (16, 256, 130),
            (48, 512, 7),
            (1040, 2048, 1),
            (1040, 256, 530),
            (1040, 288, 2),
            (272, 1024, 3),
            (272, 1024, 4),
            (272, 1024, 5),
            (272, 1056, 131),
            (64, 32, 66),
        ] {
            let Some((packed, dense)) = matrix(output, input) else {
                continue;
            };
            let (x, bias) = (random((rows, input)), random((1, output)));
            let wanted = x.matmul(&dense.t().unwrap()).unwrap();
            let wanted = values(&wanted.broadcast_add(&bias).unwrap());
            for (multiply, error) in ways(input) {
                let found = multiply(&packed, &values(&x), Some(&values(&bias)));
                let squares = found.iter().zip(&wanted).map(|(a, b)| (a - b).powi(2));
                let off = squares.sum::<f32>() / wanted.len() as f32 / input as f32;
                let off = off.sqrt();
                assert!(found.len() == wanted.len() && off < error, "{off}");
            }
        }
    }

    #[test]
    fn products_are_the_same_with_all_instructions_for_many_rows() {
        let Some(token) = Avx2::detect() else {
            return;
        };
        for (output, input, rows) in [(48, 1056, 130), (272, 96, 5)] {
            let Some((packed, _)) = matrix(output, input) else {
                return;
            };
            let x = values(&random((rows, input)));
            let wanted = many::multiply(Winograd(token), &packed.tiles, &x, None);
            let found = many::multiply(Emulated(token), &packed.tiles, &x, None);
            assert!(found == wanted);
        }
    }

    #[test]
    fn packed_rows_do_not_depend_on_the_batch() {
        let Some((packed, _)) = matrix(48, 512) else {
            return;
        };
        let x = values(&random((9, 512)));
        for (multiply, _) in ways(512) {
            let together = multiply(&packed, &x, None);
            let alone = x.chunks(512).flat_map(|x| multiply(&packed, x, None));
            assert!(alone.eq(together));
        }
    }

    #[test]
    fn packed_product_is_exact_where_activations_differ_much() {
        let Some((packed, dense)) = matrix(64, 2048) else {
            return;
        };
        // Zeros, the smallest and large numbers, and columns of which each row has far larger ones.
        let rows = 9;
        let scales = [0.0, 1e-30, 1e-20, 1e-3, 1.0, 1e3, 1e20, 1e30, 50.0];
        let mut x = values(&random((rows, 2048)));
        for (row, scale) in x.chunks_exact_mut(2048).zip(scales) {
            for (column, value) in row.iter_mut().enumerate() {
                *value *= scale * if column % 97 == 3 { 50.0 } else { 1.0 };
            }
        }
        let shape = |x| Tensor::from_vec(x, (rows, 2048), &Device::Cpu).unwrap();
        let wanted = values(&shape(x.clone()).matmul(&dense.t().unwrap()).unwrap());
        for (multiply, error) in ways(2048) {
            let found = multiply(&packed, &x, None);
            for (row, (found, wanted)) in found.chunks(64).zip(wanted.chunks(64)).enumerate() {
                let sum = |values: &mut dyn Iterator<Item = f32>| {
                    values.map(|value| f64::from(value).powi(2)).sum::<f64>()
                };
                let off = sum(&mut found.iter().zip(wanted).map(|(a, b)| a - b));
                let most = sum(&mut wanted.iter().copied()) * f64::from(4.0 * error).powi(2);
                assert!(off <= most, "row {row}: {off} of {most}");
            }
        }
    }

    #[test]
    fn packed_product_keeps_non_finite_values() {
        let Some((packed, _)) = matrix(48, 512) else {
            return;
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for (multiply, _) in ways(512) {
                // Wherever it stands in a vector and in a row.
                for at in [0, 8, 100, 511] {
                    let mut x = vec![1.0; 2 * 512];
                    x[512 + at] = bad;
                    let products = multiply(&packed, &x, None);
                    let (good, bad) = products.split_at(48);
                    assert!(good.iter().all(|product| product.is_finite()));
                    assert!(!bad.iter().any(|product| product.is_finite()), "{at}");
                }
            }
        }
    }

    #[test]
    fn unpacked_rows_match_the_matrix() {
        let Some((packed, dense)) = matrix(32, 256) else {
            return;
        };
        for index in [0, 15, 16, 31] {
            let wanted: Vec<f32> = dense.get(index).unwrap().to_vec1().unwrap();
            assert!(packed.row(index).eq(wanted));
        }
    }

    #[test]
    fn invalid_packed_matrix_is_refused() {
        assert!(Packed::new(&[0; 34 * 16 * 7], 16, 256 - 16).is_none());
        assert!(Packed::new(&[0; 34 * 16 * 8 - 1], 16, 256).is_none());
        assert!(Packed::new(&[0; 34 * 15 * 8], 15, 256).is_none());
    }
}
