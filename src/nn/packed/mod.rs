//! Matrices of 8-bit weights, laid out for the dot products that x86 processors have.
//!
//! The numbers are those of llama.cpp's Q8_0: blocks of 32 weights along a row share a scale. Here sixteen rows stand side
//! by side, so that one instruction multiplies four weights of each with the same four activations (AVX-512 VNNI), or four
//! weights of four rows (AVX2). A product reads each weight once for several rows of activations, which makes batches and
//! drafts nearly free while memory is what it waits for.

mod avx2;
mod avx512;

use std::{ops::Deref, sync::Arc};

use bytemuck::{Pod, Zeroable};
use half::f16;
use memmap2::Mmap;
use rayon::prelude::*;

use super::{alloc::zeros, elementwise::columns};

/// Output rows that stand side by side.
const LANES: usize = 16;
/// Weights along a row that share a scale.
const BLOCK: usize = 32;
/// Parts of a product for each thread, so that none waits long for the others.
const TASKS: usize = 4;

/// One block of each of sixteen rows.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Tile {
    /// As the bits of an f16.
    scales: [u16; LANES],
    /// Four weights of each row, 128 more than they are; then the next four.
    quants: [[u8; 4 * LANES]; BLOCK / 4],
}

/// A matrix of weights, `(output, input)`.
pub struct Packed {
    output: usize,
    input: usize,
    tiles: Tiles,
}

/// The tiles of the first sixteen rows, those of the next sixteen, and so on.
enum Tiles {
    Own(Vec<Tile>),
    /// From `start` on in a file.
    Mapped {
        file: Arc<Mmap>,
        start: usize,
        bytes: usize,
    },
}

impl Deref for Tiles {
    type Target = [Tile];

    fn deref(&self) -> &[Tile] {
        match self {
            Self::Own(tiles) => tiles,
            Self::Mapped { file, start, bytes } => {
                bytemuck::cast_slice(&file[*start..start + bytes])
            }
        }
    }
}

impl Packed {
    /// Whether this processor multiplies matrices of this shape so.
    #[must_use]
    pub fn suits(output: usize, input: usize) -> bool {
        // Candle (0.11.1) has products of bytes, tiled too, for what comes between the two: AVX-VNNI.
        let candle_has = is_x86_feature_detected!("avxvnni") && input.is_multiple_of(256);
        output.is_multiple_of(LANES) && (avx512::suits(input) || avx2::suits(input) && !candle_has)
    }

    /// `x·Wᵀ + bias` for `x` of shape `(rows, input)`: `(rows, output)`. `bias` is of shape `(output)`.
    ///
    /// # Panics
    /// The shapes are others.
    #[must_use]
    pub fn multiply(&self, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        if avx512::suits(self.input) {
            avx512::multiply(self, x, bias)
        } else {
            avx2::multiply(self, x, bias)
        }
    }

    /// What [`multiply`](Self::multiply) returns, made of parts of `unit` columns or a multiple of that. `multiply` fills one:
    /// all rows of some columns, with their tiles and the bias from the first of them on.
    fn by_parts(
        &self,
        x: &[f32],
        bias: Option<&[f32]>,
        unit: usize,
        multiply: impl Fn(&[Tile], Option<&[f32]>, &mut [&mut [f32]]) + Sync,
    ) -> Vec<f32> {
        let mut out = zeros(x.len() / self.input * self.output);
        let units = self.output.div_ceil(unit);
        let width = units.div_ceil(rayon::current_num_threads() * TASKS) * unit;
        let parts = columns(&mut out, self.output, width);
        parts.into_par_iter().enumerate().for_each(|(i, mut part)| {
            let first = i * width;
            let columns = part.first().map_or(0, |row| row.len());
            let blocks = self.input / BLOCK;
            let tiles = &self.tiles[first / LANES * blocks..][..columns / LANES * blocks];
            multiply(tiles, bias.map(|bias| &bias[first..]), &mut part);
        });
        out
    }

    /// How many bytes a matrix takes.
    #[must_use]
    pub fn size(output: usize, input: usize) -> usize {
        output / LANES * (input / BLOCK) * size_of::<Tile>()
    }

