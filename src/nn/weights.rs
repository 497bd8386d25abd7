//! The weights of a model: one file or shards with an index, each tensor checked as it is taken.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor, quantized::QTensor};
use sha2::{Digest, Sha256};

use super::{
    mapped::MappedTensors, matrix::Matrix, precision::Precision, quantized::QuantizedFile,
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

impl Weights {
    /// Maps `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// Tensors taken from it are copied to `device` in `precision`. Quantized ones are taken from `quantized` where they are
    /// kept there.
    ///
    /// # Errors
    /// There are no weights in the folder, a shard is missing, or a file is damaged.
    pub fn open(
        folder: &Path,
        device: &Device,
        precision: Precision,
        quantized: Option<QuantizedFile>,
    ) -> Result<Self> {
        let open = |path: PathBuf| {
            MappedTensors::open(&path).with_context(|| {
                format!(
                    "the weights in {} are damaged; fetch them again",
                    folder.display()
                )
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
        let stacked = |dtype, device: &Device| -> Result<Tensor> {
            let loaded: Vec<Tensor> = parts
                .iter()
                .map(|(name, output)| self.load(name, &[*output, input], dtype, device))
                .collect::<Result<_>>()?;
            Ok(Tensor::cat(&loaded, 0)?)
        };
        let Some(blocks) = precision.blocks(input) else {
            let weight = stacked(precision.activations(), &self.device)?;
            return Ok(Matrix::dense(&weight)?);
        };
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        let (name, output) = (names.join("+"), parts.iter().map(|part| part.1).sum());
        let make = || -> Result<QTensor> {
            let dense = stacked(DType::F32, &Device::Cpu)?;
            Ok(QTensor::quantize_onto(&dense, blocks, &self.device)?)
        };
        match &self.quantized {
            Some(file) => file.get_or(&name, (output, input), blocks, &self.device, make),
            None => Matrix::quantized(make()?),
        }
    }

    /// Keeps what had to be quantized for the next start. That it can't be kept is no reason not to go on.
    pub fn keep_quantized(&self) {
        if let Some(Err(error)) = self.quantized.as_ref().map(QuantizedFile::save) {
            tracing::warn!("the quantized weights can't be kept for the next start: {error:#}");
        }
    }

    fn load(&self, name: &str, shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
        let found = self
            .files
            .iter()
            .find_map(|file| Some((file, file.place(name)?)));
        let Some((file, place)) = found else {
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
        let tensor = file
            .load(place, device)
            .with_context(|| format!("can't load tensor {name}"))?;
        Ok(tensor.to_dtype(dtype)?)
    }

    /// What the weights are kept in.
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

/// A checksum that tells models apart: of the folder's small files whole, and of the weights' sizes, headers and some
/// thousands of their bytes, since reading all of them can take as long as many pages.
///
/// # Errors
/// A file can't be read.
pub fn fingerprint(folder: &Path) -> Result<String> {
    /// Where each file of weights is looked at: this many places, this many bytes.
    const PLACES: u64 = 16;
    const BYTES: u64 = 4096;

    let mut hash = Sha256::new();
    for name in [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
    ] {
        let content = fs::read(folder.join(name)).unwrap_or_default();
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    for path in weight_files(folder)? {
        let unreadable = || format!("can't read {}", path.display());
        let mut file = File::open(&path).with_context(unreadable)?;
        let size = file.metadata().with_context(unreadable)?.len();
        hash.update(size.to_le_bytes());
        for place in 0..PLACES {
            let mut piece = Vec::new();
            file.seek(SeekFrom::Start(size / PLACES * place))
                .with_context(unreadable)?;
            file.by_ref()
                .take(BYTES)
                .read_to_end(&mut piece)
                .with_context(unreadable)?;
            hash.update(piece);
        }
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// The bytes of all weights in `folder`.
///
/// # Errors
/// There are none, or they can't be looked at.
pub fn size(folder: &Path) -> Result<u64> {
    let sizes = weight_files(folder)?
        .into_iter()
        .map(|path| fs::metadata(path).map(|file| file.len()));
    Ok(sizes.sum::<std::io::Result<u64>>()?)
}
