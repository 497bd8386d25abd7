//! From coefficients to samples: the inverse transform, and colours enlarged to the size of the picture, both as libjpeg
//! does them (`jidctint.c` and `jdsample.c` of libjpeg-turbo 3).

use super::{
    frame::{Component, Frame},
    markers::ZIGZAG,
};

/// Samples of one component.
struct Plane {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

/// The picture's samples, those of a pixel side by side, with 8 bits.
pub(super) fn samples(frame: &Frame) -> Vec<u8> {
    let count = frame.components.len();
    let mut all = vec![0; frame.width * frame.height * count];
    for (index, component) in frame.components.iter().enumerate() {
        let plane = Plane::of(component, frame.precision);
        let across = frame.most.0 / component.sampling.0.max(1);
        let down = frame.most.1 / component.sampling.1.max(1);
        let is_even = across * component.sampling.0 == frame.most.0
            && down * component.sampling.1 == frame.most.1;
        let mut row = vec![0; frame.width + 1];
        let rows = all.chunks_exact_mut((frame.width * count).max(1));
        for (y, target) in rows.enumerate() {
            match (is_even, across, down) {
                (true, 1, 1) => plane.row(y, &mut row),
                (true, 2, 1) if plane.width > 2 => plane.row_twice_as_wide(y, &mut row),
                (true, 1, 2) => plane.row_twice_as_high(y, &mut row),
                (true, 2, 2) if plane.width > 2 => plane.row_twice_as_large(y, &mut row),
                _ => {
                    let source = plane.source(y * component.sampling.1 / frame.most.1);
                    for (x, value) in row.iter_mut().enumerate() {
                        let from = x * component.sampling.0 / frame.most.0;
                        *value = source[from.min(source.len() - 1)];
                    }
                }
            }
            for (pixel, &value) in target.chunks_exact_mut(count).zip(&row) {
                pixel[index] = value;
            }
        }
    }
    all
}

impl Plane {
    fn of(component: &Component, precision: u8) -> Self {
        let (width, height) = component.size;
        let stride = 8 * component.stride;
        let mut samples = vec![0; width * height];
        let table = component.quantization_table.unwrap_or([1; 64]);
        let (columns, rows) = component.own_blocks();
        for row in 0..rows {
            for column in 0..columns {
                let block = &component.blocks[component.block(column, row)];
                let block = inverse(block, &table, precision);
                for (line, values) in block.chunks_exact(8).enumerate() {
                    let (x, y) = (8 * column, 8 * row + line);
                    if y < height {
                        let count = (width - x).min(8);
                        samples[y * width + x..][..count].copy_from_slice(&values[..count]);
                    }
                }
            }
        }
        debug_assert!(stride >= width);
        Self {
            width,
            height,
            samples,
        }
    }

    /// A row, the last one if there are not so many.
    fn source(&self, y: usize) -> &[u8] {
        let y = y.min(self.height - 1);
        &self.samples[y * self.width..][..self.width]
    }

    fn row(&self, y: usize, to: &mut [u8]) {
        let source = self.source(y);
        let count = source.len().min(to.len());
        to[..count].copy_from_slice(&source[..count]);
    }

    /// The nearer row of the two that row `y` of an image of twice the height lies between, and the farther one.
    fn nearer_and_farther(&self, y: usize) -> (&[u8], &[u8]) {
        let near = y / 2;
        let far = if y.is_multiple_of(2) {
            near.saturating_sub(1)
        } else {
            near + 1
        };
        (self.source(near), self.source(far))
    }

    fn row_twice_as_wide(&self, y: usize, to: &mut [u8]) {
        let source = self.source(y);
        let last = source.len() - 1;
        for (x, value) in to.iter_mut().enumerate() {
            let near = (x / 2).min(last);
            let (far, round) = if x.is_multiple_of(2) {
                (near.saturating_sub(1), 1)
            } else {
                ((near + 1).min(last), 2)
            };
            let sum = 3 * u16::from(source[near]) + u16::from(source[far]) + round;
            *value = (sum >> 2) as u8;
        }
    }

