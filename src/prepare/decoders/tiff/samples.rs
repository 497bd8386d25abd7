//! Samples of any size and kind as 8 bits.

use super::layout::{Sample, SampleKind};

/// How samples become 8 bits.
#[derive(Debug, Clone)]
pub(super) enum Scale {
    /// By a table, for samples of at most 8 bits.
    Table(Box<[u8; 256]>),
    /// From a range.
    Range { low: f64, high: f64 },
}

/// The least and the greatest sample so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Default for Extent {
    fn default() -> Self {
        Self {
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
        }
    }
}

impl Scale {
    /// The usual one of a kind of samples.
    pub(super) fn of(sample: Sample) -> Self {
        let Sample { bits, kind } = sample;
        let most = f64::from(bits).exp2() - 1.0;
        let half = f64::from(bits - 1).exp2();
        match kind {
            SampleKind::Float => Self::Range {
                low: 0.0,
                high: 1.0,
            },
            SampleKind::Unsigned if bits <= 8 => {
                Self::Table(Box::new(std::array::from_fn(|value| {
                    (value.min(most as usize) * 255 / most as usize) as u8
                })))
            }
            SampleKind::Signed if bits <= 8 => {
                Self::Table(Box::new(std::array::from_fn(|value| {
                    // With the sign turned, the least value is 0.
                    let value = (value ^ half as usize).min(most as usize);
                    (value * 255 / most as usize) as u8
                })))
            }
            SampleKind::Unsigned => Self::Range {
                low: 0.0,
                high: most,
            },
            SampleKind::Signed => Self::Range {
                low: -half,
                high: half - 1.0,
            },
        }
    }

    /// The values of samples of at most 8 bits themselves.
    pub(super) fn none() -> Self {
        Self::Table(Box::new(std::array::from_fn(|value| value as u8)))
    }

    fn apply(&self, value: f64) -> u8 {
        match *self {
            Self::Table(ref table) => table[(value as usize).min(255)],
            // A value that is no number is as good as black.
            Self::Range { low, high } => ((value - low) / (high - low) * 255.0).round() as u8,
        }
    }
}

/// The first `count` samples of a row, appended to `output` as 8 bits each.
pub(super) fn unpack(
    row: &[u8],
    sample: Sample,
    big_endian: bool,
    count: usize,
    scale: &Scale,
    extent: &mut Extent,
    output: &mut Vec<u8>,
) {
    let bits = sample.bits;
    if let (Scale::Table(table), 8) = (scale, bits) {
        output.extend(row[..count].iter().map(|&value| table[usize::from(value)]));
        return;
    }
    if let (Scale::Table(table), 1 | 2 | 4) = (scale, bits) {
        let per_byte = usize::from(8 / bits);
        let mask = (1_u8 << bits) - 1;
        let end = output.len() + count;
        for &byte in &row[..count.div_ceil(per_byte)] {
            for place in 1..=per_byte {
                let value = byte >> (8 - usize::from(bits) * place) & mask;
                output.push(table[usize::from(value)]);
            }
        }
        output.truncate(end);
        return;
    }
    let mut add = |raw: u64| {
        let value = number(raw, sample);
        extent.low = extent.low.min(value);
        extent.high = extent.high.max(value);
        output.push(scale.apply(value));
    };
    if bits.is_multiple_of(8) {
        let values = row.chunks_exact(usize::from(bits / 8)).take(count);
        for bytes in values {
            let join = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
            add(if big_endian {
                bytes.iter().fold(0, join)
            } else {
                bytes.iter().rev().fold(0, join)
            });
        }
        return;
    }
    // Others lie one after the other, the highest bit first, whatever the order of bytes.
    let (mut buffer, mut filled) = (0_u64, 0);
    let mut bytes = row.iter();
    for _ in 0..count {
        while filled < bits {
            buffer = buffer << 8 | u64::from(bytes.next().copied().unwrap_or(0));
            filled += 8;
        }
        filled -= bits;
        let raw = buffer >> filled & ((1 << bits) - 1);
        add(raw);
    }
}

/// What the bits of a sample mean.
fn number(raw: u64, sample: Sample) -> f64 {
    let Sample { bits, kind } = sample;
    match (kind, bits) {
        (SampleKind::Signed, 9..) => {
            let unused = 64 - u32::from(bits);
            ((raw << unused) as i64 >> unused) as f64
        }
        (SampleKind::Float, 16) => half::f16::from_bits(raw as u16).to_f64(),
        (SampleKind::Float, 24) => float_of_24_bits(raw as u32),
        (SampleKind::Float, 32) => f64::from(f32::from_bits(raw as u32)),
        (SampleKind::Float, 64) => f64::from_bits(raw),
        _ => raw as f64,
    }
}

/// 1 bit of sign, 7 of exponent, 16 of fraction (Adobe's Technical Note 3).
fn float_of_24_bits(raw: u32) -> f64 {
    let (exponent, fraction) = (raw >> 16 & 0x7F, f64::from(raw & 0xFFFF) / 65_536.0);
    let size = match exponent {
        0 => fraction * (-62_f64).exp2(),
        127 => f64::INFINITY,
        _ => (1.0 + fraction) * (f64::from(exponent) - 63.0).exp2(),
    };
    if raw >> 23 & 1 == 1 { -size } else { size }
}
