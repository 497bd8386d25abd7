//! A whole JPEG picture, decoded with whatever of it is there: any order of scans, any sampling, 8 or 12 bits. The fast
//! decoder of the image library comes first; this one is for what that can't read, or only in part.

use super::{
    frame::{Color, Component, Frame, NoPicture},
    markers::{FrameHeader, ScanHeader, Segments, Tables, adobe_transform, marker},
    planes, scan,
};

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
    is_whole &= frame.components.iter().all(Component::is_whole);
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

impl Seen {
    /// Whether the pixel at (`x`, `y`) is there.
    pub(in super::super) fn shows(&self, x: usize, y: usize) -> bool {
        let block = y / self.size.1 * self.stride + x / self.size.0;
        self.blocks.get(block).copied().unwrap_or(true)
    }
}
