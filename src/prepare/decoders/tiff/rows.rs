//! The rows of a strip or a tile.

/// The rows of a strip or a tile, as far as they can be had.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) row_bytes: usize,
    /// Bits of a sample, which a decoder may have changed.
    pub(super) bits: u16,
    /// Samples begin with their highest byte.
    pub(super) big_endian: bool,
}

impl Chunk {
    /// A row, if all of it is there.
    pub(super) fn row(&self, y: u32) -> Option<&[u8]> {
        if self.bits == 0 {
            return None;
        }
        let start = self.row_bytes.checked_mul(y as usize)?;
        self.bytes.get(start..start.checked_add(self.row_bytes)?)
    }

    pub(super) fn of_rows(bytes: Vec<u8>, row_bytes: usize, bits: u16) -> Self {
        Self {
            bytes,
            row_bytes,
            bits,
            big_endian: true,
        }
    }
}
