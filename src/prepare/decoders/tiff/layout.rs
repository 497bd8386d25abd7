//! What the tags of a page say: how its pixels are cut into strips or tiles, and what their samples mean (TIFF 6.0; BigTIFF
//! and the newer compressions as libtiff 4.7 reads them).

use std::io::{Read, Seek};

use super::directory::{Directories, Directory};

/// Where the samples of a page are, and what they are.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) width: u32,
    pub(super) height: u32,
    /// (width, height) of a strip or a tile.
    pub(super) chunk: (u32, u32),
    /// Strips or tiles side by side, and below each other.
    pub(super) across: u32,
    pub(super) down: u32,
    /// Samples of a pixel, and whether each has its own strips or tiles.
    pub(super) samples: u16,
    pub(super) is_planar: bool,
    pub(super) sample: Sample,
    pub(super) compression: u16,
    pub(super) photometric: u16,
    pub(super) predictor: u16,
    /// The bits of each byte are in reverse order.
    pub(super) is_reversed: bool,
    pub(super) big_endian: bool,
    /// Columns and rows of pixels to one sample of colour, in data that is not JPEG.
    pub(super) subsampling: (u32, u32),
    /// Options of CCITT group 3.
    pub(super) fax_options: u64,
    /// One offset and one length for each strip or tile, those of the first sample first.
    pub(super) offsets: Vec<u64>,
    pub(super) lengths: Vec<u64>,
}

/// What one sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) bits: u16,
    pub(super) kind: SampleKind,
}

/// How the bits of a sample are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SampleKind {
    Unsigned,
    Signed,
    Float,
}

/// Why a page has no layout.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The directory says too little, or what can't be.
    Damaged,
    /// What nothing here reads.
    Unsupported(String),
}

/// Tags by their numbers in TIFF 6.0 and its supplements.
pub(super) mod tag {
    pub(in super::super) const WIDTH: u16 = 256;
    pub(in super::super) const HEIGHT: u16 = 257;
    pub(in super::super) const BITS: u16 = 258;
    pub(in super::super) const COMPRESSION: u16 = 259;
    pub(in super::super) const PHOTOMETRIC: u16 = 262;
    pub(in super::super) const FILL_ORDER: u16 = 266;
    pub(in super::super) const STRIP_OFFSETS: u16 = 273;
    pub(in super::super) const ORIENTATION: u16 = 274;
    pub(in super::super) const SAMPLES: u16 = 277;
    pub(in super::super) const ROWS_PER_STRIP: u16 = 278;
    pub(in super::super) const STRIP_BYTE_COUNTS: u16 = 279;
    pub(in super::super) const MIN_SAMPLE: u16 = 280;
    pub(in super::super) const MAX_SAMPLE: u16 = 281;
    pub(in super::super) const PLANAR: u16 = 284;
    pub(in super::super) const T4_OPTIONS: u16 = 292;
    pub(in super::super) const PREDICTOR: u16 = 317;
    pub(in super::super) const COLOR_MAP: u16 = 320;
    pub(in super::super) const TILE_WIDTH: u16 = 322;
    pub(in super::super) const TILE_HEIGHT: u16 = 323;
    pub(in super::super) const TILE_OFFSETS: u16 = 324;
    pub(in super::super) const TILE_BYTE_COUNTS: u16 = 325;
    pub(in super::super) const EXTRA_SAMPLES: u16 = 338;
    pub(in super::super) const SAMPLE_FORMAT: u16 = 339;
    pub(in super::super) const S_MIN_SAMPLE: u16 = 340;
    pub(in super::super) const S_MAX_SAMPLE: u16 = 341;
    pub(in super::super) const JPEG_TABLES: u16 = 347;
    pub(in super::super) const JPEG_STREAM: u16 = 513;
    pub(in super::super) const JPEG_STREAM_LENGTH: u16 = 514;
    pub(in super::super) const JPEG_RESTART: u16 = 515;
    pub(in super::super) const JPEG_Q_TABLES: u16 = 519;
    pub(in super::super) const JPEG_DC_TABLES: u16 = 520;
    pub(in super::super) const JPEG_AC_TABLES: u16 = 521;
    pub(in super::super) const YCBCR_COEFFICIENTS: u16 = 529;
    pub(in super::super) const YCBCR_SUBSAMPLING: u16 = 530;
    pub(in super::super) const REFERENCE_BLACK_WHITE: u16 = 532;
}

