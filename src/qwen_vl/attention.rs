//! Scaled dot-product attention whose memory is bounded, whatever the size of the page.

#[cfg(feature = "flash-attn")]
use candle_core::DType;
use candle_core::{Result, Tensor};

use super::elementwise::softmax;

/// Scores of at most this many elements exist at a time on a GPU: 64 MiB in f32.
const MAX_SCORES: usize = 16 << 20;
/// And on a CPU, whose caches hold 4 MiB.
const MAX_SCORES_CPU: usize = 1 << 20;

/// Attends from `q` of shape `(heads, queries, head_dim)` to `k` and `v` of shape `(kv_heads, keys, head_dim)`.
///
/// `heads` is a multiple of `kv_heads`; keys are shared by groups of heads without being copied. With `causal`, the
/// last query sees all keys, the one before it all but the last, and so on. The softmax is taken in f32. Heads and queries
/// are worked through in tiles, so that `heads × queries × keys` scores never exist at once.
///
/// Returns `(queries, heads · head_dim)`.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Result<Tensor> {
    #[cfg(feature = "flash-attn")]
    if q.device().is_cuda() && q.dtype() != DType::F32 {
        return flash(q, k, v, causal);
    }
    let (heads, queries, head_dim) = q.dims3()?;
    let (kv_heads, keys, _) = k.dims3()?;
    let group = heads / kv_heads;
    let most = if q.device().is_cpu() {
        MAX_SCORES_CPU
    } else {
        MAX_SCORES
    };
    let scale = (head_dim as f64).powf(-0.5);
    let q = (q * scale)?.reshape((kv_heads, group, queries, head_dim))?;
    let heads_tile = (most / (group * queries * keys)).clamp(1, kv_heads);
    let rows_tile = (most / (heads_tile * group * keys)).clamp(1, queries);
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
    let scores = q
        .reshape((kv_heads, group * rows, head_dim))?
        .matmul(&k.t()?)?
        .reshape((kv_heads * group, rows, keys))?;
    softmax(scores, causal)?
        .reshape((kv_heads, group * rows, keys))?
        .matmul(v)?
        .reshape((kv_heads, group, rows, head_dim))
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

    /// One query at a time and no tiles: what the tiled path must equal.
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

    #[test]
    fn tiles_give_what_one_query_at_a_time_gives() {
        let random = |heads: usize, rows: usize| {
            Tensor::randn(0f32, 1., (heads, rows, 8), &Device::Cpu).unwrap()
        };
        // 4 heads over 3,000 keys leave tiles of one group of heads and 174 queries.
        for (queries, keys, causal) in [
            (5, 5, true),
            (1, 9, true),
            (3, 9, true),
            (7, 7, false),
            (1500, 3000, true),
        ] {
            let (q, k, v) = (random(4, queries), random(2, keys), random(2, keys));
            let (tiled, naive) = (
                attend(&q, &k, &v, causal).unwrap(),
                naive(&q, &k, &v, causal),
            );
            let difference = (tiled - naive)
                .unwrap()
                .abs()
                .unwrap()
                .max_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap();
            assert!(
                difference < 1e-5,
                "{queries} queries, {keys} keys: {difference}"
            );
        }
    }
}
