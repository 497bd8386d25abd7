//! Strips and tiles: read from the file, decompressed, and laid out in rows.

use std::io::{Read, Seek};

use image::{DynamicImage, codecs::webp::WebPDecoder};

use super::{
    bytes,
    directory::{Directories, Directory},
    fax,
    jpeg::{JpegParts, decode_strip},
    layout::{Layout, compression},
    predictor,
    rows::Chunk,
};
use crate::prepare::decoders::pixels::MAX_BYTES;

/// Why a strip or a tile can't be read at all.
#[derive(Debug)]
pub(super) enum NoChunk {
    TooLarge,
    Unsupported(String),
}

/// Reads the strips and tiles of one page.
pub(super) struct Chunks<'a, R> {
    file: &'a mut Directories<R>,
    layout: &'a Layout,
    jpeg: JpegParts,
    /// Offsets in order, which bound strips of unknown length.
    starts: Vec<u64>,
}

impl<'a, R: Read + Seek> Chunks<'a, R> {
    pub(super) fn new(
        file: &'a mut Directories<R>,
        directory: &Directory,
        layout: &'a Layout,
    ) -> Self {
        let mut starts = layout.offsets.clone();
        starts.sort_unstable();
        Self {
            jpeg: JpegParts::read(file, directory),
            file,
            layout,
            starts,
        }
    }

    /// The strip or tile at (`across`, `down`) of a plane; an empty one if it is missing.
    ///
    /// # Errors
    /// Nothing here decodes it, or it is too large.
    pub(super) fn read(&mut self, plane: u32, across: u32, down: u32) -> Result<Chunk, NoChunk> {
        let layout = self.layout;
        let rows = layout.rows_in(down);
        // Tiles are whole, and also some strips go on below the page.
        let stored_rows = if layout.chunk.0 < layout.width || layout.across > 1 {
            layout.chunk.1
        } else {
            rows
        };
        let length = layout.chunk_bytes(stored_rows);
        if length > MAX_BYTES {
            return Err(NoChunk::TooLarge);
        }
        let index = (u64::from(plane) * u64::from(layout.down) + u64::from(down))
            * u64::from(layout.across)
            + u64::from(across);
        let input = self.input(index as usize, length);
        self.decode(&input, rows, length as usize)
    }

    /// The bytes of a strip or a tile as they are in the file, in the usual order of bits.
    fn input(&mut self, index: usize, decoded: u64) -> Vec<u8> {
        let layout = self.layout;
        let Some(&offset) = layout.offsets.get(index) else {
            return Vec::new();
        };
        let mut length = layout.lengths.get(index).copied().unwrap_or(0);
        if layout.compression == compression::NONE {
            length = decoded;
        } else if length == 0 {
            // Up to the next one, or to the end.
            let next = self.starts.partition_point(|&start| start <= offset);
            let next = self.starts.get(next).copied();
            length = next.unwrap_or(self.file.length()).saturating_sub(offset);
        }
        let input = self.file.bytes_up_to(offset, length.min(MAX_BYTES));
        let mut input = input.unwrap_or_default();
        let is_turned = !matches!(
            layout.compression,
            compression::OLD_JPEG | compression::JPEG | compression::JBIG
        );
        if layout.is_reversed && is_turned {
            for byte in &mut input {
                *byte = byte.reverse_bits();
            }
        }
        input
    }

