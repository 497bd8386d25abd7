//! Quantized weights kept on disk, so that only the first start with a model quantizes it; later ones map the file.

use std::{
    borrow::Cow,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use candle_core::{
    Device,
    quantized::{GgmlDType, QTensor},
};
use safetensors::{Dtype, View};

use super::{mapped::MappedTensors, matrix::Matrix};

/// A file that no run has used for this long belongs to a model or a version of the program that is no longer in use.
const FORGOTTEN: Duration = Duration::from_secs(90 * 24 * 60 * 60);
const SUFFIX: &str = ".safetensors";

/// The file of one model's quantized weights: safetensors of bytes, named by weight and layout.
pub struct QuantizedFile {
    path: PathBuf,
    /// The file, if it exists and is whole.
    kept: Option<MappedTensors>,
    /// All weights that the file should hold.
    weights: Mutex<Vec<(String, Matrix)>>,
    /// Whether it lacks some of them.
    lacks: AtomicBool,
}

impl QuantizedFile {
    /// The file at `path`, which need not be there. Others like it are kept in the same folder, and no other file
    /// whose name ends in `.safetensors`.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        // Its mtime is when it was last used; where that can't be set, the file is removed and made anew one day.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Self {
            kept: MappedTensors::open(&path).ok(),
            path,
            weights: Mutex::default(),
            lacks: AtomicBool::new(false),
        }
    }

    /// The kept weight of `shape` `(out, in)`; quantized by `make` if the file lacks it in this layout.
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

    /// Writes all weights atomically if the file lacks any, and removes files that were not used for 90 days.
    ///
    /// # Errors
    /// The folder is not writable.
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
        remove_forgotten(folder);
        let file = tempfile::Builder::new()
            .suffix(SUFFIX)
            .tempfile_in(folder)?;
        safetensors::serialize_to_file(bytes, None, file.path())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(())
    }

    fn weights(&self) -> MutexGuard<'_, Vec<(String, Matrix)>> {
        self.weights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes files that no run has used for long, and temporary files of killed runs. A run that has such a file mapped
/// keeps it.
fn remove_forgotten(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let used = entry.metadata().and_then(|file| file.modified());
        let unused = used.ok().and_then(|used| used.elapsed().ok());
        let is_ours = entry.file_name().to_string_lossy().ends_with(SUFFIX);
        if is_ours && unused.is_some_and(|unused| unused > FORGOTTEN) {
            tracing::debug!("{} was not used for long", entry.path().display());
            let _ = fs::remove_file(entry.path());
        }
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
