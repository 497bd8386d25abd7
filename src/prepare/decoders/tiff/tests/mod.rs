//! Every way to lay out a page, written here and read again.

mod damaged;
mod writer;

use std::io::Cursor;

use self::writer::{HEIGHT, LONG, SHORT, Spec, WIDTH, pack};
use super::{
    directory::Directories,
    layout::{compression, photometric, tag},
    page_of,
};
use crate::{page::PixelBudget, prepare::decoders::pixels::Decoded};

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
