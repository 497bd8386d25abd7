//! Selects the attention kernel.

use candle_core::{DType, Result, Tensor};

use super::decode_ops::decode_attention;
#[cfg(target_arch = "x86_64")]
use super::{bf16::Bf16, blocked, integers::Integers};
#[cfg(target_arch = "x86_64")]
use crate::nn::simd::{Avx2, Avx512Bf16};
use crate::nn::{elementwise::softmax, precision::Precision, rope::RopeTables};

/// Maximum number of scores that exist at a time on a GPU: 64 MiB in f32.
const MAX_SCORES: usize = 16 << 20;
/// The same on a CPU: 4 MiB, which its caches hold.
const MAX_SCORES_CPU: usize = 1 << 20;
/// At most this many queries go through [`decode_attention`]. A draft has fewer, so that drafts can't change an answer.
pub(super) const MAX_DECODE_QUERIES: usize = 32;

/// Options of an attention call.
#[derive(Clone, Copy)]
pub struct AttentionArgs<'a> {
    /// Whether the last query sees all keys, the one before it all but the last, and so on.
    pub causal: bool,
    /// Turns queries and keys, if they are not turned yet.
    pub rope: Option<&'a RopeTables>,
    /// Whether many queries may be multiplied in bf16 where the processor has instructions for it, or else in 16-bit integers:
    /// so with quantized weights.
    pub precision: Precision,
}

/// Attends from `q` of shape `(heads, queries, head_dim)` to `k` and `v` of shape `(kv_heads, keys, head_dim)`.
///
/// `heads` is a multiple of `kv_heads`; keys are shared by groups of heads without being copied. The softmax is taken in
/// f32. `heads × queries × keys` scores never exist at once.
///
/// `k` and `v` may be in a smaller type than `q`. Returns `(queries, heads · head_dim)`.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, args: AttentionArgs) -> Result<Tensor> {
    let plain = q.device().is_cpu() && q.dtype() == DType::F32;
    if plain && args.causal && args.rope.is_none() && q.dim(1)? <= MAX_DECODE_QUERIES {
        return decode_attention(q, k, v);
    }
    if k.dtype() != q.dtype() {
        let (k, v) = (k.to_dtype(q.dtype())?, v.to_dtype(q.dtype())?);
        return attend(q, &k, &v, args);
    }
    #[cfg(target_arch = "x86_64")]
    if plain && q.dim(1)? > MAX_DECODE_QUERIES {
        if let Precision::Quantized(_) = args.precision
            && let Some(token) = Avx512Bf16::detect()
        {
            return blocked::attend(Bf16(token), q, k, v, args.causal, args.rope);
        }
        if let Some(token) = Avx2::detect() {
            // Of a page. A text's values would depend on those after them.
            if matches!(args.precision, Precision::Quantized(_)) && !args.causal {
                return blocked::attend(Integers(token), q, k, v, false, args.rope);
            }
            return blocked::attend(token, q, k, v, args.causal, args.rope);
        }
    }
    if let Some(rope) = args.rope {
        let (q, k) = (rope.rotate(q)?, rope.rotate(k)?);
        return attend(
            &q,
            &k,
            &v.contiguous()?,
            AttentionArgs { rope: None, ..args },
        );
    }
    #[cfg(feature = "flash-attn")]
    if q.device().is_cuda() && q.dtype() != DType::F32 {
        return flash(q, k, v, args.causal);
    }
    attend_in_tiles(q, k, v, args.causal)
}

