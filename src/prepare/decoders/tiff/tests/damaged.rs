//! Damaged files: what is there is read, nothing panics, and memory is bounded.

use std::io::Cursor;

use proptest::prelude::*;

use super::{
    BUDGET, compression, grey, page_of, photometric, read, value,
    writer::{HEIGHT, Spec, WIDTH},
};
use crate::{error::ErrorKind, prepare::decoders::tiff::directory::Directories};

#[test]
fn damaged_tiff_is_read_as_far_as_it_goes() {
    for compression in [compression::NONE, compression::LZW, compression::DEFLATE] {
        let spec = Spec {
            compression,
            rows: 1,
            ..Spec::default()
        };
        let mut lost = 0;
        let rows = (0..HEIGHT).map(|y| {
            let row = (0..WIDTH).map(|x| value(x, y, 0, 8)).collect::<Vec<_>>();
            spec.compress(&spec.row(&row))
        });
        let mut chunks: Vec<_> = rows.collect();
        // The last ten strips are empty.
        for chunk in &mut chunks[HEIGHT as usize - 10..] {
            lost += 1;
            chunk.clear();
        }
        let mut file = spec.file_of(&chunks);
        // With a length of 0 a strip goes on to the next one, so these begin behind the end of the file.
        let end = (file.len() as u32 + 100).to_le_bytes();
        let table = find_last(&chunks).repeat(lost);
        let at = file.windows(table.len()).position(|window| window == table);
        let at = at.unwrap();
        file[at..at + table.len()].copy_from_slice(&end.repeat(lost));
        let decoded = read(&file).unwrap();
        assert!(decoded.is_damaged);
        let image = decoded.into_rgb();
        assert_eq!(image.get_pixel(7, 3).0, [grey(7, 3, 0, 8); 3]);
        assert_eq!(image.get_pixel(7, HEIGHT - 5).0, [255; 3]);
    }
}

/// The offset of the last strip as it is written.
fn find_last(chunks: &[Vec<u8>]) -> [u8; 4] {
    let before: usize = chunks.iter().map(Vec::len).sum();
    (8 + before as u32).to_le_bytes()
}

#[test]
fn tiff_that_would_take_too_much_memory_is_too_large() {
    let mut spec = Spec {
        compression: compression::DEFLATE,
        rows: u32::MAX,
        bits: 16,
        samples: 3,
        photometric: photometric::RGB,
        ..Spec::default()
    };
    spec.tile = None;
    let mut file = spec.file(|x, y, sample| value(x, y, sample, 16));
    for side in [WIDTH, HEIGHT] {
        let entry = [
            &4_u16.to_le_bytes()[..],
            &1_u32.to_le_bytes(),
            &side.to_le_bytes(),
        ]
        .concat();
        let at = file.windows(entry.len()).position(|bytes| bytes == entry);
        file[at.unwrap() + 6..][..4].copy_from_slice(&60_000_u32.to_le_bytes());
    }
    assert_eq!(read(&file).unwrap_err().kind, ErrorKind::TooLarge);
}

proptest! {
    #[test]
    fn mutated_tiff_never_panics(
        which in 0_usize..8,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        in_directory in any::<bool>(),
    ) {
        let (compression, photometric, samples, bits) = [
            (compression::NONE, photometric::RGB, 3, 8),
            (compression::LZW, photometric::RGB, 3, 16),
            (compression::DEFLATE, photometric::BLACK_IS_ZERO, 1, 12),
            (compression::ZSTD, photometric::SEPARATED, 4, 8),
            (compression::PACK_BITS, photometric::PALETTE, 1, 4),
            (compression::CCITT_G3, photometric::WHITE_IS_ZERO, 1, 1),
            (compression::NEXT, photometric::BLACK_IS_ZERO, 1, 2),
            (compression::THUNDERSCAN, photometric::BLACK_IS_ZERO, 1, 4),
        ][which];
        let spec = Spec {
            compression,
            photometric,
            samples,
            bits,
            tile: (which % 2 == 0 && which < 5).then_some((16, 16)),
            ..Spec::default()
        };
        let mut file = spec.file(|x, y, sample| value(x, y, sample, bits));
        let start = if in_directory { file.len() - 200 } else { 0 };
        for (at, byte) in changes {
            let at = start + at.index(file.len() - start);
            file[at] = byte;
        }
        if let Ok(mut directories) = Directories::open(Cursor::new(&file)) {
            for page in directories.pages().unwrap_or_default().into_iter().take(2) {
                let _ = page_of(&mut directories, page, &BUDGET);
            }
        }
    }

    #[test]
    fn tiff_directory_walk_never_panics_or_loops(header in 0_usize..4, rest in prop::collection::vec(any::<u8>(), 0..400)) {
        let header: &[u8] = [
            &b"II*\0\x08\0\0\0"[..],
            b"MM\0*\0\0\0\x08",
            b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0",
            b"",
        ][header];
        let file = [header, &rest].concat();
        if let Ok(mut directories) = Directories::open(Cursor::new(&file)) {
            for page in directories.pages().unwrap_or_default() {
                let _ = page_of(&mut directories, page, &BUDGET);
            }
        }
    }
}
