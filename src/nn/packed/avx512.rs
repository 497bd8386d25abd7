//! Products with AVX-512 VNNI: activations in 8 bits, dot products of bytes, sums in f32.

#![allow(
    unsafe_code,
    reason = "what uses instructions that not every processor has is unsafe to call; `Avx512Vnni` proves that this one has them"
)]

use std::{
    arch::x86_64::{
        __m512, _mm512_abs_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_castps_si512,
        _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_cvtps_epi32,
        _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_max_epi32, _mm512_mul_ps,
        _mm512_reduce_add_epi32, _mm512_reduce_max_epi32, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_setzero_si512,
    },
    array,
};

use bytemuck::cast;
use rayon::prelude::*;

use super::tiles::{BLOCK, LANES, Tile, Tiles};
use crate::nn::simd::Avx512Vnni;

/// Activations that share a scale.
pub(super) const SPAN: usize = 256;
const BLOCKS: usize = SPAN / BLOCK;
/// Rows of activations per read of a weight; more don't fit the registers.
const ROWS: usize = 4;
/// Up to this many rows, where memory is the limit, more stripes of weights are read side by side: a core reads memory
/// faster in four or eight streams than in two.
const MAX_WAITING_ROWS: usize = 2;
const STREAMS: usize = 8;
/// Bytes of activations that are multiplied with all weights before the next ones: they stay in the core's own cache.
const CACHED: usize = 128 << 10;

/// See [`Packed::multiply`](super::Packed::multiply).
pub(super) fn multiply(
    token: Avx512Vnni,
    weights: &Tiles,
    x: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let activations = Activations::new(token, x, weights.input);
    weights.by_parts(x, bias, STREAMS * LANES, |tiles, bias, part| {
        // SAFETY: `token` is there, so the processor has the instructions.
        unsafe { multiply_part(tiles, &activations, bias, part) }
    })
}

/// Rows of activations in 8 bits.
struct Activations {
    /// In a row.
    spans: usize,
    all: Vec<Span>,
}

/// Activations that share a scale.
struct Span {
    scale: f32,
    /// Negated contribution of the 128 that is added to each weight of a block to its dot product.
    offsets: [i32; BLOCKS],
    /// Four activations in each.
    words: [[i32; BLOCK / 4]; BLOCKS],
}

impl Activations {
    fn new(_: Avx512Vnni, x: &[f32], input: usize) -> Self {
        let spans = input / SPAN;
        let all = x.as_chunks().0.par_iter().with_min_len(ROWS * spans);
        Self {
            spans,
            // SAFETY: the token is there, so the processor has the instructions.
            all: all.map(|x| unsafe { quantize(x) }).collect(),
        }
    }
}

#[target_feature(enable = "avx512f")]
fn quantize(x: &[f32; SPAN]) -> Span {
    let (vectors, _) = x.as_chunks::<LANES>();
    // Compared as integers, which keeps the order and puts NaN above all.
    let mut bits = _mm512_setzero_si512();
    for &x in vectors {
        let size = _mm512_abs_ps(cast(x));
        bits = _mm512_max_epi32(bits, _mm512_castps_si512(size));
    }
    let max = f32::from_bits(_mm512_reduce_max_epi32(bits).cast_unsigned());
    if !max.is_finite() {
        // So is then each product.
        return Span {
            scale: f32::NAN,
            offsets: [0; BLOCKS],
            words: [[0; BLOCK / 4]; BLOCKS],
        };
    }
    let inverse = _mm512_set1_ps(if max > 0.0 { 127.0 / max } else { 0.0 });
    let mut span = Span {
        scale: max / 127.0,
        offsets: [0; BLOCKS],
        words: [[0; BLOCK / 4]; BLOCKS],
    };
    let blocks = vectors.as_chunks::<2>().0.iter().zip(&mut span.words);
    for ((&[low, high], words), offset) in blocks.zip(&mut span.offsets) {
        let low = _mm512_cvtps_epi32(_mm512_mul_ps(cast(low), inverse));
        let high = _mm512_cvtps_epi32(_mm512_mul_ps(cast(high), inverse));
        *offset = -128 * _mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
        *words = cast([_mm512_cvtepi32_epi8(low), _mm512_cvtepi32_epi8(high)]);
    }
    span
}

/// The tiles of sixteen rows, as spans.
type Stripe<'a> = &'a [[Tile; BLOCKS]];

