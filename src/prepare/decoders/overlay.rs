//! A file as it should have been written: some bytes replaced, others with their bits in reverse order.

use std::{
    io::{Read, Result, Seek, SeekFrom},
    ops::Range,
};

/// A file that reads differently in places.
#[derive(Debug)]
pub(super) struct Overlay<R> {
    inner: R,
    position: u64,
    corrections: Corrections,
}

/// What is read differently.
#[derive(Debug, Default)]
pub(super) struct Corrections {
    /// Bytes that stand at an offset.
    pub(super) replaced: Vec<(u64, Vec<u8>)>,
    /// Where the bits of each byte are reversed; sorted, and none overlaps another.
    pub(super) reversed: Vec<Range<u64>>,
}

impl<R: Read> Overlay<R> {
    /// Reads `inner` from its start.
    pub(super) fn new(inner: R, corrections: Corrections) -> Self {
        Self {
            inner,
            position: 0,
            corrections,
        }
    }
}

impl<R: Read> Read for Overlay<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.inner.read(buffer)?;
        self.corrections.apply(self.position, &mut buffer[..read]);
        self.position += read as u64;
        Ok(read)
    }
}

impl<R: Seek> Seek for Overlay<R> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.position = self.inner.seek(to)?;
        Ok(self.position)
    }
}

impl Corrections {
    /// Corrects `bytes`, which stand at `offset` in the file.
    fn apply(&self, offset: u64, bytes: &mut [u8]) {
        let end = offset + bytes.len() as u64;
        let first = self.reversed.partition_point(|range| range.end <= offset);
        let ranges = self.reversed[first..].iter();
        for range in ranges.take_while(|range| range.start < end) {
            let (from, to) = (range.start.max(offset), range.end.min(end));
            for byte in &mut bytes[(from - offset) as usize..(to - offset) as usize] {
                *byte = byte.reverse_bits();
            }
        }
        for (at, replacement) in &self.replaced {
            for (index, &byte) in replacement.iter().enumerate() {
                let place = (at + index as u64).checked_sub(offset);
                let place = place.and_then(|place| bytes.get_mut(place as usize));
                if let Some(place) = place {
                    *place = byte;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn overlay_reads_corrected_from_any_offset() {
        let file: Vec<u8> = (0..40).collect();
        let corrections = || Corrections {
            replaced: vec![(4, vec![100, 101]), (39, vec![102, 103])],
            reversed: vec![10..12, 12..13, 20..30],
        };
        let mut expected = file.clone();
        expected[4..6].copy_from_slice(&[100, 101]);
        expected[39] = 102;
        for range in [10..13, 20..30] {
            expected[range]
                .iter_mut()
                .for_each(|byte| *byte = byte.reverse_bits());
        }
        for start in 0..file.len() {
            for piece in 1..9 {
                let mut overlay = Overlay::new(Cursor::new(&file), corrections());
                overlay.seek(SeekFrom::Start(start as u64)).unwrap();
                let mut read = Vec::<u8>::new();
                let mut buffer = vec![0; piece];
                while let Ok(count @ 1..) = overlay.read(&mut buffer) {
                    read.extend(&buffer[..count]);
                }
                assert_eq!(read, expected[start..], "{start}, {piece}");
            }
        }
    }
}