    /// From `blocks` as llama.cpp has them: of each row in turn, the scale as f16 and 32 signed bytes.
    ///
    /// `None` if it does not [suit](Self::suits), or the blocks are not those of such a matrix.
    #[must_use]
    pub fn new(blocks: &[u8], output: usize, input: usize) -> Option<Self> {
        let (blocks, rest) = blocks.as_chunks::<{ 2 + BLOCK }>();
        let row = input / BLOCK;
        if !Self::suits(output, input) || !rest.is_empty() || blocks.len() != output * row {
            return None;
        }
        let tile = |rows: &[[u8; 2 + BLOCK]], block: usize| {
            let mut tile = Tile::zeroed();
            for (lane, row) in rows.chunks_exact(row).enumerate() {
                let [low, high, quants @ ..] = row[block];
                tile.scales[lane] = u16::from_le_bytes([low, high]);
                for (four, to) in quants.as_chunks::<4>().0.iter().zip(&mut tile.quants) {
                    to[4 * lane..][..4].copy_from_slice(&four.map(|quant| quant ^ 0x80));
                }
            }
            tile
        };
        let tiles = blocks
            .par_chunks_exact(LANES * row)
            .flat_map_iter(|rows| (0..row).map(move |block| tile(rows, block)));
        Some(Self {
            output,
            input,
            tiles: Tiles::Own(tiles.collect()),
        })
    }

    /// From the [bytes](Self::bytes) of such a matrix, which are in `file` from `start` on.
    ///
    /// `None` if it does not [suit](Self::suits), or they can't be there.
    #[must_use]
    pub fn mapped(file: &Arc<Mmap>, start: usize, output: usize, input: usize) -> Option<Self> {
        let bytes = Self::size(output, input);
        let found = file.get(start..)?.get(..bytes)?;
        bytemuck::try_cast_slice::<u8, Tile>(found).ok()?;
        let tiles = Tiles::Mapped {
            file: Arc::clone(file),
            start,
            bytes,
        };
        Self::suits(output, input).then_some(Self {
            output,
            input,
            tiles,
        })
    }

    /// What to keep of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.tiles)
    }

    /// Rows of the matrix.
    #[must_use]
    pub fn output(&self) -> usize {
        self.output
    }

    /// Row `index`, `(input)`.
    ///
    /// # Panics
    /// There is no such row.
    pub fn row(&self, index: usize) -> impl Iterator<Item = f32> {
        let tiles = &self.tiles[index / LANES * (self.input / BLOCK)..][..self.input / BLOCK];
        let lane = index % LANES;
        tiles.iter().flat_map(move |tile| {
            let scale = f16::from_bits(tile.scales[lane]).to_f32();
            let quants = tile
                .quants
                .iter()
                .flat_map(move |four| &four[4 * lane..][..4]);
            quants.map(move |&quant| scale * (f32::from(quant) - 128.0))
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{
        Device, Tensor,
        quantized::{GgmlDType, QTensor},
    };

    use super::*;

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

    type Multiply = fn(&Packed, &[f32], Option<&[f32]>) -> Vec<f32>;

    /// The ways in which this processor multiplies with such a matrix, and how far off a product of one activation is.
    fn ways(input: usize) -> Vec<(Multiply, f32)> {
        let mut ways: Vec<(Multiply, f32)> = vec![];
        if avx512::suits(input) {
            // Activations in 8 bits are off by 1/254 of the largest at most, in random directions: 0.008.
            ways.push((avx512::multiply, 0.01));
        }
        if avx2::suits(input) {
            // In 16 bits, by 1/65,534.
            ways.push((avx2::multiply, 0.00003));
        }
        ways
    }

    #[test]
    fn products_are_those_of_the_matrix_that_was_packed() {
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
    fn a_row_comes_out_the_same_whatever_stands_beside_it() {
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
    fn rows_are_those_of_the_matrix_that_was_packed() {
        let Some((packed, dense)) = matrix(32, 256) else {
            return;
        };
        for index in [0, 15, 16, 31] {
            let wanted: Vec<f32> = dense.get(index).unwrap().to_vec1().unwrap();
            assert!(packed.row(index).eq(wanted));
        }
    }

    #[test]
    fn what_can_not_be_such_a_matrix_is_refused() {
        assert!(Packed::new(&[0; 34 * 16 * 7], 16, 256 - 16).is_none());
        assert!(Packed::new(&[0; 34 * 16 * 8 - 1], 16, 256).is_none());
        assert!(Packed::new(&[0; 34 * 15 * 8], 15, 256).is_none());
    }
}
