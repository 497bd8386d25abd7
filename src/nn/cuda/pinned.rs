//! Page-locked host memory: a copy to it runs while the device goes on with later work.

use std::sync::Arc;

use candle_core::{
    CudaDevice, Result as CandleResult, Storage, Tensor, bail,
    cuda_backend::{
        CudaDType, WrapErr,
        cudarc::driver::{CudaEvent, CudaStream, PinnedHostSlice},
    },
};

/// Page-locked memory that no copy is under way to.
pub struct Pinned {
    memory: PinnedHostSlice<f32>,
    /// Recorded behind each copy. The memory has an event of its own for that, but cudarc (0.19) records it only where it
    /// tracks events.
    arrived: CudaEvent,
    stream: Arc<CudaStream>,
}

impl Pinned {
    /// Room for `len` numbers.
    #[allow(unsafe_code, reason = "cudarc has no safe way to it")]
    pub fn new(device: &CudaDevice, len: usize) -> CandleResult<Self> {
        let stream = device.cuda_stream();
        // SAFETY: the memory is read by `InFlight::wait` alone, and as far as a copy has filled it.
        let memory = unsafe { stream.context().alloc_pinned(len) }.w()?;
        let arrived = stream.context().new_event(None).w()?;
        Ok(Self {
            memory,
            arrived,
            stream,
        })
    }

    /// Capacity in numbers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether the capacity is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts to copy `numbers`, f32, of which there are at most [`len`](Self::len).
    ///
    /// # Errors
    /// The numbers are not contiguous on this memory's device, there are too many, or the device fails.
    pub fn copy(mut self, numbers: &Tensor) -> CandleResult<InFlight> {
        if !is_on_stream::<f32>(numbers, &self.stream)? {
            bail!("numbers are on another stream than the memory that they are copied to")
        }
        let (storage, layout) = numbers.storage_and_layout();
        let (Storage::Cuda(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets())
        else {
            bail!("numbers are not in one piece on a CUDA device")
        };
        let count = end - start;
        if count > self.len() {
            bail!("{count} numbers for a memory of {}", self.len())
        }
        let numbers = storage.as_cuda_slice::<f32>()?.slice(start..end);
        self.stream.memcpy_dtoh(&numbers, &mut self.memory).w()?;
        self.arrived.record(&self.stream).w()?;
        Ok(InFlight {
            pinned: self,
            count,
        })
    }
}

impl Drop for Pinned {
    /// Waits: the device may still be writing to the memory.
    fn drop(&mut self) {
        // If this fails the device is lost and writes nothing any more.
        self.arrived.synchronize().ok();
    }
}

/// A copy of numbers to the host that is under way.
pub struct InFlight {
    pinned: Pinned,
    count: usize,
}

impl InFlight {
    /// Waits for the numbers, and gives back the memory for the next ones.
    ///
    /// # Errors
    /// The device fails.
    pub fn wait(self) -> CandleResult<(Vec<f32>, Pinned)> {
        self.pinned.arrived.synchronize().w()?;
        let numbers = self.pinned.memory.as_slice().w()?[..self.count].to_vec();
        Ok((numbers, self.pinned))
    }
}

/// Whether `tensor`, of numbers of type `T`, belongs to `stream`.
pub(super) fn is_on_stream<T: CudaDType>(
    tensor: &Tensor,
    stream: &Arc<CudaStream>,
) -> CandleResult<bool> {
    let (storage, _) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => {
            let slice = storage.as_cuda_slice::<T>()?;
            Ok(Arc::ptr_eq(slice.stream(), stream))
        }
        _ => Ok(false),
    }
}
