use std::io::Cursor;

use image::RgbImage;
use proptest::prelude::*;

use super::*;

const BUDGET: PixelBudget = PixelBudget {
    factor: 1,
    min_pixels: 1,
    max_pixels: 1_000_000,
};
const WIDTH: u32 = 19;
const HEIGHT: u32 = 7;
const LAST_SECOND_GREY: u32 = 85;

/// A file to be written.
#[derive(Debug, Clone)]
struct Spec {
    /// Length of the image's header.
    header: u32,
    bits: u32,
    compression: u32,
    masks: [u32; 4],
    top_down: bool,
}

impl Spec {
    fn new(header: u32, bits: u32) -> Self {
        Self {
            header,
            bits,
            compression: 0,
            masks: [0; 4],
            top_down: false,
        }
    }

    fn masked(header: u32, bits: u32, masks: [u32; 4]) -> Self {
        Self {
            compression: 3,
            masks,
            ..Self::new(header, bits)
        }
    }

    /// The grey of a pixel in `bits` bits; each of the three channels is it.
    fn value(x: u32, y: u32, bits: u32) -> u32 {
        let most = (1_u64 << bits) - 1;
        (most * u64::from((x + 2 * y) % 4) / 3) as u32
    }

    fn pixel(&self, x: u32, y: u32) -> u32 {
        if self.bits <= 8 {
            return Self::value(x, y, self.bits);
        }
        let masks = match (self.compression, self.bits) {
            (3 | 6, _) => self.masks,
            (_, 16) => [0x7c00, 0x03e0, 0x001f, 0],
            _ => [0xff_0000, 0xff00, 0xff, 0],
        };
        let [red, green, blue, opacity] = masks;
        let colors = [red, green, blue]
            .map(|mask| Self::value(x, y, mask.count_ones()) << mask.trailing_zeros());
        // Wholly opaque.
        colors.iter().sum::<u32>() | opacity
    }

    fn file(&self) -> Vec<u8> {
        let is_core = self.header == 12;
        let mut header = self.header.to_le_bytes().to_vec();
        if is_core {
            for value in [WIDTH, HEIGHT, 1, self.bits] {
                header.extend((value as u16).to_le_bytes());
            }
        } else {
            let height = if self.top_down {
                -(HEIGHT as i32)
            } else {
                HEIGHT as i32
            };
            header.extend(WIDTH.to_le_bytes());
            header.extend(height.to_le_bytes());
            header.extend([1, 0, self.bits as u8, 0]);
            for value in [self.compression, 0, 0, 0, 0, 0]
                .into_iter()
                .chain(self.masks)
            {
                header.extend(value.to_le_bytes());
            }
            let masks_after = match (self.header, self.compression) {
                (..52, 3) => 12,
                (..52, 6) => 16,
                _ => 0,
            };
            header.resize((self.header + masks_after) as usize, 0);
        }
        if self.bits <= 8 {
            let most = (1_u32 << self.bits) - 1;
            for index in 0..=most {
                let grey = (index * 255 / most) as u8;
                let entry = [grey, grey, grey, 0];
                header.extend(&entry[..if is_core { 3 } else { 4 }]);
            }
        }
        let mut file = b"BM\0\0\0\0\0\0\0\0".to_vec();
        file.extend((14 + header.len() as u32).to_le_bytes());
        file.extend(header);
        for row in 0..HEIGHT {
            let y = if self.top_down { row } else { HEIGHT - 1 - row };
            let mut bytes = vec![0_u8; ((WIDTH * self.bits).div_ceil(32) * 4) as usize];
            for x in 0..WIDTH {
                let pixel = self.pixel(x, y);
                if self.bits < 8 {
                    let at = x * self.bits;
                    bytes[(at / 8) as usize] |= (pixel << (8 - self.bits - at % 8)) as u8;
                } else {
                    let size = self.bits as usize / 8;
                    bytes[x as usize * size..][..size]
                        .copy_from_slice(&pixel.to_le_bytes()[..size]);
                }
            }
            file.extend(bytes);
        }
        file
    }
}

fn read(file: &[u8]) -> Result<Decoded, PageError> {
    decode_from(&mut Cursor::new(file), &BUDGET)
}

fn whole(file: &[u8]) -> RgbImage {
    let decoded = read(file).unwrap();
    assert!(!decoded.is_damaged);
    decoded.into_rgb()
}

#[test]
fn bmp_of_any_header_and_depth_is_read() {
    let mut specs = Vec::new();
    for bits in [1, 2, 4, 8, 24] {
        specs.extend([12, 16, 40, 64, 108, 124].map(|header| Spec::new(header, bits)));
    }
    for header in [40, 52, 56, 108, 124] {
        specs.extend([16, 32].map(|bits| Spec::new(header, bits)));
        specs.push(Spec::masked(header, 16, [0xf800, 0x07e0, 0x001f, 0]));
        specs.push(Spec::masked(
            header,
            32,
            [0x3ff0_0000, 0x000f_fc00, 0x3ff, 0],
        ));
    }
    for header in [56, 108, 124] {
        specs.push(Spec::masked(
            header,
            32,
            [0xff, 0xff00, 0xff_0000, 0xff00_0000],
        ));
        specs.push(Spec::masked(header, 16, [0x0f00, 0x00f0, 0x000f, 0xf000]));
    }
    specs.push(Spec {
        compression: 6,
        ..Spec::masked(40, 32, [0xff00_0000, 0xff_0000, 0xff00, 0xff])
    });
    for mut spec in specs {
        for top_down in [false, true] {
            spec.top_down = top_down && spec.header >= 40;
            let image = whole(&spec.file());
            assert_eq!(image.dimensions(), (WIDTH, HEIGHT), "{spec:?}");
            for (x, y, pixel) in image.enumerate_pixels() {
                // Few bits do not have every grey.
                let near = match spec.bits {
                    1 => 0,
                    _ => 10,
                };
                let expected = match spec.bits {
                    1 => 255 * ((x + 2 * y) % 4 / 3),
                    _ => LAST_SECOND_GREY * ((x + 2 * y) % 4),
                };
                let is_near = pixel
                    .0
                    .iter()
                    .all(|&value| u32::from(value).abs_diff(expected) <= near);
                assert!(
                    is_near,
                    "{spec:?}: {:?} at {x}, {y}, not {expected}",
                    pixel.0
                );
            }
        }
    }
}