    fn decode(&mut self, input: &[u8], rows: u32, length: usize) -> Result<Chunk, NoChunk> {
        let layout = self.layout;
        let (width, height) = layout.chunk;
        let (wide, rows_here) = (width as usize, height.min(rows) as usize);
        let has_predictor = matches!(
            layout.compression,
            compression::LZW | compression::DEFLATE | compression::OLD_DEFLATE | compression::ZSTD
        );
        let mut bytes = match layout.compression {
            compression::NONE => input.to_vec(),
            compression::PACK_BITS => bytes::pack_bits(input, length),
            compression::LZW => bytes::lzw(input, length),
            compression::DEFLATE | compression::OLD_DEFLATE => bytes::deflate(input, length),
            compression::ZSTD => bytes::zstd(input, length),
            compression::CCITT_RLE
            | compression::CCITT_RLE_WORDS
            | compression::CCITT_G3
            | compression::CCITT_G4 => {
                self.require_bits(1)?;
                let size = (width, rows);
                fax::unpack(input, layout.compression, layout.fax_options, size)
            }
            compression::THUNDERSCAN => {
                self.require_bits(4)?;
                bytes::thunderscan(input, wide, rows_here)
            }
            compression::NEXT => {
                self.require_bits(2)?;
                bytes::next(input, wide, rows_here)
            }
            compression::JPEG => {
                let strip = self.jpeg.with_tables(input);
                return Ok(decode_strip(&strip, layout));
            }
            compression::WEBP => return Ok(webp(input, layout)),
            other => return Err(NoChunk::Unsupported(unsupported(other))),
        };
        let mut big_endian = layout.big_endian;
        if has_predictor {
            let order = predictor::undo(&mut bytes, layout);
            big_endian = order.map_err(NoChunk::Unsupported)?;
        }
        let chunk = Chunk {
            bytes,
            row_bytes: layout.row_bytes() as usize,
            bits: layout.sample.bits,
            big_endian,
        };
        Ok(if layout.is_subsampled() {
            enlarge_colors(&chunk.bytes, layout, rows)
        } else {
            chunk
        })
    }

    fn require_bits(&self, bits: u16) -> Result<(), NoChunk> {
        let layout = self.layout;
        if layout.sample.bits == bits && layout.interleaved() == 1 {
            return Ok(());
        }
        let message = format!(
            "a TIFF with {} bits per sample and compression {}",
            layout.sample.bits, layout.compression
        );
        Err(NoChunk::Unsupported(message))
    }
}

/// Three samples for each pixel, from units of lightness of several pixels and one colour for all of them (TIFF 6.0,
/// section 21).
fn enlarge_colors(bytes: &[u8], layout: &Layout, rows: u32) -> Chunk {
    let (across, down) = (layout.subsampling.0 as usize, layout.subsampling.1 as usize);
    let width = layout.chunk.0 as usize;
    let unit = across * down + 2;
    let row_of_units = width.div_ceil(across) * unit;
    let mut enlarged = Vec::new();
    'rows: for y in 0..rows as usize {
        let start = y / down * row_of_units;
        let Some(units) = bytes.get(start..start + row_of_units) else {
            break 'rows;
        };
        for x in 0..width {
            let unit = &units[x / across * unit..][..unit];
            let luma = unit[y % down * across + x % across];
            enlarged.extend([luma, unit[across * down], unit[across * down + 1]]);
        }
    }
    Chunk::of_rows(enlarged, 3 * width, 8)
}

fn webp(input: &[u8], layout: &Layout) -> Chunk {
    let decoder = WebPDecoder::new(std::io::Cursor::new(input)).ok();
    let image = decoder.and_then(|decoder| DynamicImage::from_decoder(decoder).ok());
    let fits =
        |image: &DynamicImage| image.width() == layout.chunk.0 && image.height() <= layout.chunk.1;
    let Some(image) = image.filter(fits) else {
        return Chunk::default();
    };
    let samples = match layout.samples {
        3 => image.into_rgb8().into_raw(),
        4 => image.into_rgba8().into_raw(),
        _ => return Chunk::default(),
    };
    let row_bytes = layout.chunk.0 as usize * usize::from(layout.samples);
    Chunk::of_rows(samples, row_bytes, 8)
}

/// The name of a compression that nothing here undoes.
fn unsupported(compression: u16) -> String {
    let name = match compression {
        compression::OLD_JPEG => "old-style JPEG",
        compression::JBIG => "JBIG",
        34_676 | 34_677 => "SGI LogLuv",
        34_712 => "JPEG 2000",
        34_887 => "LERC",
        34_925 => "LZMA",
        50_002 => "JPEG XL",
        _ => return format!("a TIFF with compression {compression}"),
    };
    format!("a TIFF with {name} compression")
}
