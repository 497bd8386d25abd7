//! The segments of a JPEG file (ITU-T T.81, annex B): what lies before its compressed data, and where that is.

use super::huffman::Table;

/// Segments by their markers.
pub(super) mod marker {
    pub(in super::super) const SOI: u8 = 0xD8;
    pub(in super::super) const EOI: u8 = 0xD9;
    pub(in super::super) const SOS: u8 = 0xDA;
    pub(in super::super) const DHT: u8 = 0xC4;
    pub(in super::super) const DQT: u8 = 0xDB;
    pub(in super::super) const DRI: u8 = 0xDD;
    pub(in super::super) const APP1: u8 = 0xE1;
    pub(in super::super) const APP14: u8 = 0xEE;
    pub(in super::super) const JPEG_LS: u8 = 0xF7;
}

/// Coefficients as they are stored → row by row (figure A.6).
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A segment: its marker, and what follows its length.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Segment<'a> {
    pub(in super::super) marker: u8,
    pub(in super::super) content: &'a [u8],
    /// Where it ends in the file.
    pub(in super::super) end: usize,
}

/// The segments from an offset on.
pub(in super::super) struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    pub(in super::super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    /// The next segment, past anything that is none. The end marker has no content.
    fn next(&mut self) -> Option<Segment<'a>> {
        loop {
            let rest = self.bytes.get(self.at..)?;
            self.at += rest.iter().position(|&byte| byte == 0xFF)?;
            let rest = &self.bytes[self.at..];
            let fill = rest.iter().position(|&byte| byte != 0xFF)?;
            self.at += fill + 1;
            let rest = &rest[fill..];
            match rest[0] {
                0 | 0x01 | 0xD0..=marker::SOI => {}
                marker::EOI => {
                    return Some(Segment {
                        marker: marker::EOI,
                        content: &[],
                        end: self.at,
                    });
                }
                marker => {
                    let length = u16::from_be_bytes(*rest[1..].first_chunk()?);
                    let content = rest.get(3..1 + usize::from(length).max(2))?;
                    self.at += usize::from(length).max(2);
                    return Some(Segment {
                        marker,
                        content,
                        end: self.at,
                    });
                }
            }
        }
    }
}

/// A frame header (section B.2.2).
#[derive(Debug, Clone)]
pub(in super::super) struct FrameHeader {
    pub(in super::super) marker: u8,
    /// Bits per sample.
    pub(in super::super) precision: u8,
    pub(in super::super) width: u16,
    /// 0 if a later segment says it.
    pub(in super::super) height: u16,
    pub(in super::super) components: Vec<ComponentHeader>,
}

/// A component in a frame header.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct ComponentHeader {
    pub(in super::super) id: u8,
    /// Samples in an MCU, horizontally and vertically.
    pub(in super::super) sampling: (u8, u8),
    pub(in super::super) quantization: u8,
}

impl FrameHeader {
    /// Reads a frame header, if the segment is one.
    pub(in super::super) fn read(segment: Segment) -> Option<Self> {
        let Segment {
            marker, content, ..
        } = segment;
        // Tables and a reserved number lie among the frames.
        if !matches!(marker, 0xC0..=0xCF | marker::JPEG_LS) || matches!(marker, 0xC4 | 0xC8 | 0xCC)
        {
            return None;
        }
        let &[precision, h0, h1, w0, w1, count, ref rest @ ..] = content else {
            return None;
        };
        let components = rest.chunks_exact(3).take(count.into());
        let components = components.map(|component| ComponentHeader {
            id: component[0],
            sampling: (component[1] >> 4, component[1] & 15),
            quantization: component[2],
        });
        let header = Self {
            marker,
            precision,
            width: u16::from_be_bytes([w0, w1]),
            height: u16::from_be_bytes([h0, h1]),
            components: components.collect(),
        };
        (header.components.len() == usize::from(count)).then_some(header)
    }

    pub(in super::super) fn is_progressive(&self) -> bool {
        self.marker == 0xC2
    }
}

