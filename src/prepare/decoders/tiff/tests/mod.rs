//! Every way to lay out a page, written here and read again.

mod writer;

use std::io::Cursor;

use proptest::prelude::*;

use self::writer::{HEIGHT, LONG, SHORT, Spec, WIDTH, pack};
use super::{
    directory::Directories,
    layout::{compression, photometric, tag},
    page_of,
};
use crate::{error::ErrorKind, page::PixelBudget, prepare::decoders::pixels::Decoded};

const BUDGET: PixelBudget = PixelBudget {
    factor: 1,
    min_pixels: 1,
    max_pixels: 1_000_000,
};

/// Bits written as digits.
fn bits(digits: &str) -> Vec<bool> {
    let digits = digits.chars().filter(|digit| !digit.is_whitespace());
    digits.map(|digit| digit == '1').collect()
}

fn read(file: &[u8]) -> Result<Decoded, crate::error::PageError> {
    let mut directories = Directories::open(Cursor::new(file)).unwrap();
    let first = directories.pages().unwrap()[0];
    page_of(&mut directories, first, &BUDGET)
}

#[track_caller]
fn assert_pixels(file: &[u8], what: &str, expected: impl Fn(u32, u32) -> [u8; 3]) {
    let decoded = read(file).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(!decoded.is_damaged, "{what}");
    let image = decoded.into_rgb();
    assert_eq!(image.dimensions(), (WIDTH, HEIGHT), "{what}");
    for (x, y, pixel) in image.enumerate_pixels() {
        let expected = expected(x, y);
        let near = pixel
            .0
            .iter()
            .zip(expected)
            .all(|(&a, b)| a.abs_diff(b) <= 1);
        assert!(near, "{what}: {:?}, not {expected:?} at {x}, {y}", pixel.0);
    }
}

/// A pattern in samples of so many bits.
fn value(x: u32, y: u32, sample: u16, bits: u16) -> u64 {
    let most = (1_u64 << bits) - 1;
    // In runs of five, so that they can be compressed; both ends of the range are among them.
    let step = u64::from(x / 5 + y * 3 + u32::from(sample) * 7) % 9;
    most * step / 8
}

fn grey(x: u32, y: u32, sample: u16, bits: u16) -> u8 {
    let most = (1_u64 << bits) - 1;
    (value(x, y, sample, bits) * 255 / most) as u8
}

#[test]
fn tiff_of_any_layout_and_compression_is_read() {
    use compression::{DEFLATE, LZW, NONE, OLD_DEFLATE, PACK_BITS, ZSTD};
    let mut count = 0;
    for compression in [NONE, PACK_BITS, LZW, DEFLATE, OLD_DEFLATE, ZSTD] {
        for (tile, rows) in [
            (None, 8),
            (None, 1),
            (None, u32::MAX >> 8),
            (Some((16, 16)), 0),
        ] {
            for (photometric, samples, bits) in [
                (photometric::BLACK_IS_ZERO, 1, 1),
                (photometric::WHITE_IS_ZERO, 1, 1),
                (photometric::BLACK_IS_ZERO, 1, 4),
                (photometric::WHITE_IS_ZERO, 1, 8),
                (photometric::BLACK_IS_ZERO, 1, 16),
                (photometric::BLACK_IS_ZERO, 1, 32),
                (photometric::RGB, 3, 8),
                (photometric::RGB, 3, 16),
                (photometric::RGB, 4, 8),
                (photometric::RGB, 3, 12),
                (photometric::SEPARATED, 4, 8),
            ] {
                for (is_planar, predictor, big_endian) in [
                    (false, 1, false),
                    (false, 2, true),
                    (true, 1, true),
                    (true, 2, false),
                ] {
                    let can_predict = bits % 8 == 0 && !matches!(compression, NONE | PACK_BITS);
                    if is_planar && samples == 1 || predictor == 2 && !can_predict {
                        continue;
                    }
                    let mut further = Vec::new();
                    if bits == 32 {
                        further.push((tag::MAX_SAMPLE, LONG, vec![u32::MAX]));
                    }
                    if (photometric, samples) == (photometric::RGB, 4) {
                        // Without the tag the fourth is opacity.
                        further.push((tag::EXTRA_SAMPLES, SHORT, vec![0]));
                    }
                    let spec = Spec {
                        big_endian,
                        tile,
                        rows,
                        is_planar,
                        compression,
                        photometric,
                        bits,
                        samples,
                        predictor,
                        further,
                        ..Spec::default()
                    };
                    let file = spec.file(|x, y, sample| value(x, y, sample, bits));
                    assert_pixels(&file, &format!("{spec:?}"), |x, y| {
                        let at = |sample: u16| grey(x, y, sample, bits);
                        match photometric {
                            photometric::WHITE_IS_ZERO => [255 - at(0); 3],
                            photometric::BLACK_IS_ZERO => [at(0); 3],
                            photometric::SEPARATED => [0, 1, 2].map(|ink| {
                                let (ink, black) = (255 - at(ink), 255 - at(3));
                                (u32::from(ink) * u32::from(black) / 255) as u8
                            }),
                            _ => [at(0), at(1), at(2)],
                        }
                    });
                    count += 1;
                }
            }
        }
    }
    assert!(count > 300, "{count}");
}