/// Fills `out`, the rows of some columns, of which `tiles` and `bias` begin with the first.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn multiply_part(tiles: &[Tile], x: &Activations, bias: Option<&[f32]>, out: &mut [&mut [f32]]) {
    let columns = out.first().map_or(0, |row| row.len());
    let rows_cached = (CACHED / (x.spans * SPAN)).next_multiple_of(ROWS);
    let (tiles, _) = tiles.as_chunks();
    for from in (0..out.len()).step_by(rows_cached) {
        let to = out.len().min(from + rows_cached);
        let mut column = 0;
        while column < columns {
            let tiles = &tiles[column / LANES * x.spans..];
            let rows = from..to;
            column += LANES
                * match (out.len(), (columns - column) / LANES) {
                    (1, STREAMS..) => {
                        multiply_stripes::<STREAMS>(tiles, x, bias, out, column, rows)
                    }
                    (..=MAX_WAITING_ROWS, 4..) => {
                        multiply_stripes::<4>(tiles, x, bias, out, column, rows)
                    }
                    (_, 2..) => multiply_stripes::<2>(tiles, x, bias, out, column, rows),
                    _ => multiply_stripes::<1>(tiles, x, bias, out, column, rows),
                };
        }
    }
}

/// Fills `rows` of the columns of the first `T` stripes of `tiles`, of which the first is `column`. Returns `T`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn multiply_stripes<const T: usize>(
    tiles: Stripe,
    x: &Activations,
    bias: Option<&[f32]>,
    out: &mut [&mut [f32]],
    column: usize,
    rows: std::ops::Range<usize>,
) -> usize {
    let stripes = consecutive(tiles, 0, x.spans);
    let mut row = rows.start;
    while row < rows.end {
        let out = &mut out[row..rows.end];
        match out.len() {
            1 => store(&dot::<1, T>(stripes, x, row), bias, out, column),
            2 => store(&dot::<2, T>(stripes, x, row), bias, out, column),
            3 => store(&dot::<3, T>(stripes, x, row), bias, out, column),
            _ => store(&dot::<ROWS, T>(stripes, x, row), bias, out, column),
        }
        row += ROWS;
    }
    T
}

/// The products of `R` rows of activations, from `row` on, with `T` stripes of tiles. What it computes for a row does not
/// depend on the other rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
fn dot<const R: usize, const T: usize>(
    stripes: [Stripe; T],
    x: &Activations,
    row: usize,
) -> [[__m512; T]; R] {
    let rows: [_; R] = consecutive(&x.all, row, x.spans);
    let mut sums = [[_mm512_setzero_ps(); T]; R];
    for i in 0..x.spans {
        let (tiles, spans) = (each(stripes, i), each(rows, i));
        let mut part = [[_mm512_setzero_ps(); T]; R];
        for block in 0..BLOCKS {
            let mut dots = [[_mm512_setzero_si512(); T]; R];
            for (dots, span) in dots.iter_mut().zip(spans) {
                dots.fill(_mm512_set1_epi32(span.offsets[block]));
            }
            for group in 0..BLOCK / 4 {
                let mut weights = [_mm512_setzero_si512(); T];
                for (weights, tiles) in weights.iter_mut().zip(tiles) {
                    *weights = cast(tiles[block].quants[group]);
                }
                for (dots, span) in dots.iter_mut().zip(spans) {
                    let word = _mm512_set1_epi32(span.words[block][group]);
                    for (dot, weights) in dots.iter_mut().zip(weights) {
                        *dot = _mm512_dpbusd_epi32(*dot, weights, word);
                    }
                }
            }
            for (t, tiles) in tiles.iter().enumerate() {
                let scale = _mm512_cvtph_ps(cast(tiles[block].scales));
                for (part, dots) in part.iter_mut().zip(dots) {
                    part[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[t]), scale, part[t]);
                }
            }
        }
        for ((sums, part), span) in sums.iter_mut().zip(part).zip(spans) {
            let scale = _mm512_set1_ps(span.scale);
            for (sum, part) in sums.iter_mut().zip(part) {
                *sum = _mm512_fmadd_ps(part, scale, *sum);
            }
        }
    }
    sums
}

// A closure is not inlined into a function with target features, so these two are functions.

/// `N` pieces of `all`, each of `size`, from piece `first` on.
#[inline]
fn consecutive<T, const N: usize>(all: &[T], first: usize, size: usize) -> [&[T]; N] {
    array::from_fn(|i| &all[(first + i) * size..][..size])
}

/// Element `i` of each.
#[inline]
fn each<T, const N: usize>(all: [&[T]; N], i: usize) -> [&T; N] {
    all.map(|one| &one[i])
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
fn store<const R: usize, const T: usize>(
    sums: &[[__m512; T]; R],
    bias: Option<&[f32]>,
    out: &mut [&mut [f32]],
    column: usize,
) {
    for (sums, row) in sums.iter().zip(out) {
        for (t, &sum) in sums.iter().enumerate() {
            let at = column + t * LANES;
            let sum = match bias.and_then(|bias| bias[at..].first_chunk::<LANES>()) {
                Some(&bias) => _mm512_add_ps(sum, cast(bias)),
                None => sum,
            };
            row[at..at + LANES].copy_from_slice(&cast::<_, [f32; LANES]>(sum));
        }
    }
}
