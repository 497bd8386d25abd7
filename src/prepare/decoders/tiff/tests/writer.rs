//! Writes TIFF files of every layout.

use std::io::Write;

use flate2::{Compression as Level, write::ZlibEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use weezl::{BitOrder, encode::Encoder};

use super::super::layout::{compression, photometric, tag};

/// Sides that are no multiples of anything.
pub(super) const WIDTH: u32 = 37;
pub(super) const HEIGHT: u32 = 29;
pub(super) const SHORT: u16 = 3;
pub(super) const LONG: u16 = 4;

/// How a page is written.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) big_endian: bool,
    /// Width and height of a tile, or the rows of a strip.
    pub(super) tile: Option<(u32, u32)>,
    pub(super) rows: u32,
    pub(super) is_planar: bool,
    pub(super) compression: u16,
    pub(super) photometric: u16,
    pub(super) bits: u16,
    pub(super) samples: u16,
    pub(super) predictor: u16,
    pub(super) has_lengths: bool,
    pub(super) further: Vec<(u16, u16, Vec<u32>)>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            big_endian: false,
            tile: None,
            rows: 8,
            is_planar: false,
            compression: compression::NONE,
            photometric: photometric::BLACK_IS_ZERO,
            bits: 8,
            samples: 1,
            predictor: 1,
            has_lengths: true,
            further: Vec::new(),
        }
    }
}

impl Spec {
    /// The file, with `value(x, y, sample)` for each sample.
    pub(super) fn file(&self, value: impl Fn(u32, u32, u16) -> u64) -> Vec<u8> {
        let (width, height) = self.tile.unwrap_or((WIDTH, self.rows));
        let planes = if self.is_planar { self.samples } else { 1 };
        let mut chunks = Vec::new();
        for plane in 0..planes {
            for top in (0..HEIGHT).step_by(height as usize) {
                for left in (0..WIDTH).step_by(width as usize) {
                    let bottom = if self.tile.is_some() {
                        top + height
                    } else {
                        (top + height).min(HEIGHT)
                    };
                    let rows = (top..bottom).flat_map(|y| {
                        let own = if self.is_planar {
                            plane..plane + 1
                        } else {
                            0..self.samples
                        };
                        let value = &value;
                        let pixels = (left..left + width)
                            .flat_map(move |x| own.clone().map(move |sample| value(x, y, sample)));
                        self.row(&pixels.collect::<Vec<_>>())
                    });
                    chunks.push(self.compress(&rows.collect::<Vec<_>>()));
                }
            }
        }
        self.file_of(&chunks)
    }

    /// A row of samples as bytes, with the predictor.
    pub(super) fn row(&self, values: &[u64]) -> Vec<u8> {
        let stride = if self.is_planar {
            1
        } else {
            self.samples.into()
        };
        let value = |at: usize| match self.predictor {
            2 if at >= stride => values[at].wrapping_sub(values[at - stride]),
            _ => values[at],
        };
        if self.bits.is_multiple_of(8) {
            let size = usize::from(self.bits / 8);
            let bytes = (0..values.len()).flat_map(|at| {
                let bytes = value(at).to_le_bytes();
                let mut bytes = bytes[..size].to_vec();
                if self.big_endian {
                    bytes.reverse();
                }
                bytes
            });
            return bytes.collect();
        }
        let bits = (0..values.len()).flat_map(|at| {
            let value = values[at];
            (0..self.bits).rev().map(move |bit| value >> bit & 1 == 1)
        });
        pack(&bits.collect::<Vec<_>>())
    }

