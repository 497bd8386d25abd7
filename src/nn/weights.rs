//! The weights of a model: one file, or several with an index; each tensor is checked when loaded.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Result as CandleResult, Tensor, quantized::QTensor};
use safetensors::Dtype;

use super::{
    fp8,
    mapped::{MappedTensors, Place},
    matrix::{self, Matrix},
    precision::Precision,
    quantized::QuantizedFile,
};
use crate::model_files::weight_files;

/// The tensors of a model folder, by name.
pub struct Weights {
    folder: PathBuf,
    files: Vec<MappedTensors>,
    device: Device,
    precision: Precision,
    quantized: Option<QuantizedFile>,
}

/// Zeros that make a matrix fit blocks and vectors: they change no result of layers around an activation that keeps 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    /// Rows added below each part.
    pub outputs: usize,
    /// Columns added to the right.
    pub inputs: usize,
}

impl Weights {
    /// Maps `model.safetensors`, or the files that `model.safetensors.index.json` names.
    ///
    /// Tensors taken from it are copied to `device` in `precision`. Quantized ones are taken from `quantized` where they are
    /// kept there.
    ///
    /// # Errors
    /// There are no weights in the folder, a file of them is missing, or a file is damaged.
    pub fn open(
        folder: &Path,
        device: &Device,
        precision: Precision,
        quantized: Option<QuantizedFile>,
    ) -> Result<Self> {
        let open = |path: PathBuf| {
            MappedTensors::open(&path).map_err(|error| {
                let shown = folder.display();
                let what = if error.is::<io::Error>() {
                    format!("cannot read the weights in {shown}")
                } else {
                    format!("the weights in {shown} are damaged; download them again")
                };
                error.context(what)
            })
        };
        let files = weight_files(folder)?.into_iter().map(open);
        Ok(Self {
            folder: folder.to_owned(),
            files: files.collect::<Result<_>>()?,
            device: device.clone(),
            precision,
            quantized,
        })
    }

    /// The tensor `name`, which must have exactly `shape`.
    ///
    /// # Errors
    /// It is missing, or has another shape: then the error names the shape found and the shape wanted.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.load(name, shape, self.precision.activations(), &self.device)
    }

    /// As [`get`](Self::get), in f32 whatever the numbers of activations.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_f32(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.load(name, shape, DType::F32, &self.device)
    }

    /// The matrices of `parts`, each `(name, out)` of shape `(out, input)`, one above the other, in `precision`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn matrix(
        &self,
        parts: &[(String, usize)],
        input: usize,
        precision: Precision,
    ) -> Result<Matrix> {
        self.matrix_padded(parts, input, precision, Padding::default())
    }

    /// As [`matrix`](Self::matrix), with zeros added to each part.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn matrix_padded(
        &self,
        parts: &[(String, usize)],
        input: usize,
        precision: Precision,
        padding: Padding,
    ) -> Result<Matrix> {
        let stacked = |dtype, device: &Device| -> Result<Tensor> {
            let load = |(name, output): &(String, usize)| {
                let part = self.load(name, &[*output, input], dtype, device)?;
                let part = part.pad_with_zeros(0, 0, padding.outputs)?;
                anyhow::Ok(part.pad_with_zeros(1, 0, padding.inputs)?)
            };
            let loaded: Vec<Tensor> = parts.iter().map(load).collect::<Result<_>>()?;
            Ok(Tensor::cat(&loaded, 0)?)
        };
        let input_padded = input + padding.inputs;
        let Some(blocks) = precision.blocks(input_padded) else {
            let weight = stacked(precision.activations(), &self.device)?;
            return Ok(Matrix::dense(&weight)?);
        };
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        let name = names.join("+");
        let output = parts.iter().map(|part| part.1 + padding.outputs).sum();
        let make = || -> Result<QTensor> {
            let dense = stacked(DType::F32, &Device::Cpu)?;
            Ok(matrix::quantize(&dense, blocks, &self.device)?)
        };
        match &self.quantized {
            Some(file) => file.get_or(&name, (output, input_padded), blocks, &self.device, make),
            None => Matrix::quantized(make()?),
        }
    }

    /// Keeps newly quantized weights for the next start. A failure to do so is logged, not an error.
    pub fn keep_quantized(&self) {
        if let Some(Err(error)) = self.quantized.as_ref().map(QuantizedFile::save) {
            tracing::warn!("cannot cache the quantized weights for the next start: {error:#}");
        }
    }

    fn load(&self, name: &str, shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
        let Some((file, place)) = self.find(name) else {
            bail!(
                "tensor {name} of shape {shape:?} is missing in the weights in {}",
                self.folder.display()
            );
        };
        ensure!(
            place.shape == shape,
            "tensor {name} in {} has shape {:?}, but config.json asks for {shape:?}",
            self.folder.display(),
            place.shape
        );
        let tensor = match place.dtype {
            Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 => file.load(place, device),
            Dtype::F8_E4M3 => self.load_fp8(name, file, place),
            // Integers mean nothing without the scales and offsets of their quantization scheme.
            other => bail!(
                "tensor {name} in {} is kept as {other:?}, which omnidocs cannot read as weights: take the checkpoint \
                 that this one was quantized from",
                self.folder.display()
            ),
        };
        let tensor = tensor.with_context(|| format!("cannot load tensor {name}"))?;
        Ok(tensor.to_dtype(dtype)?.to_device(device)?)
    }

    /// Whether there is a tensor of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<(&MappedTensors, &Place)> {
        let mut files = self.files.iter();
        files.find_map(|file| Some((file, file.place(name)?)))
    }

    /// A matrix that is kept in FP8, dequantized on the CPU with the scales of its blocks.
    fn load_fp8(&self, name: &str, file: &MappedTensors, place: &Place) -> CandleResult<Tensor> {
        let wanted = format!("{name}_scale_inv");
        let Some((scale_file, scale_place)) = self.find(&wanted) else {
            candle_core::bail!("it is in FP8, and its scales, {wanted}, are missing");
        };
        let [rows, columns] = place.shape[..] else {
            candle_core::bail!(
                "it is in FP8, and no matrix: its shape is {:?}",
                place.shape
            );
        };
        let (down, across) = fp8::scales_of((rows, columns));
        if scale_place.shape != [down, across] {
            candle_core::bail!(
                "its scales, {wanted}, have shape {:?}, but blocks of {BLOCK} × {BLOCK} need [{down}, {across}]",
                scale_place.shape,
                BLOCK = fp8::BLOCK
            );
        }
        if !matches!(scale_place.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            candle_core::bail!("its scales, {wanted}, are kept as {:?}", scale_place.dtype);
        }
        let scales = scale_file.load(scale_place, &Device::Cpu)?;
        let scales: Vec<f32> = scales.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let numbers = file.read(place, |bytes| fp8::dequantize(bytes, columns, &scales));
        Tensor::from_vec(numbers, (rows, columns), &Device::Cpu)
    }

    /// The precision of the weights.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The device that tensors are copied to.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }
}

/// The bytes of all weights in `folder`.
///
/// # Errors
/// There are none, or their sizes can't be read.
pub fn size(folder: &Path) -> Result<u64> {
    let sizes = weight_files(folder)?
        .into_iter()
        .map(|path| fs::metadata(path).map(|file| file.len()));
    Ok(sizes.sum::<io::Result<u64>>()?)
}