/// Values of `Compression`.
pub(super) mod compression {
    pub(in super::super) const NONE: u16 = 1;
    pub(in super::super) const CCITT_RLE: u16 = 2;
    pub(in super::super) const CCITT_G3: u16 = 3;
    pub(in super::super) const CCITT_G4: u16 = 4;
    pub(in super::super) const LZW: u16 = 5;
    pub(in super::super) const OLD_JPEG: u16 = 6;
    pub(in super::super) const JPEG: u16 = 7;
    pub(in super::super) const DEFLATE: u16 = 8;
    pub(in super::super) const NEXT: u16 = 32_766;
    pub(in super::super) const CCITT_RLE_WORDS: u16 = 32_771;
    pub(in super::super) const PACK_BITS: u16 = 32_773;
    pub(in super::super) const THUNDERSCAN: u16 = 32_809;
    pub(in super::super) const OLD_DEFLATE: u16 = 32_946;
    pub(in super::super) const JBIG: u16 = 34_661;
    pub(in super::super) const ZSTD: u16 = 50_000;
    pub(in super::super) const WEBP: u16 = 50_001;
}

/// Values of `PhotometricInterpretation`.
pub(super) mod photometric {
    pub(in super::super) const WHITE_IS_ZERO: u16 = 0;
    pub(in super::super) const BLACK_IS_ZERO: u16 = 1;
    pub(in super::super) const RGB: u16 = 2;
    pub(in super::super) const PALETTE: u16 = 3;
    pub(in super::super) const MASK: u16 = 4;
    pub(in super::super) const SEPARATED: u16 = 5;
    pub(in super::super) const YCBCR: u16 = 6;
    pub(in super::super) const CIE_LAB: u16 = 8;
    pub(in super::super) const ICC_LAB: u16 = 9;
}

/// A page has at most so many strips and tiles.
const MAX_CHUNKS: u64 = 1 << 22;
/// A pixel has at most so many samples.
const MAX_SAMPLES: u64 = 64;
/// `FillOrder`: the first pixel is in the lowest bit.
const LOWEST_BIT_FIRST: u64 = 2;

impl Layout {
    /// Reads the layout of a page.
    ///
    /// # Errors
    /// There is none, or none that can be read.
    pub(super) fn read<R: Read + Seek>(
        file: &mut Directories<R>,
        directory: &Directory,
    ) -> Result<Self, Flaw> {
        let mut number = |tag: u16| file.number(directory, tag);
        let side = |value: Option<u64>| {
            let value = u32::try_from(value?).ok()?;
            (value > 0).then_some(value)
        };
        let width = side(number(tag::WIDTH)).ok_or(Flaw::Damaged)?;
        let height = side(number(tag::HEIGHT)).ok_or(Flaw::Damaged)?;
        let samples = number(tag::SAMPLES).unwrap_or(1);
        if !(1..=MAX_SAMPLES).contains(&samples) {
            return Err(Flaw::Damaged);
        }
        let Some(photometric) = number(tag::PHOTOMETRIC) else {
            return Err(Flaw::Unsupported(
                "a TIFF without a colour model".to_owned(),
            ));
        };
        let compression = number(tag::COMPRESSION).unwrap_or(1);
        let is_reversed = number(tag::FILL_ORDER) == Some(LOWEST_BIT_FIRST);
        let is_planar = samples > 1 && number(tag::PLANAR) == Some(2);
        let predictor = number(tag::PREDICTOR).unwrap_or(1);
        let fax_options = number(tag::T4_OPTIONS).unwrap_or(0);
        let rows = number(tag::ROWS_PER_STRIP).unwrap_or(u64::MAX);
        let tile = (number(tag::TILE_WIDTH), number(tag::TILE_HEIGHT));
        let is_tiled = tile.0.is_some() && tile.1.is_some();
        let chunk = if is_tiled {
            let side = |value| side(value).ok_or(Flaw::Damaged);
            (side(tile.0)?, side(tile.1)?)
        } else {
            (width, rows.clamp(1, u64::from(height)) as u32)
        };
        let (across, down) = (width.div_ceil(chunk.0), height.div_ceil(chunk.1));
        let planes = if is_planar { samples } else { 1 };
        let count = u64::from(across)
            .checked_mul(u64::from(down))
            .and_then(|count| count.checked_mul(planes))
            .filter(|&count| count <= MAX_CHUNKS)
            .ok_or(Flaw::Damaged)?;
        // Some programs use the tags of strips for tiles.
        let places = [
            (tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS),
            (tag::STRIP_OFFSETS, tag::STRIP_BYTE_COUNTS),
        ];
        let mut values = |tag: u16| file.values(directory, tag).unwrap_or_default();
        let mut offsets = Vec::new();
        let mut lengths = Vec::new();
        for (offsets_tag, lengths_tag) in places {
            let is_own = (offsets_tag == tag::TILE_OFFSETS) == is_tiled;
            if is_own || offsets.is_empty() && is_tiled {
                offsets = values(offsets_tag);
                lengths = values(lengths_tag);
            }
        }
        let has_stream = u64::from(compression::OLD_JPEG) == compression
            && file.number(directory, tag::JPEG_STREAM).is_some();
        if offsets.is_empty() && !has_stream {
            return Err(Flaw::Damaged);
        }
        offsets.truncate(count as usize);
        lengths.resize(offsets.len(), 0);
        let subsampling = file.values(directory, tag::YCBCR_SUBSAMPLING);
        let subsampling = subsampling.unwrap_or_default();
        let small = |value: u64| u16::try_from(value).map_err(|_| Flaw::Damaged);
        let layout = Self {
            width,
            height,
            chunk,
            across,
            down,
            samples: samples as u16,
            is_planar,
            sample: Sample::read(file, directory)?,
            compression: small(compression)?,
            photometric: small(photometric)?,
            predictor: small(predictor)?,
            is_reversed,
            big_endian: file.is_big_endian(),
            subsampling: (
                subsampling.first().map_or(2, |&value| value as u32),
                subsampling.get(1).map_or(2, |&value| value as u32),
            ),
            fax_options,
            offsets,
            lengths,
        };
        layout.check_subsampling()?;
        Ok(layout)
    }

