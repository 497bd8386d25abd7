//! Keys, values and queries as 16-bit numbers, in the order in which they are multiplied.

use std::ops::Range;

use crate::nn::attention::{blocked::Tables, rows::Rows};

/// Numbers of 32 bits in a vector.
pub(super) const LANES: usize = 8;
/// Vectors of keys or values that are in registers.
pub(super) const VECTORS: usize = 2;
pub(super) const WIDE: usize = VECTORS * LANES;
/// Keys whose scores exist at a time.
pub(super) const KEYS: usize = 256;
/// How long a query or key is: the square, with what rounding adds, is below 2³¹.
const MAX_LENGTH: f64 = 46_000.0;
/// The largest value.
pub(super) const MAX_VALUE: f32 = 4095.0;
/// The largest number of 16 bits.
pub(super) const MAX: f32 = i16::MAX as f32;

/// Two numbers of 16 bits for each lane.
pub(super) type Pairs = [[[i16; 2]; LANES]; VECTORS];
/// What the lanes are multiplied with.
pub(super) type Scales = [[f32; LANES]; VECTORS];

/// One head of keys and values, up to a multiple of [`KEYS`] of them.
pub(in crate::nn::attention) struct Packed {
    /// Pairs of dimensions of a key.
    pub(super) pairs: usize,
    /// `(keys / 16, pairs)`: a pair of dimensions of 16 keys.
    pub(super) keys: Vec<Pairs>,
    /// Of 16 keys each.
    pub(super) key_scales: Vec<Scales>,
    /// `(keys / 256, head_dim / 16, 128)`: 16 dimensions of a pair of keys.
    pub(super) values: Vec<Pairs>,
    /// `(keys / 256, head_dim / 16)`.
    pub(super) value_scales: Vec<Scales>,
}

/// Packs the first `keys` of a head; `tables` turn them.
#[target_feature(enable = "avx2,fma")]
pub(super) fn pack_head(
    k: &Rows<f32>,
    v: &Rows<f32>,
    head: usize,
    keys: usize,
    tables: Option<&Tables>,
) -> Packed {
    let (pairs, parts) = (k.head_dim.div_ceil(2), k.head_dim.div_ceil(WIDE));
    let blocks = keys.div_ceil(KEYS);
    let nothing = [[[0; 2]; LANES]; VECTORS];
    let mut packed = Packed {
        pairs,
        keys: vec![nothing; blocks * (KEYS / WIDE) * pairs],
        key_scales: vec![[[0.0; LANES]; VECTORS]; blocks * (KEYS / WIDE)],
        values: vec![nothing; blocks * parts * (KEYS / 2)],
        value_scales: vec![[[0.0; LANES]; VECTORS]; blocks * parts],
    };
    let (mut row, mut quants) = (Vec::new(), Vec::new());
    for key in 0..keys {
        row.clear();
        row.extend_from_slice(k.row(head, key));
        if let Some(tables) = tables {
            tables.rotate(&mut row, key);
        }
        let (strip, lane) = (key / WIDE, key % WIDE);
        packed.key_scales[strip].as_flattened_mut()[lane] = quantize(&row, &mut quants);
        let to = &mut packed.keys[strip * pairs..][..pairs];
        for (to, pair) in to.iter_mut().zip(quants.as_chunks().0) {
            to.as_flattened_mut()[lane] = *pair;
        }
    }
    let values = packed.values.chunks_exact_mut(parts * KEYS / 2);
    let scales = packed.value_scales.chunks_exact_mut(parts);
    for (block, (values, scales)) in values.zip(scales).enumerate() {
        let here = block * KEYS..((block + 1) * KEYS).min(keys);
        let scales = scales.as_flattened_mut().as_flattened_mut();
        pack_values(v, head, here, values, scales);
    }
    packed
}

/// Packs a block of values, and says what each dimension is to be multiplied with.
#[target_feature(enable = "avx2,fma")]
fn pack_values(
    v: &Rows<f32>,
    head: usize,
    keys: Range<usize>,
    values: &mut [Pairs],
    scales: &mut [f32],
) {
    // Compared as integers, which keeps the order and puts NaN above all.
    let mut sizes = vec![0_u32; v.head_dim];
    for key in keys.clone() {
        for (size, value) in sizes.iter_mut().zip(v.row(head, key)) {
            *size = (*size).max(value.abs().to_bits());
        }
    }
    let inverse = |size: u32| match f32::from_bits(size) {
        size if size.is_finite() => (MAX_VALUE / size).min(f32::MAX),
        _ => f32::NAN,
    };
    let inverses: Vec<f32> = sizes.into_iter().map(inverse).collect();
    for (scale, inverse) in scales.iter_mut().zip(&inverses) {
        *scale = inverse.recip();
    }
    for (pair, first) in keys.clone().step_by(2).enumerate() {
        // What there is none of has no weight.
        let rows = [first, (first + 1).min(keys.end - 1)].map(|key| v.row(head, key));
        let [first, second] = rows.map(|row| row.chunks(WIDE));
        let parts = first.zip(second).zip(inverses.chunks(WIDE));
        for (part, ((first, second), inverses)) in parts.enumerate() {
            let to = values[part * (KEYS / 2) + pair].as_flattened_mut();
            let numbers = first.iter().zip(second).zip(inverses);
            for (to, ((first, second), inverse)) in to.iter_mut().zip(numbers) {
                *to = [first, second].map(|value| nearest(value * inverse));
            }
        }
    }
}

/// To a whole number that fits.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn nearest(x: f32) -> i16 {
    x.round_ties_even() as i32 as i16
}

/// Writes a query or key in 16-bit numbers, an even number of them, and returns what they are to be multiplied with.
#[target_feature(enable = "avx2,fma")]
pub(super) fn quantize(row: &[f32], quants: &mut Vec<i16>) -> f32 {
    let (mut squares, mut sizes) = ([0.0_f64; LANES], [0_u32; LANES]);
    for chunk in row.chunks(LANES) {
        for ((square, size), &x) in squares.iter_mut().zip(&mut sizes).zip(chunk) {
            *square += f64::from(x) * f64::from(x);
            *size = (*size).max(x.abs().to_bits());
        }
    }
    let length = squares.into_iter().sum::<f64>().sqrt();
    let largest = f32::from_bits(sizes.into_iter().fold(0, u32::max));
    quants.clear();
    let scale = if length.is_finite() {
        let inverse = (MAX_LENGTH / length) as f32;
        // Of one that is hardly there it does not matter.
        let inverse = inverse.min(MAX / largest).min(1e30);
        quants.extend(row.iter().map(|x| nearest(x * inverse)));
        inverse.recip()
    } else {
        // So is then each product.
        quants.resize(row.len(), 0);
        f32::NAN
    };
    quants.resize(row.len().next_multiple_of(2), 0);
    scale
}