#[test]
fn tiff_without_byte_counts_is_read() {
    for compression in [compression::NONE, compression::LZW, compression::DEFLATE] {
        for tile in [None, Some((16, 16))] {
            let spec = Spec {
                compression,
                tile,
                has_lengths: false,
                ..Spec::default()
            };
            let file = spec.file(|x, y, sample| value(x, y, sample, 8));
            assert_pixels(&file, &format!("{spec:?}"), |x, y| [grey(x, y, 0, 8); 3]);
        }
    }
}

/// Makes a sample of a grey.
type Encode<'a> = &'a dyn Fn(u8) -> u64;
/// Tags with their kinds and values.
type Tags = Vec<(u16, u16, Vec<u32>)>;

#[test]
fn tiff_samples_are_scaled_from_their_range() {
    let signed = (tag::SAMPLE_FORMAT, SHORT, vec![2]);
    let float = (tag::SAMPLE_FORMAT, SHORT, vec![3]);
    let as_float = |value: u8| u64::from((f32::from(value) * 3.5).to_bits());
    let cases: [(u16, Tags, Encode); 8] = [
        (8, vec![signed.clone()], &|grey| u64::from(grey ^ 0x80)),
        (16, vec![signed.clone()], &|grey| {
            u64::from((u16::from(grey) * 257) ^ 0x8000)
        }),
        (16, vec![(tag::MAX_SAMPLE, SHORT, vec![4095])], &|grey| {
            u64::from(grey) * 4095 / 255
        }),
        // Nobody says that only 12 bits count.
        (16, vec![], &|grey| u64::from(grey) * 4095 / 255),
        (
            16,
            vec![
                (tag::MIN_SAMPLE, SHORT, vec![1000]),
                (tag::MAX_SAMPLE, SHORT, vec![2020]),
            ],
            &|grey| 1000 + u64::from(grey) * 4,
        ),
        (12, vec![], &|grey| u64::from(grey) * 4095 / 255),
        (
            32,
            vec![
                float.clone(),
                (tag::S_MAX_SAMPLE, 11, vec![892.5_f32.to_bits()]),
            ],
            &as_float,
        ),
        (32, vec![float], &|grey| {
            u64::from((f32::from(grey) / 255.0).to_bits())
        }),
    ];
    for (case, (bits, further, encode)) in cases.into_iter().enumerate() {
        for big_endian in [false, true] {
            let spec = Spec {
                big_endian,
                bits,
                further: further.clone(),
                ..Spec::default()
            };
            let file = spec.file(|x, y, sample| encode(grey(x, y, sample, 8)));
            assert_pixels(&file, &format!("{case}"), |x, y| [grey(x, y, 0, 8); 3]);
        }
    }
}

