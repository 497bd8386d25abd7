//! Single operations at the sizes of the published models: whether attention and blocks are right on a device, and what each
//! operation costs.

use std::time::Instant;

use anyhow::Result;
use candle_core::{D, DType, Device, Tensor, quantized::GgmlDType};
use omnidocs::nn::{
    attention::{AttentionArgs, attend},
    linear::Linear,
    matrix::{self, Matrix},
    pass::Pass,
    precision::Precision,
};

use super::Tally;

/// Inputs and outputs of the linear layers of the 8B and 2B models' decoders.
const LAYERS: [(usize, usize); 8] = [
    (4096, 6144),
    (4096, 4096),
    (4096, 24_576),
    (12_288, 4096),
    (2048, 4096),
    (2048, 12_288),
    (6144, 2048),
    (4096, 151_936),
];
/// Weights are taken in turns from about so many bytes, so that none stays in the device's caches.
const TURNED_BYTES: usize = 400_000_000;

pub fn check(device: &Device, tally: &mut Tally) -> Result<()> {
    attention(device, tally)?;
    #[cfg(feature = "cuda")]
    super::kernels::check(device, tally)?;
    blocks(device, tally)?;
    let bench = Bench { device };
    bench.products()?;
    bench.small()?;
    bench.attention()?;
    bench.tower()
}

fn args(causal: bool, precision: Precision) -> AttentionArgs<'static> {
    AttentionArgs {
        causal,
        rope: None,
        precision,
    }
}

/// Attention against that of the CPU in f32, over a part of a cache as decoding has it.
fn attention(device: &Device, tally: &mut Tally) -> Result<()> {
    for (dtype, bound) in [(DType::F32, 1e-5), (DType::BF16, 4e-3), (DType::F16, 5e-4)] {
        for (queries, keys, causal) in [(1, 700, true), (9, 700, true), (700, 700, false)] {
            let random = |heads, rows| -> Result<Tensor> {
                let x = Tensor::randn(0_f32, 2.0, (heads, rows, 128), &Device::Cpu)?;
                Ok(x.to_dtype(dtype)?)
            };
            let (q, k, v) = (
                random(8, queries)?,
                random(2, keys + 60)?,
                random(2, keys + 60)?,
            );
            let on = |device: &Device, dtype| -> Result<Tensor> {
                let there = |x: &Tensor| x.to_dtype(dtype)?.to_device(device);
                let part = |x: &Tensor| there(x)?.narrow(1, 0, keys);
                let args = args(causal, dtype.into());
                Ok(attend(&there(&q)?, &part(&k)?, &part(&v)?, args)?)
            };
            let what = format!("attention {} {queries}x{keys}", dtype.as_str());
            tally.close(
                &what,
                &on(device, dtype)?,
                &on(&Device::Cpu, DType::F32)?,
                bound,
            )?;
        }
    }
    Ok(())
}

/// The scores of attention alone: one product of cuBLAS and no kernel.
#[cfg(feature = "cuda")]
pub fn scores(device: &Device, tally: &mut Tally) -> Result<()> {
    for dtype in [DType::BF16, DType::F16] {
        for (queries, keys) in [(1, 300), (1, 1), (9, 300), (33, 70)] {
            let random = |rows| -> Result<Tensor> {
                let wide = Tensor::randn(0_f32, 1.0, (2, rows, 128), &Device::Cpu)?;
                Ok(wide.to_dtype(dtype)?)
            };
            // Parts of what is there, as of a cache that has room.
            let (q, k) = (random(queries + 5)?, random(keys + 60)?);
            let part = |x: &Tensor, start, count| x.narrow(1, start, count);
            let (q_there, k_there) = (q.to_device(device)?, k.to_device(device)?);
            let found = omnidocs::nn::cuda::scores(
                &part(&q_there, 3, queries)?,
                &part(&k_there, 0, keys)?,
                0.125,
            )?;
            let wide = |x: Tensor| x.to_dtype(DType::F32)?.contiguous();
            let (q, k) = (wide(part(&q, 3, queries)?)?, wide(part(&k, 0, keys)?)?);
            let wanted = (q.matmul(&k.t()?)? * 0.125)?;
            let what = format!("scores {} {queries}x{keys}", dtype.as_str());
            tally.close(&what, &found, &wanted, 1e-5)?;
        }
    }
    Ok(())
}

/// There are none: Candle's own are taken on a CPU.
#[cfg(not(feature = "cuda"))]
pub fn scores(_: &Device, _: &mut Tally) -> Result<()> {
    anyhow::bail!("this was built for the CPU only")
}

/// Products of blocks whose rows don't fill what Candle reads of them, after the device's memory was full of NaN.
fn blocks(device: &Device, tally: &mut Tally) -> Result<()> {
    for (rows, input) in [(1, 1152), (40, 1152), (1, 4304)] {
        let dense = Tensor::randn(0_f32, 0.05, (1024, input), &Device::Cpu)?;
        let x = Tensor::randn(0_f32, 1.0, (rows, input), &Device::Cpu)?;
        let on = |device: &Device| -> Result<Option<Tensor>> {
            let spoilt = Tensor::full(f32::NAN, (16 << 20,), device)?;
            drop(spoilt);
            let Some(blocks) = Precision::Q8_0.blocks(input) else {
                return Ok(None);
            };
            let weight = Matrix::quantized(matrix::quantize(&dense, blocks, device)?)?;
            Ok(Some(
                Linear::new(weight, None).forward(&x.to_device(device)?, Pass::Decode)?,
            ))
        };
        // No block of any type fits into some rows, which stay dense.
        if let (Some(found), Some(wanted)) = (on(device)?, on(&Device::Cpu)?) {
            let what = format!("{:?} {rows}x{input}", GgmlDType::Q8_0);
            tally.close(&what, &found, &wanted, 2e-2)?;
        }
    }
    Ok(())
}

