//! Scaled dot-product attention whose memory is bounded, whatever the size of the page.

use candle_core::{DType, Result, Tensor};

/// Scores of at most this many elements exist at a time: 64 MiB in f32.
const MAX_SCORES: usize = 16 << 20;

/// Attends from `q` of shape `(heads, queries, head_dim)` to `k` and `v` of shape `(kv_heads, keys, head_dim)`.
///
/// `heads` is a multiple of `kv_heads`; keys are shared by groups of heads without being copied. With `causal`, the
/// last query sees all keys, the one before it all but the last, and so on. The softmax is taken in f32. Queries are
/// worked through in tiles, so that `heads × queries × keys` scores never exist at once.
///
/// Returns `(queries, heads · head_dim)`.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Result<Tensor> {
    #[cfg(feature = "flash-attn")]
    if q.device().is_cuda() && q.dtype() != DType::F32 {
        return flash(q, k, v, causal);
    }
    let (heads, queries, head_dim) = q.dims3()?;
    let keys = k.dim(1)?;
    let q = (q * (head_dim as f64).powf(-0.5))?;
    let tile = (MAX_SCORES / (heads * keys)).clamp(1, queries);
    let mut tiles = Vec::with_capacity(queries.div_ceil(tile));
    for start in (0..queries).step_by(tile) {
        let rows = tile.min(queries - start);
        let seen = if causal {
            keys - queries + start + rows
        } else {
            keys
        };
        let (k, v) = (k.narrow(1, 0, seen)?, v.narrow(1, 0, seen)?);
        tiles.push(attend_tile(&q.narrow(1, start, rows)?, &k, &v, causal)?);
    }
    Tensor::cat(&tiles, 1)?
        .transpose(0, 1)?
        .reshape((queries, heads * head_dim))
}

fn attend_tile(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Result<Tensor> {
    let (heads, rows, head_dim) = q.dims3()?;
    let (kv_heads, keys, _) = k.dims3()?;
    let group = heads / kv_heads;
    let q = q.reshape((kv_heads, group * rows, head_dim))?;
    let mut scores = q.matmul(&k.t()?)?.to_dtype(DType::F32)?;
    if causal && rows > 1 {
        let mask = causal_mask(rows, keys, q.device())?;
        scores = scores
            .reshape((kv_heads, group, rows, keys))?
            .broadcast_add(&mask)?;
        scores = scores.reshape((kv_heads, group * rows, keys))?;
    }
    let shares = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
    shares.matmul(v)?.reshape((heads, rows, head_dim))
}

/// `(rows, keys)`: 0 where row `i` may look, −∞ at the last `rows − 1 − i` keys.
fn causal_mask(rows: usize, keys: usize, device: &candle_core::Device) -> Result<Tensor> {
    let before = keys - rows;
    let mask = (0..rows).flat_map(|i| {
        (0..keys).map(move |j| {
            if j <= before + i {
                0.0
            } else {
                f32::NEG_INFINITY
            }
        })
    });
    Tensor::from_iter(mask, device)?.reshape((rows, keys))
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
        // 4 heads over 3,000 keys leave tiles of 1,398 queries, so 1,500 queries need two.
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
