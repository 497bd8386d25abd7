//! Quantized weights kept on disk, so that only the first start with a model quantizes it; later ones map the file.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result};
use candle_core::{
    Device,
    quantized::{GgmlDType, QTensor},
};
use safetensors::{Dtype, View};
use tempfile::NamedTempFile;

use super::{linear::Matrix, mapped::MappedTensors};

/// The file of one model's quantized weights: safetensors of bytes, by the names that the weights have here and the form
/// that they are in.
pub struct QuantizedFile {
    path: PathBuf,
    /// The file, if it is there and whole.
    kept: Option<MappedTensors>,
    /// All that the file should hold.
    weights: Mutex<Vec<(String, Matrix)>>,
    /// Whether it does not hold some of them.
    lacks: AtomicBool,
}

impl QuantizedFile {
    /// The file at `path`, which need not be there.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        Self {
            kept: MappedTensors::open(&path).ok(),
            path,
            weights: Mutex::default(),
            lacks: AtomicBool::new(false),
        }
    }

    /// A weight of `shape` `(out, in)` as it is kept, or if it is not kept in this form, as `make` makes it.
    ///
    /// # Errors
    /// `make` fails.
    pub fn get_or(
        &self,
        name: &str,
        shape: (usize, usize),
        blocks: GgmlDType,
        device: &Device,
        make: impl FnOnce() -> Result<QTensor>,
    ) -> Result<Matrix> {
        let form = Matrix::form(shape, blocks, device);
        let key = format!("{name} {form} {}×{}", shape.0, shape.1);
        let kept = self.kept.as_ref().and_then(|file| {
            let start = file.place(&key)?.bytes.start;
            Matrix::mapped(file.map(), start, shape, blocks, device)
        });
        let weight = if let Some(kept) = kept {
            kept
        } else {
            self.lacks.store(true, Ordering::Relaxed);
            Matrix::quantized(make()?)?
        };
        self.weights().push((key, weight.clone()));
        Ok(weight)
    }

    /// Writes all weights, whole or not at all, if the file lacks any.
    ///
    /// # Errors
    /// The folder can't be written to.
    pub fn save(&self) -> Result<()> {
        if !self.lacks.load(Ordering::Relaxed) {
            return Ok(());
        }
        let weights = self.weights();
        let bytes = weights
            .iter()
            .map(|(key, weight)| Ok((key, Bytes::new(weight.bytes()?))))
            .collect::<Result<Vec<_>>>()?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let file = NamedTempFile::new_in(folder)?;
        safetensors::serialize_to_file(bytes, None, file.path())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)
            .with_context(|| format!("can't write {}", self.path.display()))?;
        Ok(())
    }

    fn weights(&self) -> MutexGuard<'_, Vec<(String, Matrix)>> {
        self.weights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What safetensors writes.
struct Bytes<'a> {
    bytes: Cow<'a, [u8]>,
    shape: [usize; 1],
}

impl<'a> Bytes<'a> {
    fn new(bytes: Cow<'a, [u8]>) -> Self {
        let shape = [bytes.len()];
        Self { bytes, shape }
    }
}

impl View for Bytes<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::U8
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