    fn row_twice_as_high(&self, y: usize, to: &mut [u8]) {
        let (near, far) = self.nearer_and_farther(y);
        let round = if y.is_multiple_of(2) { 1 } else { 2 };
        for ((value, &near), &far) in to.iter_mut().zip(near).zip(far) {
            *value = ((3 * u16::from(near) + u16::from(far) + round) >> 2) as u8;
        }
    }

    fn row_twice_as_large(&self, y: usize, to: &mut [u8]) {
        let (near, far) = self.nearer_and_farther(y);
        let sum = |x: usize| 3 * u16::from(near[x]) + u16::from(far[x]);
        let last = near.len() - 1;
        for (x, value) in to.iter_mut().enumerate() {
            let here = (x / 2).min(last);
            let (there, round) = if x.is_multiple_of(2) {
                (here.saturating_sub(1), 8)
            } else {
                ((here + 1).min(last), 7)
            };
            *value = ((3 * sum(here) + sum(there) + round) >> 4) as u8;
        }
    }
}

/// Bits of the constants' fractions.
const CONST_BITS: u32 = 13;
/// Bits kept between the two passes.
const PASS_BITS: u32 = 2;

/// The samples of a block.
fn inverse(block: &[i16; 64], table: &[u16; 64], precision: u8) -> [u8; 64] {
    let mut values = [0_i64; 64];
    for (&place, &step) in ZIGZAG.iter().zip(table) {
        let place = usize::from(place);
        values[place] = i64::from(block[place]) * i64::from(step);
    }
    for column in 0..8 {
        let input = std::array::from_fn(|row| values[8 * row + column]);
        let output = one_dimension(input, CONST_BITS - PASS_BITS);
        for (row, value) in output.into_iter().enumerate() {
            values[8 * row + column] = value;
        }
    }
    let (middle, most) = (1_i64 << (precision - 1), (1_i64 << precision) - 1);
    let mut samples = [0; 64];
    for (row, samples) in samples.chunks_exact_mut(8).enumerate() {
        let input = std::array::from_fn(|column| values[8 * row + column]);
        let output = one_dimension(input, CONST_BITS + PASS_BITS + 3);
        for (sample, value) in samples.iter_mut().zip(output) {
            let value = (value + middle).clamp(0, most);
            *sample = if precision == 8 {
                value as u8
            } else {
                ((value * 255 + most / 2) / most) as u8
            };
        }
    }
    samples
}

/// Eight values, by the method of Loeffler, Ligtenberg and Moschytz; rounded to lose `shift` bits.
fn one_dimension(input: [i64; 8], shift: u32) -> [i64; 8] {
    let round = |value: i64| (value + (1 << (shift - 1))) >> shift;
    let z1 = (input[2] + input[6]) * 4_433;
    let (even2, even3) = (z1 - input[6] * 15_137, z1 + input[2] * 6_270);
    let even0 = (input[0] + input[4]) << CONST_BITS;
    let even1 = (input[0] - input[4]) << CONST_BITS;
    let even = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];
    let [t0, t1, t2, t3] = [input[7], input[5], input[3], input[1]];
    let (z1, z2, z3, z4) = (t0 + t3, t1 + t2, t0 + t2, t1 + t3);
    let z5 = (z3 + z4) * 9_633;
    let (z1, z2) = (-z1 * 7_373, -z2 * 20_995);
    let (z3, z4) = (z5 - z3 * 16_069, z5 - z4 * 3_196);
    let odd = [
        t3 * 12_299 + z1 + z4,
        t2 * 25_172 + z2 + z3,
        t1 * 16_819 + z2 + z4,
        t0 * 2_446 + z1 + z3,
    ];
    std::array::from_fn(|place| {
        let sum = if place < 4 {
            even[place] + odd[place]
        } else {
            even[7 - place] - odd[7 - place]
        };
        round(sum)
    })
}