/// Attention by tiles of heads and queries.
fn attend_in_tiles(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Result<Tensor> {
    let (heads, queries, head_dim) = q.dims3()?;
    let (kv_heads, keys, _) = k.dims3()?;
    let group = heads / kv_heads;
    let max_scores = if q.device().is_cpu() {
        MAX_SCORES_CPU
    } else {
        MAX_SCORES
    };
    let q = q.reshape((kv_heads, group, queries, head_dim))?;
    let heads_tile = (max_scores / (group * queries * keys)).clamp(1, kv_heads);
    let rows_tile = (max_scores / (heads_tile * group * keys)).clamp(1, queries);
    let mut done = Vec::with_capacity(kv_heads.div_ceil(heads_tile));
    for head in (0..kv_heads).step_by(heads_tile) {
        let count = heads_tile.min(kv_heads - head);
        let part = |x: &Tensor| x.narrow(0, head, count);
        let (q, k, v) = (part(&q)?, part(k)?, part(v)?);
        let mut tiles = Vec::with_capacity(queries.div_ceil(rows_tile));
        for start in (0..queries).step_by(rows_tile) {
            let rows = rows_tile.min(queries - start);
            let seen = if causal {
                keys - queries + start + rows
            } else {
                keys
            };
            let (k, v) = (k.narrow(1, 0, seen)?, v.narrow(1, 0, seen)?);
            tiles.push(attend_tile(&q.narrow(2, start, rows)?, &k, &v, causal)?);
        }
        done.push(Tensor::cat(&tiles, 2)?);
    }
    Tensor::cat(&done, 0)?
        .reshape((heads, queries, head_dim))?
        .transpose(0, 1)?
        .reshape((queries, heads * head_dim))
}

/// From `q` of shape `(kv_heads, group, rows, head_dim)`; returns the same shape.
fn attend_tile(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Result<Tensor> {
    let (kv_heads, group, rows, head_dim) = q.dims4()?;
    let keys = k.dim(1)?;
    let q = q.reshape((kv_heads, group * rows, head_dim))?;
    let scores = scores(&q, k)?.reshape((kv_heads * group, rows, keys))?;
    softmax(scores, causal)?
        .to_dtype(v.dtype())?
        .reshape((kv_heads, group * rows, keys))?
        .matmul(v)?
        .reshape((kv_heads, group, rows, head_dim))
}

/// `q·kᵀ`, scaled, from rows of `head_dim` values: in f32, whatever the type of `q` and `k`, since softmax makes a relative error
/// of an absolute one.
fn scores(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let scale = (q.dim(2)? as f64).powf(-0.5);
    #[cfg(feature = "cuda")]
    if q.device().is_cuda() && matches!(q.dtype(), DType::BF16 | DType::F16) {
        return crate::nn::cuda::scores(q, k, scale);
    }
    let (q, k) = (q.to_dtype(DType::F32)?, k.to_dtype(DType::F32)?);
    (q * scale)?.matmul(&k.t()?)
}

#[cfg(feature = "flash-attn")]
fn flash(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Result<Tensor> {
    let scale = (q.dim(2)? as f32).powf(-0.5);
    let packed = |x: &Tensor| x.transpose(0, 1)?.unsqueeze(0);
    let out = candle_flash_attn::flash_attn(&packed(q)?, &packed(k)?, &packed(v)?, scale, causal)?;
    out.squeeze(0)?.flatten_from(1)
}

#[cfg(test)]
mod tests {
    use candle_core::{D, Device};

    use super::*;
    use crate::nn::rope::inv_freq;

    fn args(causal: bool, precision: Precision) -> AttentionArgs<'static> {
        AttentionArgs {
            causal,
            rope: None,
            precision,
        }
    }

    /// One query at a time and no tiles: the reference for the tiled path.
    fn naive(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Tensor {
        let (heads, queries, head_dim) = q.dims3().unwrap();
        let (kv_heads, keys, _) = k.dims3().unwrap();
        let mut out = Vec::new();
        for i in 0..queries {
            for head in 0..heads {
                let seen = if causal { keys - queries + i + 1 } else { keys };
                let pick = |x: &Tensor| {
                    x.get(head * kv_heads / heads)
                        .unwrap()
                        .narrow(0, 0, seen)
                        .unwrap()
                };
                let query = q.get(head).unwrap().narrow(0, i, 1).unwrap();
                let scores = (query.matmul(&pick(k).t().unwrap()).unwrap()
                    / (head_dim as f64).sqrt())
                .unwrap();
                let shares = candle_nn::ops::softmax(&scores, D::Minus1).unwrap();
                out.push(shares.matmul(&pick(v)).unwrap());
            }
        }
        Tensor::cat(&out, 0)
            .unwrap()
            .reshape((queries, heads * head_dim))
            .unwrap()
    }

    fn random(heads: usize, rows: usize, head_dim: usize) -> Tensor {
        Tensor::randn(0f32, 1., (heads, rows, head_dim), &Device::Cpu).unwrap()
    }

    fn difference(a: &Tensor, b: &Tensor) -> f32 {
        let difference = (a - b).unwrap().abs().unwrap();
        difference.max_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn attention_matches_one_query_at_a_time() {
        // 4 heads over 3,000 keys leave tiles of one group of heads and 174 queries.
        for (queries, keys, causal) in [
            (5, 5, true),
            (1, 9, true),
            (3, 9, true),
            (7, 7, false),
            (1500, 3000, true),
        ] {
            let (q, k, v) = (
                random(4, queries, 8),
                random(2, keys, 8),
                random(2, keys, 8),
            );
            let wanted = naive(&q, &k, &v, causal);
            for found in [
                attend(&q, &k, &v, args(causal, DType::F32.into())),
                attend_in_tiles(&q, &k, &v, causal),
            ] {
                let difference = difference(&found.unwrap(), &wanted);
                assert!(
                    difference < 1e-5,
                    "{queries} queries, {keys} keys: {difference}"
                );
            }
        }
    }

    #[test]
    fn quantized_attention_is_close_to_f32() {
        // Dimensions that don't fill vectors, keys that don't fill blocks, and a cache with room behind its tokens.
        for (queries, keys, head_dim, causal) in [
            (70, 70, 40, false),
            (33, 600, 64, true),
            (40, 1030, 128, true),
        ] {
            let q = random(4, queries, head_dim);
            let room = |tensor: Tensor| tensor.narrow(1, 0, keys).unwrap();
            let (k, v) = (
                room(random(2, keys + 9, head_dim)),
                room(random(2, keys + 9, head_dim)),
            );
            let found = attend(&q, &k, &v, args(causal, Precision::Q8_0)).unwrap();
            let difference = difference(&found, &naive(&q, &k, &v, causal));
            // Of values around 1, bf16 keeps 8 bits.
            assert!(difference < 0.02, "{queries}, {keys}: {difference}");
        }
    }

    #[test]
    fn bf16_scores_stay_f32_until_softmax() {
        let length = |x: &Tensor| -> f32 {
            let sum = x.sqr().unwrap().sum_all().unwrap();
            sum.to_scalar::<f32>().unwrap().sqrt()
        };
        for (dtype, bound) in [(DType::BF16, 0.004), (DType::F16, 0.0005)] {
            // Scores up to about 20, as trained models have them.
            let sharp = |x: Tensor| (x * 2.0).unwrap();
            let part = |heads, rows| sharp(random(heads, rows, 64)).to_dtype(dtype).unwrap();
            let (q, k, v) = (part(4, 40), part(2, 300), part(2, 300));
            let wide = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
            let found = wide(&attend(&q, &k, &v, args(true, dtype.into())).unwrap());
            let wanted = naive(&wide(&q), &wide(&k), &wide(&v), true);
            let error = length(&(found - &wanted).unwrap()) / length(&wanted);
            assert!(error < bound, "{dtype:?}: {error}");
        }
    }

    #[test]
    fn attention_applies_rope() {
        let (heads, head_dim) = (4, 40);
        let inv_freq = inv_freq(10_000.0, head_dim);
        let angles = (0..48).flat_map(|place| inv_freq.iter().map(move |freq| place as f32 * freq));
        let rope = RopeTables::new(angles, head_dim / 2, &Device::Cpu, DType::F32).unwrap();
        let part = || random(heads, 48, head_dim);
        let (q, k, v) = (part(), part(), part());
        let (turned_q, turned_k) = (rope.rotate(&q).unwrap(), rope.rotate(&k).unwrap());
        let wanted = naive(&turned_q, &turned_k, &v, false);
        for (precision, bound) in [(DType::F32.into(), 1e-5), (Precision::Q8_0, 0.02)] {
            let args = AttentionArgs {
                rope: Some(&rope),
                ..args(false, precision)
            };
            let found = attend(&q, &k, &v, args).unwrap();
            assert!(difference(&found, &wanted) < bound);
        }
    }

    #[test]
    fn decode_attention_does_not_depend_on_the_batch() {
        let args = args(true, DType::F32.into());
        for dtype in [DType::F32, DType::F16] {
            let kept = || random(2, 290, 64).to_dtype(dtype).unwrap();
            let (q, k, v) = (random(4, 25, 64), kept(), kept());
            let together = attend(&q, &k, &v, args).unwrap();
            for i in 0..25 {
                let seen = |x: &Tensor| x.narrow(1, 0, 290 - 25 + i + 1).unwrap();
                let alone = attend(&q.narrow(1, i, 1).unwrap(), &seen(&k), &seen(&v), args);
                assert!(difference(&alone.unwrap(), &together.narrow(0, i, 1).unwrap()) == 0.0);
            }
        }
    }

    #[test]
    fn f16_keys_and_values_match_f32() {
        // Vectors that are not whole, and more queries than are few.
        for (queries, head_dim) in [(1, 128), (3, 32), (25, 96), (40, 64)] {
            let q = random(4, queries, head_dim);
            let (k, v) = (random(2, 290, head_dim), random(2, 290, head_dim));
            let kept = |x: &Tensor| x.to_dtype(DType::F16).unwrap();
            let wide = |x: &Tensor| kept(x).to_dtype(DType::F32).unwrap();
            let found = attend(&q, &kept(&k), &kept(&v), args(true, DType::F32.into())).unwrap();
            let difference = difference(&found, &naive(&q, &wide(&k), &wide(&v), true));
            assert!(difference < 1e-5, "{queries}, {head_dim}: {difference}");
        }
    }
}