#[test]
fn subsampled_tiff_colours_are_read() {
    for (across, down) in [(2, 1), (2, 2), (1, 2), (4, 1), (4, 2), (4, 4)] {
        for compression in [compression::NONE, compression::LZW, compression::DEFLATE] {
            for tile in [None, Some((16, 16))] {
                let spec = Spec {
                    tile,
                    compression,
                    photometric: photometric::YCBCR,
                    samples: 3,
                    further: vec![(tag::YCBCR_SUBSAMPLING, SHORT, vec![across, down])],
                    ..Spec::default()
                };
                let (width, height) = tile.unwrap_or((WIDTH, spec.rows));
                let mut chunks = Vec::new();
                for top in (0..HEIGHT).step_by(height as usize) {
                    for left in (0..WIDTH).step_by(width as usize) {
                        let rows = if tile.is_some() {
                            height
                        } else {
                            height.min(HEIGHT - top)
                        };
                        let mut bytes = Vec::new();
                        for y in (top..top + rows).step_by(down as usize) {
                            for x in (left..left + width).step_by(across as usize) {
                                for y in y..y + down {
                                    bytes.extend((x..x + across).map(|x| grey(x, y, 0, 8)));
                                }
                                bytes.extend([128, 128]);
                            }
                        }
                        chunks.push(spec.compress(&bytes));
                    }
                }
                let file = spec.file_of(&chunks);
                assert_pixels(&file, &format!("{spec:?}"), |x, y| [grey(x, y, 0, 8); 3]);
            }
        }
    }
}

#[test]
fn every_fax_compression_of_tiff_is_read() {
    // Eight white pixels, then black to the end of a line of 37, which is 29.
    let line = format!("{WHITE_8}{BLACK_29}");
    let end = "000000000001";
    let aligned = |line: &str, to: usize| {
        let length = line.len().next_multiple_of(to);
        format!("{line:0<length$}")
    };
    // An end of line that ends at a byte.
    let filled = |line: &str| {
        let fill = (line.len() + 12).next_multiple_of(8) - line.len();
        format!("{line}{:0>fill$}", "1")
    };
    let repeated = |line: &str| line.repeat(HEIGHT as usize);
    // In two dimensions the later lines are as the one above: two vertical codes.
    let first = format!("001{line}");
    let later = "11".repeat(HEIGHT as usize - 1);
    let two = format!(
        "{end}1{line}{}",
        format!("{end}011").repeat(HEIGHT as usize - 1)
    );
    for (compression, options, data) in [
        (compression::CCITT_RLE, 0, repeated(&aligned(&line, 8))),
        (
            compression::CCITT_RLE_WORDS,
            0,
            repeated(&aligned(&line, 16)),
        ),
        (compression::CCITT_G3, 0, repeated(&format!("{end}{line}"))),
        (
            compression::CCITT_G3,
            0,
            format!("{}{}", repeated(&format!("{end}{line}")), end.repeat(6)),
        ),
        (
            compression::CCITT_G3,
            4,
            format!("{}{}", "0000000000000001", repeated(&filled(&line))),
        ),
        (compression::CCITT_G3, 1, two),
        (compression::CCITT_G4, 0, format!("{first}{later}")),
        (
            compression::CCITT_G4,
            0,
            format!("{first}{later}{end}{end}"),
        ),
    ] {
        for rows in [HEIGHT, u32::MAX] {
            for order in [1, 2] {
                let spec = Spec {
                    compression,
                    rows,
                    bits: 1,
                    photometric: photometric::WHITE_IS_ZERO,
                    further: vec![
                        (tag::T4_OPTIONS, LONG, vec![options]),
                        (tag::FILL_ORDER, SHORT, vec![order]),
                    ],
                    ..Spec::default()
                };
                let mut strip = pack(&bits(&data));
                if order == 2 {
                    for byte in &mut strip {
                        *byte = byte.reverse_bits();
                    }
                }
                let file = spec.file_of(&[strip]);
                assert_pixels(&file, &format!("{compression}, {options}"), |x, _| {
                    [if x < 8 { 255 } else { 0 }; 3]
                });
            }
        }
    }
}

/// The codes of so many pixels (ITU-T T.4, table 2).
const WHITE_8: &str = "10011";
const BLACK_29: &str = "000011001101";

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