#[test]
fn bmp_opacity_counts_unless_it_is_zero_everywhere() {
    let spec = Spec::masked(108, 32, [0xff, 0xff00, 0xff_0000, 0xff00_0000]);
    let mut file = spec.file();
    let start = file.len() - (4 * WIDTH * HEIGHT) as usize;
    for pixel in file[start..].chunks_exact_mut(4) {
        pixel.copy_from_slice(&[0, 0, 0, 0]);
    }
    assert_eq!(whole(&file).get_pixel(3, 3).0, [0; 3]);
    // The first pixel of the lowest row.
    file[start + 3] = 128;
    let image = whole(&file);
    assert_eq!(image.get_pixel(0, HEIGHT - 1).0, [127; 3]);
    assert_eq!(image.get_pixel(3, 3).0, [255; 3]);
}

#[test]
fn cut_bmp_is_read_as_far_as_it_goes() {
    for bits in [8, 24] {
        let file = Spec::new(40, bits).file();
        let row = ((WIDTH * bits).div_ceil(32) * 4) as usize;
        // The last rows of the file are the uppermost of the page.
        let decoded = read(&file[..file.len() - row - 1]).unwrap();
        assert!(decoded.is_damaged);
        let image = decoded.into_rgb();
        assert!(
            image
                .rows()
                .take(2)
                .flatten()
                .all(|pixel| pixel.0 == [255; 3])
        );
        assert_eq!(image.get_pixel(0, 2).0, [0; 3]);
        let error = read(&file[..file.len() - 7 * row]).unwrap_err();
        assert!(error.message.contains("its pixels are missing"), "{error}");
    }
}

#[test]
fn run_length_encoded_bmp_is_read_in_both_directions() {
    // Literals, a run, a jump of two pixels, a run up to the row's end.
    let runs = [0, 3, 1, 2, 1, 0, 2, 3, 0, 2, 2, 0, 12, 1, 0, 0];
    for (top_down, y) in [(false, HEIGHT - 1), (true, 0)] {
        let spec = Spec {
            compression: 1,
            top_down,
            ..Spec::new(40, 8)
        };
        let mut file = spec.file();
        file.truncate(file.len() - (WIDTH.next_multiple_of(4) * HEIGHT) as usize);
        file.extend(runs);
        let row = |image: &RgbImage| -> Vec<u8> {
            (0..WIDTH).map(|x| image.get_pixel(x, y).0[0]).collect()
        };
        let expected = [&[1, 2, 1, 3, 3, 0, 0][..], &[1; 12]].concat();
        let cut = read(&file).unwrap();
        assert!(cut.is_damaged, "its other rows are missing");
        assert_eq!(row(&cut.into_rgb()), expected);
        let end = file.len();
        file.extend([0, 1]);
        assert_eq!(row(&whole(&file)), expected);
        file.truncate(end - 2);
        file.extend([2, 1, 0, 1]);
        let too_long = read(&file).unwrap();
        assert!(too_long.is_damaged);
        assert_eq!(row(&too_long.into_rgb()), expected);
    }
}

#[test]
fn bmp_whose_pixels_are_said_to_start_at_the_palette_is_read() {
    let spec = Spec::new(40, 8);
    let mut file = spec.file();
    for start in [0_u32, 54] {
        file[10..14].copy_from_slice(&start.to_le_bytes());
        assert_eq!(whole(&file), whole(&spec.file()));
    }
}

#[test]
fn bmp_with_another_format_in_it_is_named() {
    for (compression, bits, words) in [(4, 24, "JPEG"), (5, 24, "PNG"), (9, 8, "compression 9")] {
        let spec = Spec {
            compression,
            ..Spec::new(40, bits)
        };
        let error = read(&spec.file()).unwrap_err();
        assert_eq!(error.kind, crate::error::ErrorKind::Unsupported);
        assert!(error.message.contains(words), "{error}");
    }
}

proptest! {
    #[test]
    fn mutated_bmp_never_panics(
        header in prop::sample::select(vec![12_u32, 16, 40, 56, 64, 108, 124]),
        bits in prop::sample::select(vec![1_u32, 4, 8, 16, 24, 32]),
        compression in 0_u32..7,
        changes in prop::collection::vec((0_usize..160, any::<u8>()), 0..5),
        cut in 0_usize..400,
    ) {
        let mut spec = Spec::new(header, bits);
        if header > 12 {
            spec.compression = compression;
            spec.masks = [0xf00, 0xf0, 0xf, 0xf000];
        }
        let mut file = spec.file();
        for (at, byte) in changes {
            // Sides stay small, so that no test takes long.
            if let Some(place) = file.get_mut(at).filter(|_| !(20..22).contains(&at) && !(23..26).contains(&at)) {
                *place = byte;
            }
        }
        file.truncate(file.len().saturating_sub(cut));
        let _ = read(&file);
    }
}
