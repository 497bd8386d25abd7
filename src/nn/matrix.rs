//! Matrices of weights, dense or in blocks of few bits, and products with them.

use std::{borrow::Cow, sync::Arc};

use anyhow::{Context, Result};
use candle_core::{
    CpuStorage, CustomOp1, D, Device, Layout, Result as CandleResult, Shape, Storage, Tensor, bail,
    quantized::{GgmlDType, QStorage, QTensor},
};
use memmap2::Mmap;

#[cfg(target_arch = "x86_64")]
use super::packed::Packed;
use super::{elementwise::values, pass::Pass};

/// A matrix of weights, `(out, in)`.
#[derive(Clone)]
pub enum Matrix {
    /// `(in, out)`: a transposed view, as the product wants it.
    Dense(Tensor),
    /// In blocks along its rows, in Candle's layout; activations are f32.
    Quantized(Arc<QTensor>),
    /// In blocks, in the layout of this processor's fastest kernel; activations are f32.
    #[cfg(target_arch = "x86_64")]
    Packed(Arc<Packed>),
}

impl Matrix {
    /// From weights of shape `(out, in)`.
    pub fn dense(weight: &Tensor) -> CandleResult<Self> {
        Ok(Self::Dense(weight.t()?))
    }

    /// From weights of shape `(out, in)`, in the form that suits the processor.
    pub fn quantized(weight: QTensor) -> Result<Self> {
        #[cfg(target_arch = "x86_64")]
        if packs(weight.shape().dims2()?, weight.dtype(), &weight.device()) {
            let (output, input) = weight.shape().dims2()?;
            let packed = Packed::new(&weight.data()?, output, input);
            return Ok(Self::Packed(Arc::new(
                packed.context("blocks are missing")?,
            )));
        }
        Ok(Self::Quantized(Arc::new(weight)))
    }

    /// The name of the layout of [`quantized`](Self::quantized) weights.
    #[must_use]
    pub fn form(shape: (usize, usize), blocks: GgmlDType, device: &Device) -> String {
        let form = format!("{blocks:?}");
        if packs(shape, blocks, device) {
            form + " packed"
        } else {
            form
        }
    }

    /// From the [bytes](Self::bytes) of quantized weights, which are in `file` from `start` on; none if they can't be.
    #[must_use]
    pub fn mapped(
        file: &Arc<Mmap>,
        start: usize,
        shape: (usize, usize),
        blocks: GgmlDType,
        device: &Device,
    ) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if packs(shape, blocks, device) {
            let packed = Packed::mapped(file, start, shape.0, shape.1)?;
            return Some(Self::Packed(Arc::new(packed)));
        }
        let size = shape.0 * shape.1 / blocks.block_size() * blocks.type_size();
        let bytes = file.get(start..)?.get(..size)?;
        let storage = QStorage::from_data(Cow::Borrowed(bytes), device, blocks).ok()?;
        Some(Self::Quantized(Arc::new(
            QTensor::new(storage, shape).ok()?,
        )))
    }

    /// The bytes of quantized weights, to be kept on disk.
    ///
    /// # Errors
    /// They can't be read from the device.
    pub fn bytes(&self) -> CandleResult<Cow<'_, [u8]>> {
        match self {
            Self::Dense(_) => Ok(Cow::Borrowed(&[])),
            Self::Quantized(weight) => weight.data(),
            #[cfg(target_arch = "x86_64")]
            Self::Packed(weight) => Ok(Cow::Borrowed(weight.bytes())),
        }
    }

    /// `x·Wᵀ + bias`: `(rows, in)` → `(rows, out)`.
    pub(super) fn multiply(
        &self,
        x: &Tensor,
        bias: Option<&Tensor>,
        pass: Pass,
    ) -> CandleResult<Tensor> {
        let product = match self {
            Self::Dense(weight) => x.matmul(weight)?,
            Self::Quantized(weight) => {
                let x = x.contiguous()?;
                spread_non_finite(&x, x.apply_op1_no_bwd(weight.as_ref())?)?
            }
            #[cfg(target_arch = "x86_64")]
            Self::Packed(weight) => {
                let product = PackedProduct { weight, bias, pass };
                return x.contiguous()?.apply_op1_no_bwd(&product);
            }
        };
        match bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }

    /// The rows `indices`, `(indices)` u32 on the matrix's device: `(indices, in)`; the lookup of an embedding.
    pub fn rows(&self, indices: &Tensor) -> CandleResult<Tensor> {
        match self {
            Self::Dense(weight) => weight.t()?.index_select(indices, 0),
            Self::Quantized(weight) => weight.embedding(indices),
            #[cfg(target_arch = "x86_64")]
            Self::Packed(weight) => {
                let indices: Vec<u32> = indices.to_vec1()?;
                if let Some(index) = indices.iter().find(|&&i| i as usize >= weight.output()) {
                    bail!("there is no row {index} in a matrix of {}", weight.output());
                }
                let rows = indices.iter().flat_map(|&index| weight.row(index as usize));
                Tensor::from_iter(rows, &Device::Cpu)?.reshape((indices.len(), ()))
            }
        }
    }
}

