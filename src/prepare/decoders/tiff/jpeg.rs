//! JPEG in TIFF: strips and tiles that share tables (Adobe's Technical Note 2), and the older way, in which the parts of one
//! JPEG file lie all over the TIFF (TIFF 6.0, section 22; libtiff's `tif_ojpeg.c`).

use std::io::{Read, Seek};

use super::{
    directory::{Directories, Directory},
    layout::{Layout, photometric, tag},
    rows::Chunk,
};
use crate::prepare::decoders::{
    jpeg::{Color, Segments, decode_whatever_is_there, header, strictly},
    pixels::MAX_BYTES,
};

const START: [u8; 2] = [0xFF, 0xD8];
const END: [u8; 2] = [0xFF, 0xD9];
const START_OF_SCAN: u8 = 0xDA;

/// What strips share.
#[derive(Debug, Default)]
pub(super) struct JpegParts {
    /// A file of tables alone, without its end.
    tables: Vec<u8>,
}

impl JpegParts {
    pub(super) fn read<R: Read + Seek>(file: &mut Directories<R>, directory: &Directory) -> Self {
        let tables = file.values(directory, tag::JPEG_TABLES).unwrap_or_default();
        let mut tables: Vec<u8> = tables.into_iter().map(|byte| byte as u8).collect();
        if tables.ends_with(&END) {
            tables.truncate(tables.len() - END.len());
        }
        if !tables.starts_with(&START) {
            tables.clear();
        }
        Self { tables }
    }

    /// A strip as a JPEG file.
    pub(super) fn with_tables(&self, strip: &[u8]) -> Vec<u8> {
        match strip.strip_prefix(&START) {
            Some(rest) if !self.tables.is_empty() => [&self.tables, rest].concat(),
            _ => strip.to_vec(),
        }
    }
}

/// Decodes a strip, or a tile, to samples in the page's own colours.
pub(super) fn decode_strip(bytes: &[u8], layout: &Layout) -> Chunk {
    let Some(header) = header(bytes) else {
        return Chunk::default();
    };
    let count = header.components.len();
    let wanted = layout.interleaved() as usize;
    let area = u64::from(header.width) * u64::from(header.height);
    if area * count as u64 > MAX_BYTES {
        return Chunk::default();
    }
    let whole = strictly(bytes, &header, Some);
    let (samples, rows) = match whole {
        Some(samples) => (samples, usize::from(header.height)),
        None => match decode_whatever_is_there(bytes) {
            Ok(picture) if picture.color != Color::Other || count == wanted => {
                // Rows count that are there from side to side.
                let rows = (0..picture.height as usize).take_while(|&y| {
                    (0..picture.width as usize)
                        .step_by(8)
                        .all(|x| picture.seen.shows(x, y))
                });
                let rows = rows.count();
                (picture.samples, rows)
            }
            _ => return Chunk::default(),
        },
    };
    let row_bytes = usize::from(header.width) * count;
    if count != wanted || u32::from(header.width) < layout.chunk.0.min(layout.width) {
        return Chunk::default();
    }
    let mut samples = samples;
    samples.truncate(rows * row_bytes);
    Chunk::of_rows(samples, row_bytes, 8)
}

/// The one picture of a page in the older way, as a JPEG file.
pub(super) fn old_style<R: Read + Seek>(
    file: &mut Directories<R>,
    directory: &Directory,
    layout: &Layout,
) -> Option<Vec<u8>> {
    let number = |file: &mut Directories<R>, tag| file.number(directory, tag);
    let stream = number(file, tag::JPEG_STREAM).unwrap_or(0);
    let stream = if stream == 0 {
        Vec::new()
    } else {
        let length = number(file, tag::JPEG_STREAM_LENGTH).unwrap_or(0);
        let length = if length == 0 { u64::MAX } else { length };
        file.bytes_up_to(stream, length.min(MAX_BYTES)).ok()?
    };
    let strips = layout.offsets.iter().zip(&layout.lengths);
    let mut data = Vec::new();
    for (&offset, &length) in strips {
        let length = if length == 0 { u64::MAX } else { length };
        let room = MAX_BYTES.checked_sub(data.len() as u64)?;
        data.push(file.bytes_up_to(offset, length.min(room)).ok()?);
        if data.iter().map(Vec::len).sum::<usize>() as u64 >= MAX_BYTES {
            return None;
        }
    }
    // A whole file in the stream, or in the only strip.
    if has_scan(&stream) && header(&stream).is_some() {
        return Some(joined(&stream, &data));
    }
    if let [only] = &data[..]
        && only.starts_with(&START)
        && header(only).is_some()
    {
        return Some(only.clone());
    }
    let mut jpeg = if stream.starts_with(&START) {
        before_scan(&stream)
    } else {
        START.to_vec()
    };
    let tables = tables(file, directory);
    if Segments::new(&jpeg, 0).all(|segment| segment.marker != 0xDB) {
        jpeg.extend(tables);
    }
    if let Some(interval) = number(file, tag::JPEG_RESTART).filter(|&interval| interval > 0) {
        jpeg.extend([0xFF, 0xDD, 0, 4, (interval >> 8) as u8, interval as u8]);
    }
    let first = data.first()?;
    if has_scan(first) {
        // The strip has its own headers.
        jpeg.extend(first.strip_prefix(&START).unwrap_or(first));
        data.remove(0);
    } else {
        if header(&jpeg).is_none() {
            jpeg.extend(frame_header(layout)?);
        }
        jpeg.extend(scan_header(layout));
        jpeg.extend(first);
        data.remove(0);
    }
    append(&mut jpeg, &data);
    Some(jpeg)
}