/// Times operations in bf16.
struct Bench<'a> {
    device: &'a Device,
}

impl Bench<'_> {
    fn random(&self, shape: &[usize]) -> Result<Tensor> {
        let wide = Tensor::randn(0_f32, 0.05, shape, self.device)?;
        Ok(wide.to_dtype(DType::BF16)?)
    }

    /// Prints how many microseconds one of `repeats` takes that don't wait for each other: the larger of the host's and the
    /// device's time. `bytes` are what it must read.
    fn time(
        &self,
        name: &str,
        bytes: usize,
        repeats: usize,
        mut work: impl FnMut(usize) -> Result<Tensor>,
    ) -> Result<()> {
        for i in 0..5 {
            work(i)?;
        }
        self.device.synchronize()?;
        let start = Instant::now();
        for i in 0..repeats {
            work(i)?;
        }
        let each = |start: Instant| start.elapsed().as_secs_f64() * 1e6 / repeats as f64;
        let asked = each(start);
        self.device.synchronize()?;
        let done = each(start);
        let speed = if bytes > 0 {
            format!(", {:.0} GB/s", bytes as f64 / done / 1e3)
        } else {
            String::new()
        };
        println!("op   {name}: {done:.1} µs (host {asked:.1}){speed}");
        Ok(())
    }

    fn products(&self) -> Result<()> {
        for (input, output) in LAYERS {
            let bytes = input * output * 2;
            let copies = (TURNED_BYTES / bytes).clamp(1, 12);
            let weights = (0..copies)
                .map(|_| Ok(self.random(&[output, input])?.t()?))
                .collect::<Result<Vec<_>>>()?;
            for rows in [1, 4, 8, 16, 32] {
                let x = self.random(&[rows, input])?;
                let name = format!("product {rows}x{input}x{output}");
                self.time(&name, bytes, 60, |i| Ok(x.matmul(&weights[i % copies])?))?;
            }
        }
        Ok(())
    }

    /// What there is around the products in a run of the decoder, for 8 pages.
    fn small(&self) -> Result<()> {
        let (x, weight) = (self.random(&[8, 4096])?, self.random(&[4096])?);
        self.time("add 8x4096", 0, 300, |_| Ok((&x + &x)?))?;
        self.time("RMSNorm 8x4096", 0, 300, |_| {
            Ok(candle_nn::ops::rms_norm(&x, &weight, 1e-6)?)
        })?;
        let wide = self.random(&[8, 24_576])?;
        self.time("SwiGLU 8x12288", 0, 300, |_| {
            Ok(omnidocs::nn::elementwise::swiglu(&wide)?)
        })?;
        let numbers = [1_u32, 2, 3, 4, 5, 6, 7, 8];
        self.time("upload of 8 numbers", 0, 300, |_| {
            Ok(Tensor::new(&numbers, self.device)?)
        })?;
        let logits = self.random(&[8, 151_936])?;
        self.time("argmax 8x151936", 0, 100, |_| Ok(logits.argmax(D::Minus1)?))?;
        self.time("argmax 8x151936, read", 0, 50, |_| {
            let tokens = logits.argmax(D::Minus1)?;
            tokens.to_vec1::<u32>()?;
            Ok(tokens)
        })?;
        let (cache, new) = (self.random(&[8, 4096, 128])?, self.random(&[8, 1, 128])?);
        self.time("append 8x1x128", 0, 300, |i| {
            cache.slice_set(&new, 1, 2500 + i % 64)?;
            Ok(new.clone())
        })
    }

    fn attention(&self) -> Result<()> {
        let bf16 = Precision::from(DType::BF16);
        let cache = self.random(&[8, 4096, 128])?;
        let kept = cache.narrow(1, 0, 2500)?;
        let (one, bytes) = (self.random(&[32, 1, 128])?, 2 * 8 * 2500 * 128 * 2);
        self.time("attention 1x2500, 32/8 heads", bytes, 100, |_| {
            Ok(attend(&one, &kept, &kept, args(true, bf16))?)
        })?;
        let (many, kept) = (
            self.random(&[32, 2100, 128])?,
            self.random(&[8, 2100, 128])?,
        );
        self.time("attention 2100x2100 causal, 32/8 heads", 0, 4, |_| {
            Ok(attend(&many, &kept, &kept, args(true, bf16))?)
        })?;
        for head_dim in [64, 72] {
            let q = self.random(&[16, 8192, head_dim])?;
            let name = format!("attention 8192x8192, 16 heads of {head_dim}");
            self.time(&name, 0, 3, |_| Ok(attend(&q, &q, &q, args(false, bf16))?))?;
        }
        Ok(())
    }

    /// The 8B model's tower over 8,192 patches, about two megapixels.
    fn tower(&self) -> Result<()> {
        let (patches, bias) = (self.random(&[8192, 3456])?, self.random(&[3456])?);
        self.time("bias 8192x3456", 0, 20, |_| {
            Ok(patches.broadcast_add(&bias)?)
        })?;
        let inner = self.random(&[8192, 4304])?;
        self.time("GELU 8192x4304", 0, 20, |_| Ok(inner.gelu()?))?;
        let (x, weight) = (
            self.random(&[8192, 1152])?,
            self.random(&[4304, 1152])?.t()?,
        );
        self.time("product 8192x1152x4304", 0, 20, |_| Ok(x.matmul(&weight)?))
    }
}
