//! Quantized weights kept on disk, so that only the first start with a model quantizes it.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
    /// All that the file should hold.
    weights: Mutex<Vec<(String, Arc<QTensor>)>>,
    /// Whether it does not hold some of them.
    lacks: AtomicBool,
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
            weights: Mutex::default(),
            lacks: AtomicBool::new(false),
        }
    }

    /// A weight as it is kept, or if it is not kept with this shape and type, as `make` makes it.
    ///
    /// # Errors
    /// `make` fails.
    pub fn get_or(
        &self,
        name: String,
        shape: &[usize],
        dtype: GgmlDType,
        device: &Device,
        make: impl FnOnce() -> Result<QTensor>,
    ) -> Result<Arc<QTensor>> {
        let weight = if let Some(kept) = self.kept(&name, shape, dtype, device) {
            kept
        } else {
            self.lacks.store(true, Ordering::Relaxed);
            make()?
        };
        let weight = Arc::new(weight);
        self.weights().push((name, Arc::clone(&weight)));
        Ok(weight)
    }

    fn kept(
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

    /// Writes all weights, whole or not at all, if the file lacks any.
    ///
    /// # Errors
    /// The folder can't be written to.
    pub fn save(&self) -> Result<()> {
        if !self.lacks.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut weights = self.weights();
        // They come in parallel; the file shall not depend on which was first.
        weights.sort_by(|(a, _), (b, _)| a.cmp(b));
        let tensors: Vec<(&str, &QTensor)> = weights
            .iter()
            .map(|(name, weight)| (name.as_str(), weight.as_ref()))
            .collect();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        let mut writer = BufWriter::new(&mut file);
        gguf_file::write(&mut writer, &[], &tensors)?;
        // Dropping it would write the last of it too, and forget that the disk is full.
        writer.flush()?;
        drop(writer);
        file.as_file().sync_all()?;
        file.persist(&self.path)
            .with_context(|| format!("can't write {}", self.path.display()))?;
        Ok(())
    }

    fn weights(&self) -> MutexGuard<'_, Vec<(String, Arc<QTensor>)>> {
        self.weights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