/// A stream whose strips may lie in it or behind it.
fn joined(stream: &[u8], strips: &[Vec<u8>]) -> Vec<u8> {
    let scan = Segments::new(stream, 0).find(|segment| segment.marker == START_OF_SCAN);
    let end = scan.map_or(stream.len(), |segment| segment.end);
    let data: usize = strips.iter().map(Vec::len).sum();
    // Headers alone have hardly anything behind them.
    if stream.len() - end >= data / 2 || strips.is_empty() {
        return stream.to_vec();
    }
    let mut jpeg = stream[..end].to_vec();
    append(&mut jpeg, strips);
    jpeg
}

/// Adds further strips, which begin at restart markers.
fn append(jpeg: &mut Vec<u8>, strips: &[Vec<u8>]) {
    for (index, strip) in strips.iter().enumerate() {
        let ends_with_restart = matches!(jpeg[..], [.., 0xFF, 0xD0..=0xD7]);
        if index > 0 && !ends_with_restart {
            jpeg.extend([0xFF, 0xD0 | ((index - 1) & 7) as u8]);
        }
        jpeg.extend(strip);
    }
    if !jpeg.ends_with(&END) {
        jpeg.extend(END);
    }
}

fn has_scan(bytes: &[u8]) -> bool {
    bytes.starts_with(&START)
        && Segments::new(bytes, 0).any(|segment| segment.marker == START_OF_SCAN)
}

/// What comes before a stream's scan, or its end.
fn before_scan(stream: &[u8]) -> Vec<u8> {
    let mut end = START.len();
    for segment in Segments::new(stream, 0) {
        if matches!(segment.marker, START_OF_SCAN | 0xD9) {
            break;
        }
        end = segment.end;
    }
    stream[..end].to_vec()
}

/// The tables that lie at offsets of their own.
fn tables<R: Read + Seek>(file: &mut Directories<R>, directory: &Directory) -> Vec<u8> {
    let mut offsets = |tag: u16| file.values(directory, tag).unwrap_or_default();
    let kinds = [
        (0xDB, 0, offsets(tag::JPEG_Q_TABLES)),
        (0xC4, 0, offsets(tag::JPEG_DC_TABLES)),
        (0xC4, 0x10, offsets(tag::JPEG_AC_TABLES)),
    ];
    let mut segments = Vec::new();
    for (marker, class, offsets) in kinds {
        for (index, offset) in (0_u8..4).zip(offsets) {
            let mut length = 64;
            if marker == 0xC4 {
                let counts = file.bytes_up_to(offset, 16).unwrap_or_default();
                length = 16 + counts.iter().map(|&count| u64::from(count)).sum::<u64>();
            }
            let table = file.bytes_up_to(offset, length).unwrap_or_default();
            let size = (table.len() + 3) as u16;
            segments.extend([0xFF, marker]);
            segments.extend(size.to_be_bytes());
            segments.push(class | index);
            segments.extend(table);
        }
    }
    segments
}

fn frame_header(layout: &Layout) -> Option<Vec<u8>> {
    let (width, height) = (
        u16::try_from(layout.width).ok()?,
        u16::try_from(layout.height).ok()?,
    );
    let count = u8::try_from(layout.samples)
        .ok()
        .filter(|&count| count <= 4)?;
    let mut header = vec![0xFF, 0xC0, 0, 8 + 3 * count, 8];
    header.extend(height.to_be_bytes());
    header.extend(width.to_be_bytes());
    header.push(count);
    for index in 0..count {
        let (across, down) = layout.subsampling;
        let is_first = index == 0 && layout.photometric == photometric::YCBCR;
        let sampling = if is_first {
            (across << 4 | down) as u8
        } else {
            0x11
        };
        header.extend([index + 1, sampling, index]);
    }
    Some(header)
}

fn scan_header(layout: &Layout) -> Vec<u8> {
    let count = layout.samples as u8;
    let mut header = vec![0xFF, START_OF_SCAN, 0, 6 + 2 * count, count];
    for index in 0..count {
        header.extend([index + 1, index << 4 | index]);
    }
    header.extend([0, 63, 0]);
    header
}
