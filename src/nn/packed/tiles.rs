//! How packed matrices lie in memory.

use std::{ops::Deref, sync::Arc};

use bytemuck::{Pod, Zeroable};
use half::f16;
use memmap2::Mmap;
use rayon::prelude::*;

use crate::nn::alloc::by_columns;

/// Output rows that are interleaved in a tile.
pub(super) const LANES: usize = 16;
/// Weights along a row that share a scale.
pub(super) const BLOCK: usize = 32;
/// Tasks of a product per thread, so that none waits long for the others.
const TASKS: usize = 4;

/// One block of each of sixteen rows.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Tile {
    /// As the bits of an f16.
    pub(super) scales: [u16; LANES],
    /// Four weights of each row, plus 128 each; then the next four.
    pub(super) quants: [[u8; 4 * LANES]; BLOCK / 4],
}

/// The weights of a matrix, `(output, input)`: the tiles of the first sixteen rows, those of the next sixteen, and so on.
pub(super) struct Tiles {
    pub(super) output: usize,
    pub(super) input: usize,
    memory: Memory,
}

enum Memory {
    Own(Vec<Tile>),
    /// From `start` on in a file.
    Mapped {
        file: Arc<Mmap>,
        start: usize,
        bytes: usize,
    },
}

impl Deref for Memory {
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

impl Tiles {
    /// From `blocks` in llama.cpp's layout: row by row, the scale as f16 and 32 signed bytes.
    ///
    /// `None` if `output` is not a multiple of sixteen, or the number of blocks does not fit it.
    pub(super) fn new(blocks: &[u8], output: usize, input: usize) -> Option<Self> {
        let (blocks, rest) = blocks.as_chunks::<{ 2 + BLOCK }>();
        let row = input / BLOCK;
        if !output.is_multiple_of(LANES) || !rest.is_empty() || blocks.len() != output * row {
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
            memory: Memory::Own(tiles.collect()),
        })
    }

    /// From the [bytes](Self::bytes) of such a matrix, which are in `file` from `start` on; none if they can't be there.
    pub(super) fn mapped(
        file: &Arc<Mmap>,
        start: usize,
        output: usize,
        input: usize,
    ) -> Option<Self> {
        let bytes = Self::size(output, input);
        let found = file.get(start..)?.get(..bytes)?;
        bytemuck::try_cast_slice::<u8, Tile>(found).ok()?;
        Some(Self {
            output,
            input,
            memory: Memory::Mapped {
                file: Arc::clone(file),
                start,
                bytes,
            },
        })
    }

    /// Size of a matrix in bytes.
    pub(super) fn size(output: usize, input: usize) -> usize {
        output / LANES * (input / BLOCK) * size_of::<Tile>()
    }

    /// Its bytes, to be kept on disk.
    pub(super) fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.memory)
    }

    /// Row `index`, `(input)`.
    pub(super) fn row(&self, index: usize) -> impl Iterator<Item = f32> {
        let tiles = &self.memory[index / LANES * (self.input / BLOCK)..][..self.input / BLOCK];
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

    /// A product with `x`, `(rows, input)`: `(rows, output)`, made of parts of `unit` columns or a multiple of that.
    /// `multiply` fills one: all rows of some columns, with their tiles and the bias from the first of them on.
    pub(super) fn by_parts(
        &self,
        x: &[f32],
        bias: Option<&[f32]>,
        unit: usize,
        multiply: impl Fn(&[Tile], Option<&[f32]>, &mut [&mut [f32]]) + Sync,
    ) -> Vec<f32> {
        let units = self.output.div_ceil(unit);
        let width = units.div_ceil(rayon::current_num_threads() * TASKS) * unit;
        let rows = x.len() / self.input;
        by_columns(rows, self.output, width, |number, part| {
            let first = number * width;
            let columns = part.first().map_or(0, |row| row.len());
            let blocks = self.input / BLOCK;
            let tiles = &self.memory[first / LANES * blocks..][..columns / LANES * blocks];
            multiply(tiles, bias.map(|bias| &bias[first..]), part);
        })
    }
}