/// Quantizes `dense`, which is on the CPU, onto `device`.
///
/// Candle's products on a GPU read up to 512 values beyond the last row of a matrix whose rows are no multiple of that, and
/// its `quantize_onto` leaves that memory uninitialised: a NaN there would spread. A tensor made from data is padded with zeros.
///
/// # Errors
/// Blocks of this type don't fit, or the device fails.
pub fn quantize(dense: &Tensor, blocks: GgmlDType, device: &Device) -> CandleResult<QTensor> {
    let quantized = QTensor::quantize_onto(dense, blocks, &Device::Cpu)?;
    if device.is_cpu() {
        return Ok(quantized);
    }
    let storage = QStorage::from_data(quantized.data()?, device, blocks)?;
    QTensor::new(storage, dense.shape())
}

/// Candle's quantized products take non-finite activations for 0. On a CPU, where the check costs nothing, each row of
/// `product` whose row of `x` has such a value becomes NaN.
fn spread_non_finite(x: &Tensor, product: Tensor) -> CandleResult<Tensor> {
    let is_finite = {
        let (storage, layout) = x.storage_and_layout();
        match &*storage {
            Storage::Cpu(storage) => values(storage, layout)?.iter().all(|x| x.is_finite()),
            _ => true,
        }
    };
    if is_finite {
        return Ok(product);
    }
    product.broadcast_add(&x.affine(0.0, 0.0)?.sum_keepdim(D::Minus1)?)
}

/// Whether quantized weights of `shape` `(out, in)` are better packed for this processor.
fn packs(shape: (usize, usize), blocks: GgmlDType, device: &Device) -> bool {
    #[cfg(target_arch = "x86_64")]
    return device.is_cpu() && blocks == GgmlDType::Q8_0 && Packed::is_supported(shape.0, shape.1);
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

#[cfg(target_arch = "x86_64")]
struct PackedProduct<'a> {
    weight: &'a Packed,
    bias: Option<&'a Tensor>,
    pass: Pass,
}

#[cfg(target_arch = "x86_64")]
impl CustomOp1 for PackedProduct<'_> {
    fn name(&self) -> &'static str {
        "packed-product"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let (rows, _) = layout.shape().dims2()?;
        let x = values(storage, layout)?;
        let multiply = |bias: Option<&[f32]>| match self.pass {
            Pass::Prefill => self.weight.multiply_many(x, bias),
            Pass::Decode => self.weight.multiply(x, bias),
        };
        let product = if let Some(bias) = self.bias {
            let (storage, layout) = bias.storage_and_layout();
            let Storage::Cpu(storage) = &*storage else {
                bail!("a bias that is not where its weights are")
            };
            multiply(Some(values(storage, layout)?))
        } else {
            multiply(None)
        };
        Ok((
            CpuStorage::F32(product),
            (rows, self.weight.output()).into(),
        ))
    }
}
