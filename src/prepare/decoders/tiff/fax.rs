//! CCITT fax compression: groups 3 and 4, and runs without line ends (TIFF 6.0, sections 10 and 11; ITU-T T.4 and T.6).

use hayro_ccitt::{DecodeSettings, Decoder, DecoderContext, EncodingMode, decode};

use super::layout::compression;

/// `T4Options`: lines refer to the ones before them.
const TWO_DIMENSIONAL: u64 = 1;

/// As many whole rows as can be had, packed to bits, 1 for black.
pub(super) fn unpack(
    input: &[u8],
    compression: u16,
    options: u64,
    (width, height): (u32, u32),
) -> Vec<u8> {
    let encoding = match compression {
        compression::CCITT_G4 => EncodingMode::Group4,
        compression::CCITT_G3 if options & TWO_DIMENSIONAL != 0 => EncodingMode::Group3_2D { k: 4 },
        _ => EncodingMode::Group3_1D,
    };
    let settings = DecodeSettings {
        columns: width,
        rows: height,
        end_of_block: true,
        end_of_line: compression == compression::CCITT_G3,
        rows_are_byte_aligned: matches!(
            compression,
            compression::CCITT_RLE | compression::CCITT_RLE_WORDS
        ),
        encoding,
        invert_black: false,
    };
    let mut rows = Rows::new(width, height);
    if compression == compression::CCITT_RLE_WORDS {
        rows_at_words(input, settings, &mut rows);
    } else {
        // What comes before an error counts too.
        let _ = decode(input, &mut rows, &mut DecoderContext::new(settings));
    }
    rows.whole()
}

/// Rows that begin at an even offset each.
fn rows_at_words(mut input: &[u8], settings: DecodeSettings, rows: &mut Rows) {
    let one = DecodeSettings {
        rows: 1,
        end_of_block: false,
        ..settings
    };
    let mut context = DecoderContext::new(one);
    for _ in 0..settings.rows {
        let Ok(used) = decode(input, rows, &mut context) else {
            return;
        };
        input = input.get(used.next_multiple_of(2)..).unwrap_or_default();
    }
}

/// Collects pixels.
struct Rows {
    bytes: Vec<u8>,
    row_bytes: usize,
    finished: usize,
    /// Pixels in the row that has begun.
    pixels: usize,
    most: usize,
}

impl Rows {
    fn new(width: u32, height: u32) -> Self {
        let row_bytes = (width as usize).div_ceil(8);
        Self {
            bytes: Vec::new(),
            row_bytes,
            finished: 0,
            pixels: 0,
            most: height as usize,
        }
    }

    fn whole(mut self) -> Vec<u8> {
        self.bytes
            .truncate(self.finished.min(self.most) * self.row_bytes);
        self.bytes
    }
}

impl Decoder for Rows {
    fn push_pixel(&mut self, white: bool) {
        if self.pixels.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let (false, Some(last)) = (white, self.bytes.last_mut()) {
            *last |= 0x80 >> (self.pixels % 8);
        }
        self.pixels += 1;
    }

    fn push_pixel_chunk(&mut self, white: bool, chunk_count: u32) {
        let value = if white { 0 } else { 0xFF };
        let length = self.bytes.len() + chunk_count as usize;
        self.bytes.resize(length, value);
        self.pixels += 8 * chunk_count as usize;
    }

    fn next_line(&mut self) {
        self.finished += 1;
        self.bytes.resize(self.finished * self.row_bytes, 0);
        self.pixels = 0;
    }
}
