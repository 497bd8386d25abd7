//! A JPEG picture while it is decoded: its components, and their coefficients so far.

use super::markers::{ComponentHeader, FrameHeader, Segments, Tables, undecodable};

/// Coefficients may take this many bytes.
const MAX_BYTES: u64 = 1 << 30;

/// What the samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Color {
    Grey,
    Rgb,
    YCbCr,
    /// Ink; inverted where Adobe's programs wrote it.
    Cmyk {
        is_inverted: bool,
    },
    /// The same with the first three as lightness and colour.
    Ycck,
    Other,
}

/// Why there is no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum NoPicture {
    Damaged,
    TooLarge,
    Unsupported(&'static str),
}

/// A frame and its coefficients so far.
pub(super) struct Frame {
    pub(super) is_progressive: bool,
    pub(super) precision: u8,
    pub(super) width: usize,
    pub(super) height: usize,
    /// The largest sampling factors.
    pub(super) most: (usize, usize),
    pub(super) mcus_wide: usize,
    pub(super) mcus_high: usize,
    pub(super) components: Vec<Component>,
}

/// A component and its coefficients so far.
pub(super) struct Component {
    pub(super) id: u8,
    pub(super) sampling: (usize, usize),
    /// (width, height) in samples.
    pub(super) size: (usize, usize),
    /// Blocks in a row of whole MCUs.
    pub(super) stride: usize,
    pub(super) blocks: Vec<[i16; 64]>,
    pub(super) is_seen: Vec<bool>,
    quantization: u8,
    /// The table at the first scan of the component.
    pub(super) quantization_table: Option<[u16; 64]>,
}

impl Frame {
    pub(super) fn new(header: &FrameHeader, bytes: &[u8], at: usize) -> Result<Self, NoPicture> {
        if let Some(what) = undecodable(header) {
            return Err(NoPicture::Unsupported(what));
        }
        let height = match header.height {
            0 => number_of_lines(bytes, at).ok_or(NoPicture::Damaged)?,
            height => height,
        };
        let (width, height) = (usize::from(header.width), usize::from(height));
        let is_possible = |&(across, down): &(u8, u8)| matches!((across, down), (1..=4, 1..=4));
        let mut samplings: Vec<_> = header.components.iter().map(|c| c.sampling).collect();
        if width == 0 || height == 0 || !samplings.iter().all(is_possible) {
            return Err(NoPicture::Damaged);
        }
        if let [only] = &mut samplings[..] {
            // The factors of a single component mean nothing.
            *only = (1, 1);
        }
        let most = |factor: fn(&(u8, u8)) -> u8| samplings.iter().map(factor).max();
        let (Some(across), Some(down)) = (most(|s| s.0), most(|s| s.1)) else {
            return Err(NoPicture::Damaged);
        };
        let most = (usize::from(across), usize::from(down));
        let mcus_wide = width.div_ceil(8 * most.0);
        let mcus_high = height.div_ceil(8 * most.1);
        let per_mcu: u64 = samplings
            .iter()
            .map(|s| u64::from(s.0) * u64::from(s.1))
            .sum();
        // Two bytes for a coefficient, and one for each of two later stages.
        if per_mcu * 64 * 4 * (mcus_wide * mcus_high) as u64 > MAX_BYTES * 2 {
            return Err(NoPicture::TooLarge);
        }
        let component = |(header, sampling): (&ComponentHeader, &(u8, u8))| {
            let (across, down) = (usize::from(sampling.0), usize::from(sampling.1));
            let blocks = mcus_wide * across * mcus_high * down;
            Component {
                id: header.id,
                sampling: (across, down),
                size: (
                    (width * across).div_ceil(most.0),
                    (height * down).div_ceil(most.1),
                ),
                stride: mcus_wide * across,
                blocks: vec![[0; 64]; blocks],
                is_seen: vec![false; blocks],
                quantization: header.quantization,
                quantization_table: None,
            }
        };
        let components = header.components.iter().zip(&samplings).map(component);
        Ok(Self {
            is_progressive: header.is_progressive(),
            precision: header.precision,
            width,
            height,
            most,
            mcus_wide,
            mcus_high,
            components: components.collect(),
        })
    }

    /// As libjpeg guesses (`default_decompress_parms` of 6b).
    pub(super) fn color(&self, adobe: Option<u8>, is_jfif: bool) -> Color {
        let ids: Vec<_> = self
            .components
            .iter()
            .map(|component| component.id)
            .collect();
        match (self.components.len(), adobe) {
            (1, _) => Color::Grey,
            (3, _) if is_jfif => Color::YCbCr,
            (3, Some(0)) => Color::Rgb,
            (3, None) if ids == *b"RGB" => Color::Rgb,
            (3, _) => Color::YCbCr,
            (4, Some(2)) => Color::Ycck,
            (4, _) => Color::Cmyk {
                is_inverted: adobe.is_some(),
            },
            _ => Color::Other,
        }
    }
}

impl Component {
    /// (columns, rows) of blocks that show something of the picture.
    pub(super) fn own_blocks(&self) -> (usize, usize) {
        (self.size.0.div_ceil(8), self.size.1.div_ceil(8))
    }

    pub(super) fn block(&self, column: usize, row: usize) -> usize {
        row * self.stride + column
    }

    /// Takes the quantization table that holds from now on, if there is none yet.
    pub(super) fn note_tables(&mut self, tables: &Tables) {
        let table = tables.quantization.get(usize::from(self.quantization));
        let table = table.copied().flatten();
        self.quantization_table = self.quantization_table.or(table);
    }

    pub(super) fn is_whole(&self) -> bool {
        self.quantization_table.is_some() && self.seen_part() >= 1.0
    }

    /// The part of the blocks that are there.
    pub(super) fn seen_part(&self) -> f64 {
        let (columns, rows) = self.own_blocks();
        let row = |row: usize| &self.is_seen[row * self.stride..][..columns];
        let seen = (0..rows).flat_map(row).filter(|&&seen| seen).count();
        seen as f64 / (columns * rows) as f64
    }
}

/// The number of lines from the segment behind the first scan (section B.2.5).
fn number_of_lines(bytes: &[u8], at: usize) -> Option<u16> {
    const DNL: u8 = 0xDC;
    let found = Segments::new(bytes, at).find(|segment| segment.marker == DNL)?;
    Some(u16::from_be_bytes(*found.content.first_chunk()?))
}