/// The kind of a picture that nothing here decodes (ITU-T T.81, table B.1; JPEG-LS is T.87).
pub(super) fn undecodable(header: &FrameHeader) -> Option<&'static str> {
    Some(match (header.marker, header.precision) {
        (0xC0..=0xC2, 8 | 12) => return None,
        (0xC0..=0xC2, _) => "a JPEG with other than 8 or 12 bits per sample",
        (0xC3, _) => "a lossless JPEG",
        (0xC5..=0xC7, _) => "a hierarchical JPEG",
        (0xC9 | 0xCA, _) => "a JPEG with arithmetic coding",
        (0xCB, _) => "a lossless JPEG with arithmetic coding",
        (0xCD..=0xCF, _) => "a hierarchical JPEG with arithmetic coding",
        _ => "a JPEG-LS",
    })
}

/// A scan header (section B.2.3).
#[derive(Debug, Clone)]
pub(super) struct ScanHeader {
    /// Each component's id and its tables for the first and the other coefficients.
    pub(super) components: Vec<(u8, u8, u8)>,
    /// First and last coefficient.
    pub(super) band: (u8, u8),
    /// The bit that the scan before ended with, and that of this one.
    pub(super) bits: (u8, u8),
}

impl ScanHeader {
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let (&count, rest) = content.split_first()?;
        let (components, rest) = rest.split_at_checked(2 * usize::from(count))?;
        let &[first, last, bits, ..] = rest else {
            return None;
        };
        let components = components.chunks_exact(2);
        let components = components.map(|pair| (pair[0], pair[1] >> 4, pair[1] & 15));
        Some(Self {
            components: components.collect(),
            band: (first, last),
            bits: (bits >> 4, bits & 15),
        })
    }
}

/// The tables that scans use.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// In the order of [`ZIGZAG`].
    pub(super) quantization: [Option<[u16; 64]>; 4],
    /// For the first coefficient, and for the others.
    pub(super) huffman: [[Option<Table>; 4]; 2],
    /// MCUs from one restart marker to the next; 0 for none.
    pub(super) restart_interval: usize,
}

impl Tables {
    /// Takes the tables of a segment, as far as there are any.
    pub(super) fn take(&mut self, segment: Segment) -> Option<()> {
        let mut rest = segment.content;
        match segment.marker {
            marker::DQT => {
                while let Some((&head, values)) = rest.split_first() {
                    let size = if head >> 4 == 0 { 1 } else { 2 };
                    let (values, after) = values.split_at_checked(64 * size)?;
                    let mut table = [0; 64];
                    for (entry, value) in table.iter_mut().zip(values.chunks_exact(size)) {
                        *entry = value
                            .iter()
                            .fold(0, |all, &byte| all << 8 | u16::from(byte));
                    }
                    *self.quantization.get_mut(usize::from(head & 15))? = Some(table);
                    rest = after;
                }
            }
            marker::DHT => {
                while let Some((&head, values)) = rest.split_first() {
                    let (counts, values) = values.split_first_chunk::<16>()?;
                    let total = counts.iter().map(|&count| usize::from(count)).sum();
                    let (symbols, after) = values.split_at_checked(total)?;
                    let of_kind = self.huffman.get_mut(usize::from(head >> 4))?;
                    *of_kind.get_mut(usize::from(head & 15))? = Some(Table::new(counts, symbols));
                    rest = after;
                }
            }
            marker::DRI => {
                let interval = u16::from_be_bytes(*rest.first_chunk()?);
                self.restart_interval = interval.into();
            }
            _ => {}
        }
        Some(())
    }
}

/// The colour transform of Adobe's segment, if this is one.
pub(super) fn adobe_transform(segment: Segment) -> Option<u8> {
    let content = segment.content.strip_prefix(b"Adobe")?;
    if segment.marker == marker::APP14 {
        content.get(6).copied()
    } else {
        None
    }
}

/// What the segments before the first scan say of how the picture is to be turned: EXIF data, and XMP data.
pub(super) fn metadata(bytes: &[u8]) -> [Option<&[u8]>; 2] {
    let starts: [&[u8]; 2] = [b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"];
    starts.map(|start| {
        Segments::new(bytes, 2)
            .take_while(|segment| segment.marker != marker::SOS)
            .filter(|segment| segment.marker == marker::APP1)
            .find_map(|segment| segment.content.strip_prefix(start))
    })
}