    /// Whether colours have fewer samples than lightness, and lie between those.
    pub(super) fn is_subsampled(&self) -> bool {
        self.photometric == photometric::YCBCR
            && self.samples == 3
            && self.subsampling != (1, 1)
            && !matches!(
                self.compression,
                compression::JPEG | compression::OLD_JPEG | compression::WEBP
            )
    }

    fn check_subsampling(&self) -> Result<(), Flaw> {
        if !self.is_subsampled() {
            return Ok(());
        }
        let is_usual = |factor| matches!(factor, 1 | 2 | 4);
        if !is_usual(self.subsampling.0) || !is_usual(self.subsampling.1) {
            return Err(Flaw::Damaged);
        }
        if self.is_planar || self.sample.bits != 8 {
            let what = "a TIFF with subsampled colours in planes or of other than 8 bits";
            return Err(Flaw::Unsupported(what.to_owned()));
        }
        Ok(())
    }

    /// Samples of a pixel that lie side by side.
    pub(super) fn interleaved(&self) -> u32 {
        if self.is_planar {
            1
        } else {
            self.samples.into()
        }
    }

    /// Sets of strips or tiles.
    pub(super) fn planes(&self) -> u32 {
        if self.is_planar {
            self.samples.into()
        } else {
            1
        }
    }

    /// Rows of the page in the strips or tiles of row `down`.
    pub(super) fn rows_in(&self, down: u32) -> u32 {
        let start = u64::from(down) * u64::from(self.chunk.1);
        u64::from(self.height)
            .saturating_sub(start)
            .min(self.chunk.1.into()) as u32
    }

    /// Bytes of a row of samples in a strip or a tile, without subsampling.
    pub(super) fn row_bytes(&self) -> u64 {
        let bits = u64::from(self.interleaved()) * u64::from(self.sample.bits);
        (u64::from(self.chunk.0).saturating_mul(bits)).div_ceil(8)
    }

    /// Bytes of `rows` rows of a strip or a tile, decompressed.
    pub(super) fn chunk_bytes(&self, rows: u32) -> u64 {
        if !self.is_subsampled() {
            return self.row_bytes().saturating_mul(rows.into());
        }
        let (across, down) = self.subsampling;
        let units = u64::from(self.chunk.0.div_ceil(across));
        let unit = u64::from(across * down + 2);
        units.saturating_mul(u64::from(rows.div_ceil(down)) * unit)
    }
}

impl Sample {
    fn read<R: Read + Seek>(
        file: &mut Directories<R>,
        directory: &Directory,
    ) -> Result<Self, Flaw> {
        let bits = file.values(directory, tag::BITS).unwrap_or_default();
        let format = file.number(directory, tag::SAMPLE_FORMAT).unwrap_or(1);
        let first = bits.first().copied().unwrap_or(1);
        let is_mixed = bits.iter().any(|&other| other != first);
        let unsupported = |what: String| Err(Flaw::Unsupported(what));
        let kind = match format {
            0 | 1 | 4 => SampleKind::Unsigned,
            2 => SampleKind::Signed,
            3 => SampleKind::Float,
            _ => return unsupported("a TIFF with complex numbers".to_owned()),
        };
        let is_known = match kind {
            SampleKind::Float => matches!(first, 16 | 24 | 32 | 64),
            _ => matches!(first, 1..=32 | 64),
        };
        if is_mixed || !is_known {
            let bits: Vec<_> = bits.iter().map(u64::to_string).collect();
            let bits = bits.join(", ");
            return unsupported(format!("a TIFF with {bits} bits per sample"));
        }
        let bits = first as u16;
        Ok(Self { bits, kind })
    }
}
