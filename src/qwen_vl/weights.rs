//! Memory-mapped safetensors: one file or shards with an index, each tensor checked as it is taken.

// Mapping a file is unsafe because someone else may shorten or change it while it is mapped. Model folders are
// written once; copying 16 GB to be safe from that would double the memory that the model needs. The map is dropped
// once the tensors are on the device.
#![allow(unsafe_code)]

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor, safetensors::MmapedSafetensors};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::config::read_json;

/// The tensors of a model folder, by name.
pub struct Weights {
    folder: PathBuf,
    tensors: MmapedSafetensors,
    device: Device,
    dtype: DType,
}

#[derive(Deserialize)]
struct Index {
    weight_map: std::collections::HashMap<String, String>,
}

impl Weights {
    /// Maps `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// Tensors taken from it are copied to `device` as `dtype`.
    ///
    /// # Errors
    /// There are no weights in the folder, a shard is missing, or a file is damaged.
    pub fn open(folder: &Path, device: &Device, dtype: DType) -> Result<Self> {
        let files = weight_files(folder)?;
        // SAFETY: see the top of this file.
        let tensors = unsafe { MmapedSafetensors::multi(&files) }.with_context(|| {
            format!(
                "the weights in {} are damaged; fetch them again",
                folder.display()
            )
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            tensors,
            device: device.clone(),
            dtype,
        })
    }

    /// The tensor `name`, which must have exactly `shape`.
    ///
    /// # Errors
    /// It is missing, or has another shape: then the error names the shape found and the shape wanted.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let Ok(view) = self.tensors.get(name) else {
            bail!(
                "tensor {name} of shape {shape:?} is missing in the weights in {}",
                self.folder.display()
            );
        };
        ensure!(
            view.shape() == shape,
            "tensor {name} in {} has shape {:?}, but config.json asks for {shape:?}",
            self.folder.display(),
            view.shape()
        );
        let tensor = self
            .tensors
            .load(name, &self.device)
            .with_context(|| format!("can't load tensor {name}"))?;
        Ok(tensor.to_dtype(self.dtype)?)
    }

    /// The device that tensors are copied to.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The type that tensors are converted to.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
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

fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let index = folder.join("model.safetensors.index.json");
    if index.exists() {
        let index: Index = read_json(folder, "model.safetensors.index.json")?;
        let shards: BTreeSet<&String> = index.weight_map.values().collect();
        let files: Vec<PathBuf> = shards.into_iter().map(|shard| folder.join(shard)).collect();
        if let Some(missing) = files.iter().find(|file| !file.exists()) {
            bail!(
                "model.safetensors.index.json names {}, which does not exist",
                missing.display()
            );
        }
        return Ok(files);
    }
    let single = folder.join("model.safetensors");
    ensure!(
        single.exists(),
        "there are no weights in {}: neither model.safetensors nor model.safetensors.index.json",
        folder.display()
    );
    Ok(vec![single])
}
