//! The program's own kernels against Candle's operations on the same device.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use omnidocs::nn::{
    attention::{
        AttentionArgs,
        kv_blocks::{BlockShape, Span, Which},
        spans::Spans,
    },
    cuda::{self, attention::Projected, use_kernels},
    elementwise::swiglu,
    gates::{Gate, gated},
    likeliest::{Likeliest, likeliest},
    rope::RopeTables,
};

use super::Tally;

const EPS: f32 = 1e-6;

pub fn check(device: &Device, tally: &mut Tally) -> Result<()> {
    // Candle rounds in other places.
    for (dtype, bound) in [
        (DType::F32, 1e-5),
        (DType::BF16, 1.2e-2),
        (DType::F16, 1.5e-3),
    ] {
        let on = On { device, dtype };
        rows(on, bound, tally)?;
        choices(on, tally)?;
        for (head_dim, heads, kv_heads, is_gated) in [
            (32, 3, 3, false),
            (64, 4, 2, false),
            (128, 32, 8, false),
            (128, 28, 4, false),
            (256, 16, 2, true),
            (256, 12, 1, false),
        ] {
            let case = Case {
                head_dim,
                heads,
                kv_heads,
                is_gated,
            };
            attention(on, case, bound, tally)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct On<'a> {
    device: &'a Device,
    dtype: DType,
}

impl On<'_> {
    fn random(self, deviation: f32, shape: &[usize]) -> Result<Tensor> {
        let wide = Tensor::randn(0_f32, deviation, shape, self.device)?;
        Ok(wide.to_dtype(self.dtype)?)
    }
}

fn rows(on: On, bound: f32, tally: &mut Tally) -> Result<()> {
    let name = on.dtype.as_str();
    let (x, delta) = (on.random(1.0, &[9, 4096])?, on.random(1.0, &[9, 4096])?);
    let weight = on.random(1.0, &[4096])?;
    let (sum, normed) = cuda::add_norm(&x, &delta, &weight.to_dtype(DType::F32)?, EPS)?;
    let wanted = (x + delta)?;
    tally.close(&format!("add {name}"), &sum, &wanted, bound)?;
    let wanted = candle_nn::ops::rms_norm(&wanted, &weight, EPS)?;
    tally.close(&format!("norm {name}"), &normed, &wanted, bound)?;
    let x = on.random(2.0, &[9, 2 * 12_288])?;
    let (found, wanted) = both(|| Ok(swiglu(&x)?))?;
    tally.close(&format!("SwiGLU {name}"), &found, &wanted, bound)
}

fn choices(on: On, tally: &mut Tally) -> Result<()> {
    let name = on.dtype.as_str();
    let logits = on.random(3.0, &[9, 151_936])?;
    let (found, wanted): (Likeliest, Likeliest) = both(|| Ok(likeliest(&logits)?))?;
    let tokens = |of: &Likeliest| of.tokens.to_vec1::<u32>();
    let same = tokens(&found)? == tokens(&wanted)?;
    tally.say(same, &format!("likeliest tokens {name}"));
    let what = format!("log-probabilities {name}");
    tally.close(&what, &found.choices, &wanted.choices, 1e-5)
}

#[derive(Clone, Copy)]
struct Case {
    head_dim: usize,
    heads: usize,
    kv_heads: usize,
    is_gated: bool,
}

/// Three sequences, one of them with a draft, and a prompt.
fn attention(on: On, case: Case, bound: f32, tally: &mut Tally) -> Result<()> {
    let Case {
        head_dim,
        heads,
        kv_heads,
        is_gated,
    } = case;
    let shape = BlockShape {
        layers: 2,
        kv_heads,
        head_dim,
        dtype: on.dtype,
    };
    for lengths in [&[(1, 1), (127, 5), (2600, 1)][..], &[(0, 700)]] {
        let mut spans = Vec::new();
        for &(before, tokens) in lengths {
            let blocks: usize = before + tokens;
            let blocks = (0..blocks.div_ceil(128)).map(|_| shape.block(on.device));
            let blocks = blocks.collect::<candle_core::Result<Vec<_>>>()?;
            let earlier = Span::new(shape.clone(), &blocks, 0, before);
            for which in [Which::Keys, Which::Values] {
                if before > 0 {
                    earlier.write(1, which, &on.random(1.0, &[kv_heads, before, head_dim])?)?;
                }
            }
            spans.push(Span::new(shape.clone(), &blocks, before, tokens));
        }
        let rows: usize = lengths.iter().map(|length| length.1).sum();
        let per_head = if is_gated { 2 } else { 1 };
        let width = (per_head * heads + 2 * kv_heads) * head_dim;
        let qkv = on.random(1.0, &[rows, width])?;
        let (q_norm, k_norm) = (on.random(1.0, &[head_dim])?, on.random(1.0, &[head_dim])?);
        let angles = (0..rows * head_dim / 4).map(|i| i as f32 * 0.37);
        let rope = RopeTables::new(angles, head_dim / 4, on.device, on.dtype)?;
        let args = AttentionArgs {
            causal: true,
            rope: None,
            precision: on.dtype.into(),
        };
        let wide = |x: &Tensor| x.to_dtype(DType::F32);
        let (q_wide, k_wide) = (wide(&q_norm)?, wide(&k_norm)?);
        let projected = Projected {
            qkv: &qkv,
            bias: None,
            norms: Some((&q_wide, &k_wide)),
            eps: EPS,
            rope: &rope,
            heads,
            gated: is_gated,
        };
        let found = Spans::new(spans.clone())?.attend_projected(1, &projected, args)?;

        let all = qkv.reshape((rows, per_head * heads + 2 * kv_heads, head_dim))?;
        let part =
            |start, count| -> Result<Tensor> { Ok(all.narrow(1, start, count)?.contiguous()?) };
        let of_queries = part(0, per_head * heads)?.reshape((rows, heads, per_head, head_dim))?;
        let of_heads = |which| of_queries.narrow(2, which, 1)?.squeeze(2)?.contiguous();
        let norm = |x: &Tensor, weight: &Tensor| candle_nn::ops::rms_norm(x, weight, EPS);
        let q = norm(&of_heads(0)?, &q_norm)?.transpose(0, 1)?;
        let k = norm(&part(per_head * heads, kv_heads)?, &k_norm)?.transpose(0, 1)?;
        let v = part(per_head * heads + kv_heads, kv_heads)?.transpose(0, 1)?;
        use_kernels(false);
        let plain = Spans::new(spans)?;
        let wanted = plain.attend(1, &rope.rotate(&q)?, &rope.rotate(&k)?, &v, args);
        use_kernels(true);
        let mut wanted = wanted?;
        if is_gated {
            wanted = gated(&wanted, &of_heads(1)?.flatten_from(1)?, Gate::Sigmoid)?;
        }
        let what = format!(
            "attention {} {heads}/{kv_heads} heads of {head_dim}, {rows} tokens",
            on.dtype.as_str()
        );
        tally.close(&what, &found, &wanted, bound)?;
    }
    Ok(())
}

/// What `work` makes with the kernels, and with Candle's operations.
fn both<T>(work: impl Fn() -> Result<T>) -> Result<(T, T)> {
    let found = work()?;
    use_kernels(false);
    let wanted = work();
    use_kernels(true);
    Ok((found, wanted?))
}
