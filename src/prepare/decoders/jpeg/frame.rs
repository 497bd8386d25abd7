//! A whole JPEG picture, decoded with whatever of it is there: any order of scans, any sampling, 8 or 12 bits. The fast
//! decoder of the image library comes first; this one is for what that can't read, or only in part.

use super::{
    markers::{FrameHeader, ScanHeader, Segments, Tables, adobe_transform, marker},
    planes, scan,
};

/// Coefficients may take this many bytes.
const MAX_BYTES: u64 = 1 << 30;

/// A picture's samples.
#[derive(Debug)]
pub(in super::super) struct Picture {
    pub(in super::super) width: u32,
    pub(in super::super) height: u32,
    /// Samples of a pixel.
    pub(in super::super) components: usize,
    /// The pixels' samples side by side, with 8 bits.
    pub(in super::super) samples: Vec<u8>,
    pub(in super::super) color: Color,
    /// Nothing is missing or broken.
    pub(in super::super) is_whole: bool,
    /// The part of the picture that is there.
    pub(in super::super) part: f64,
    /// Which blocks of 8 by 8 samples of the first component are there, row by row; and how many pixels each shows.
    pub(in super::super) seen: Seen,
}

/// Which parts of a picture are there.
#[derive(Debug, Default)]
pub(in super::super) struct Seen {
    pub(super) blocks: Vec<bool>,
    pub(super) stride: usize,
    /// (width, height) of a block in pixels.
    pub(super) size: (usize, usize),
}

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

/// Decodes a picture.
///
/// # Errors
/// Nothing of it is there, or it is of a kind that is not decoded.
pub(in super::super) fn decode(bytes: &[u8]) -> Result<Picture, NoPicture> {
    let mut tables = Tables::default();
    let (mut frame, mut adobe, mut is_jfif) = (None::<Frame>, None, false);
    let (mut is_whole, mut has_end) = (true, false);
    let mut at = 0;
    while let Some(segment) = Segments::new(bytes, at).next() {
        at = segment.end;
        if let Some(header) = FrameHeader::read(segment) {
            // A second one is another picture's.
            if frame.is_some() {
                break;
            }
            frame = Some(Frame::new(&header, bytes, at)?);
            continue;
        }
        match segment.marker {
            marker::EOI => {
                has_end = true;
                break;
            }
            marker::SOS => {
                let Some(frame) = &mut frame else {
                    return Err(NoPicture::Damaged);
                };
                let Some(header) = ScanHeader::read(segment.content) else {
                    is_whole = false;
                    continue;
                };
                let (scan_is_whole, end) = scan::decode(frame, &header, &tables, &bytes[at..]);
                is_whole &= scan_is_whole;
                at += end;
            }
            0xE0 => is_jfif |= segment.content.starts_with(b"JFIF"),
            _ => {
                adobe = adobe_transform(segment).or(adobe);
                is_whole &= tables.take(segment).is_some();
            }
        }
    }
    let frame = frame.ok_or(NoPicture::Damaged)?;
    let is_seen = |component: &Component| component.is_whole(&frame);
    is_whole &= frame.components.iter().all(is_seen);
    // A later scan may be missing.
    is_whole &= has_end || !frame.is_progressive;
    let part = frame.components[0].seen_part();
    if part == 0.0 {
        return Err(NoPicture::Damaged);
    }
    let first = &frame.components[0];
    let seen = Seen {
        blocks: first.is_seen.clone(),
        stride: first.stride,
        size: (
            8 * frame.most.0 / first.sampling.0,
            8 * frame.most.1 / first.sampling.1,
        ),
    };
    Ok(Picture {
        width: frame.width as u32,
        height: frame.height as u32,
        components: frame.components.len(),
        color: frame.color(adobe, is_jfif),
        samples: planes::samples(&frame),
        is_whole,
        part,
        seen,
    })
}

impl Frame {
    fn new(header: &FrameHeader, bytes: &[u8], at: usize) -> Result<Self, NoPicture> {
        if let Some(what) = super::undecodable(header) {
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
        let component = |(header, sampling): (&super::markers::ComponentHeader, &(u8, u8))| {
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
    fn color(&self, adobe: Option<u8>, is_jfif: bool) -> Color {
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

    fn is_whole(&self, _frame: &Frame) -> bool {
        self.quantization_table.is_some() && self.seen_part() >= 1.0
    }

    /// The part of the blocks that are there.
    fn seen_part(&self) -> f64 {
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

impl Seen {
    /// Whether the pixel at (`x`, `y`) is there.
    pub(in super::super) fn shows(&self, x: usize, y: usize) -> bool {
        let block = y / self.size.1 * self.stride + x / self.size.0;
        self.blocks.get(block).copied().unwrap_or(true)
    }
}