    pub(super) fn compress(&self, bytes: &[u8]) -> Vec<u8> {
        match self.compression {
            // Runs of one, and of copies.
            compression::PACK_BITS => bytes
                .chunks(100)
                .flat_map(|piece| {
                    if piece.iter().all(|byte| *byte == piece[0]) && piece.len() > 1 {
                        vec![(257 - piece.len()) as u8, piece[0]]
                    } else {
                        [&[piece.len() as u8 - 1], piece].concat()
                    }
                })
                .collect(),
            compression::LZW => Encoder::with_tiff_size_switch(BitOrder::Msb, 8)
                .encode(bytes)
                .unwrap(),
            compression::DEFLATE | compression::OLD_DEFLATE => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Level::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            compression::ZSTD => compress_to_vec(bytes, CompressionLevel::Fastest),
            _ => bytes.to_vec(),
        }
    }

    pub(super) fn file_of(&self, chunks: &[Vec<u8>]) -> Vec<u8> {
        let short = |value: u32| {
            let bytes = (value as u16).to_le_bytes();
            if self.big_endian {
                [bytes[1], bytes[0]]
            } else {
                bytes
            }
        };
        let long = |value: u32| {
            if self.big_endian {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let mut file = if self.big_endian {
            b"MM\0*\0\0\0\0".to_vec()
        } else {
            b"II*\0\0\0\0\0".to_vec()
        };
        let mut offsets = Vec::new();
        for chunk in chunks {
            offsets.push(file.len() as u32);
            file.extend(chunk);
        }
        let lengths = chunks.iter().map(|chunk| chunk.len() as u32).collect();
        let mut tags = vec![
            (tag::WIDTH, LONG, vec![WIDTH]),
            (tag::HEIGHT, LONG, vec![HEIGHT]),
            (
                tag::BITS,
                SHORT,
                vec![self.bits.into(); self.samples.into()],
            ),
            (tag::COMPRESSION, SHORT, vec![self.compression.into()]),
            (tag::PHOTOMETRIC, SHORT, vec![self.photometric.into()]),
            (tag::SAMPLES, SHORT, vec![self.samples.into()]),
            (tag::PLANAR, SHORT, vec![if self.is_planar { 2 } else { 1 }]),
            (tag::PREDICTOR, SHORT, vec![self.predictor.into()]),
        ];
        if let Some((width, height)) = self.tile {
            tags.push((tag::TILE_WIDTH, SHORT, vec![width]));
            tags.push((tag::TILE_HEIGHT, SHORT, vec![height]));
            tags.push((tag::TILE_OFFSETS, LONG, offsets));
            tags.push((tag::TILE_BYTE_COUNTS, LONG, lengths));
        } else {
            tags.push((tag::ROWS_PER_STRIP, LONG, vec![self.rows]));
            tags.push((tag::STRIP_OFFSETS, LONG, offsets));
            tags.push((tag::STRIP_BYTE_COUNTS, LONG, lengths));
        }
        if !self.has_lengths {
            tags.retain(|(tag, ..)| ![tag::STRIP_BYTE_COUNTS, tag::TILE_BYTE_COUNTS].contains(tag));
        }
        tags.extend(self.further.iter().cloned());
        tags.sort();
        let mut entries = Vec::new();
        for (tag, kind, values) in tags {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|&value| match kind {
                    SHORT => short(value).to_vec(),
                    _ => long(value).to_vec(),
                })
                .collect();
            entries.extend(short(tag.into()));
            entries.extend(short(kind.into()));
            entries.extend(long(values.len() as u32));
            if bytes.len() > 4 {
                entries.extend(long(file.len() as u32));
                file.extend(bytes);
            } else {
                entries.extend(&bytes);
                entries.resize(entries.len() + 4 - bytes.len(), 0);
            }
        }
        let directory = file.len() as u32;
        file[4..8].copy_from_slice(&long(directory));
        file.extend(short((entries.len() / 12) as u32));
        file.extend(entries);
        file.extend([0; 4]);
        file
    }
}

pub(super) fn pack(bits: &[bool]) -> Vec<u8> {
    let byte = |bits: &[bool]| {
        let bits = bits.iter().enumerate();
        bits.fold(0, |byte, (place, &bit)| byte | u8::from(bit) << (7 - place))
    };
    bits.chunks(8).map(byte).collect()
}
