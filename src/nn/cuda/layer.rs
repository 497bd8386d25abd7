//! What a decoder's layer does beside attention and products, and the choice of a token, by the program's own kernels.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{D, DType, Result, Tensor, bail};

use super::launch::{Argument, address, device, launch, unwritten};

/// Whether the kernels are used, where Candle's operations could be.
static USED: AtomicBool = AtomicBool::new(true);

/// Whether the kernels are used from now on: with Candle's operations in their place the results are the same up to rounding.
pub fn use_kernels(used: bool) {
    USED.store(used, Ordering::Relaxed);
}

/// Whether there are kernels for rows like these, and they are to be used.
#[must_use]
pub fn has_kernels(x: &Tensor) -> bool {
    let columns = x.dim(D::Minus1).unwrap_or(0);
    USED.load(Ordering::Relaxed)
        && x.device().is_cuda()
        && matches!(x.dtype(), DType::BF16 | DType::F16 | DType::F32)
        && columns > 0
        && columns.is_multiple_of(8)
}

/// `x + delta`, and that by the RMS norm whose `weight` is in f32; rows of as many numbers as it has.
///
/// # Errors
/// The device fails.
pub fn add_norm(x: &Tensor, delta: &Tensor, weight: &Tensor, eps: f32) -> Result<(Tensor, Tensor)> {
    let (x, delta) = (x.contiguous()?, delta.contiguous()?);
    let columns = weight.dim(0)?;
    let rows = x.elem_count() / columns;
    if x.shape() != delta.shape() || x.dtype() != delta.dtype() || rows * columns != x.elem_count()
    {
        bail!("a sum of {:?} and {:?}", x.shape(), delta.shape())
    }
    let device = device(&x)?;
    let sum = unwritten(&device, x.dtype(), x.shape())?;
    let normed = unwritten(&device, x.dtype(), x.shape())?;
    let arguments = [
        address(&x)?,
        address(&delta)?,
        address(weight)?,
        address(&sum)?,
        address(&normed)?,
        Argument::size(columns),
        Argument::Float(eps),
    ];
    let threads = (columns / 8).next_multiple_of(32).min(512);
    launch(
        &device,
        x.dtype(),
        "add_norm",
        ((rows, 1, 1), threads),
        &arguments,
    )?;
    Ok((sum, normed))
}

/// `(rows, 2 · size)`, gate and value side by side → `silu(gate) · value`, `(rows, size)`; `size` is a multiple of 8.
///
/// # Errors
/// The device fails.
pub fn swiglu(x: &Tensor) -> Result<Tensor> {
    const THREADS: usize = 256;

    let x = x.contiguous()?;
    let (rows, both) = x.dims2()?;
    let (size, total) = (both / 2, rows * both / 2);
    let device = device(&x)?;
    let out = unwritten(&device, x.dtype(), (rows, size))?;
    let arguments = [
        address(&x)?,
        address(&out)?,
        Argument::size(size),
        Argument::Long(total as i64),
    ];
    let blocks = total.div_ceil(8 * THREADS);
    launch(
        &device,
        x.dtype(),
        "swiglu",
        ((blocks, 1, 1), THREADS),
        &arguments,
    )?;
    Ok(out)
}

/// What [`likeliest`](crate::nn::likeliest::likeliest) says, of `logits` `(rows, vocab)`: tokens and choices.
///
/// # Errors
/// The device fails.
pub fn likeliest(logits: &Tensor) -> Result<(Tensor, Tensor)> {
    let logits = logits.contiguous()?;
    let (rows, vocab) = logits.dims2()?;
    let device = device(&logits)?;
    let tokens = unwritten(&device, DType::U32, rows)?;
    let choices = unwritten(&device, DType::F32, (rows, 2))?;
    let arguments = [
        address(&logits)?,
        address(&tokens)?,
        address(&choices)?,
        Argument::size(vocab),
    ];
    launch(
        &device,
        logits.dtype(),
        "likeliest",
        ((rows, 1, 1), 1024),
        &arguments,
    )?;
    Ok((tokens, choices))
}
