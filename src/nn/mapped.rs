//! Files of tensors (safetensors), mapped into memory.

// Mapping a file is unsafe because someone else may shorten or change it while it is mapped. Model folders are written
// once, and so are the files of quantized weights, which are replaced whole; copying 16 GB to be safe from that would
// double the memory that the model needs.
#![allow(unsafe_code)]

use std::{collections::HashMap, fs::File, ops::Range, path::Path, sync::Arc};

use anyhow::Result;
use candle_core::{Device, Result as CandleResult, Tensor, safetensors::Load};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// A memory-mapped safetensors file.
pub struct MappedTensors {
    map: Arc<Mmap>,
    places: HashMap<String, Place>,
}

/// One of its tensors.
pub struct Place {
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The range of its bytes in the file.
    pub bytes: Range<usize>,
}

impl MappedTensors {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// The file can't be read, is no safetensors file, or is cut short.
    pub fn open(path: &Path) -> Result<Self> {
        // SAFETY: see the top of this file.
        let map = unsafe { Mmap::map(&File::open(path)?)? };
        let start = map.as_ptr().addr();
        let place = |view: &TensorView| {
            let from = view.data().as_ptr().addr() - start;
            Place {
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                bytes: from..from + view.data().len(),
            }
        };
        let tensors = SafeTensors::deserialize(&map)?;
        let places = tensors
            .iter()
            .map(|(name, view)| (name.to_owned(), place(&view)))
            .collect();
        Ok(Self {
            map: Arc::new(map),
            places,
        })
    }

    /// The whole file.
    #[must_use]
    pub fn map(&self) -> &Arc<Mmap> {
        &self.map
    }

    /// The tensor `name`, if the file has it.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<&Place> {
        self.places.get(name)
    }

    /// Copies a tensor to `device`.
    ///
    /// # Errors
    /// The device has no room, or Candle does not know numbers of this type.
    pub fn load(&self, place: &Place, device: &Device) -> CandleResult<Tensor> {
        self.read(place, |bytes| {
            TensorView::new(place.dtype, place.shape.clone(), bytes)?.load(device)
        })
    }

    /// Calls `read` with a tensor's bytes.
    pub fn read<T>(&self, place: &Place, read: impl FnOnce(&[u8]) -> T) -> T {
        let made = read(&self.map[place.bytes.clone()]);
        self.release(place);
        made
    }

    /// Gives a tensor's memory back to the system once it is copied. Reading it again reads the file.
    fn release(&self, place: &Place) {
        #[cfg(unix)]
        {
            use memmap2::UncheckedAdvice::DontNeed;
            let Range { start, end } = place.bytes;
            // SAFETY: nobody writes to this map, so there is nothing in it that the file doesn't have.
            let advised = unsafe {
                self.map
                    .unchecked_advise_range(DontNeed, start, end - start)
            };
            // The system reclaims it anyway when it needs memory.
            advised.ok();
        }
        #[cfg(not(unix))]
        let _ = place;
    }
}
