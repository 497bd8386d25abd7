//! Quantized weights kept on disk, so that only the first start with a model quantizes it.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use candle_core::{
    Device,
    quantized::{GgmlDType, QTensor, gguf_file},
};
use tempfile::NamedTempFile;

/// The file of one model's quantized weights, in GGUF, by the names that the weights have here.
pub struct QuantizedFile {
    path: PathBuf,
    /// What the file holds, if it is there and whole.
    content: Option<gguf_file::Content>,
    /// What it should hold, to be written.
    made: Mutex<Vec<(String, Arc<QTensor>)>>,
}

impl QuantizedFile {
    /// The file at `path`, which need not be there.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let content = File::open(&path)
            .ok()
            .and_then(|file| gguf_file::Content::read(&mut BufReader::new(file)).ok());
        Self {
            path,
            content,
            made: Mutex::default(),
        }
    }

    /// A weight as it is kept, if it is kept with this shape and type.
    pub fn get(
        &self,
        name: &str,
        shape: &[usize],
        dtype: GgmlDType,
        device: &Device,
    ) -> Option<QTensor> {
        let content = self.content.as_ref()?;
        let info = content.tensor_infos.get(name)?;
        if info.shape.dims() != shape || info.ggml_dtype != dtype {
            return None;
        }
        let mut file = File::open(&self.path).ok()?;
        content.tensor(&mut file, name, device).ok()
    }

    /// Notes a weight that had to be made.
    pub fn add(&self, name: String, weight: &Arc<QTensor>) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.push((name, Arc::clone(weight)));
    }

    /// Writes what was made, whole or not at all. A file from which anything could be taken is left as it is.
    ///
    /// # Errors
    /// The folder can't be written to.
    pub fn save(&self) -> Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.is_empty() {
            return Ok(());
        }
        // Weights are made in parallel; the file shall not depend on which was first.
        made.sort_by(|(a, _), (b, _)| a.cmp(b));
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        let tensors: Vec<(&str, &QTensor)> = made
            .iter()
            .map(|(name, weight)| (name.as_str(), weight.as_ref()))
            .collect();
        gguf_file::write(&mut BufWriter::new(&mut file), &[], &tensors)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)
            .with_context(|| format!("can't write {}", self.path.display()))?;
        Ok(())
    }
}
