//! Opens a CUDA device with the settings that make it fast.

pub mod attention;
mod launch;
mod layer;
mod pinned;
mod scores;

pub use self::{
    layer::{add_norm, has_kernels, likeliest, swiglu, use_kernels},
    pinned::{InFlight, Pinned},
    scores::scores,
};

use anyhow::Result;
use candle_core::{
    CudaDevice, DType, Device, Result as CandleResult, Tensor, bail,
    cuda_backend::{
        WrapErr,
        cudarc::driver::{result, sys::CUmemPool_attribute},
    },
};

use super::fault::message;

/// Opens device `index` (0-based) and checks that it computes.
///
/// # Errors
/// The device can't be used; the message says why, and what to do.
pub fn open(index: usize) -> Result<Device> {
    try_open(index).map_err(|error| {
        let said = message(&error.into());
        anyhow::anyhow!("{} ({said})", advice(&said))
    })
}

fn try_open(index: usize) -> CandleResult<Device> {
    // One stream for all threads. Candle's default is one stream per thread; weights are loaded by many threads and used by
    // one, and nothing would order its work after theirs.
    let device = Device::new_cuda_with_stream(index)?;
    let cuda = device.as_cuda_device()?;
    track_nothing(cuda);
    // For comparison, and should a kernel turn out wrong on some GPU.
    if std::env::var_os("OMNIDOCS_CUDA_KERNELS").is_some_and(|value| value == "off") {
        use_kernels(false);
    }
    keep_freed_memory(cuda)?;
    // A build for other devices fails here, not at each page.
    let tensor = Tensor::zeros(1, DType::F32, &device)?.affine(1.0, 1.0)?;
    tensor.to_vec1::<f32>()?;
    check_stream(cuda, &tensor)?;
    Ok(device)
}

/// Turns off the two events per tensor that order its uses on several streams.
#[allow(unsafe_code, reason = "Candle has no safe way to it")]
fn track_nothing(device: &CudaDevice) {
    // SAFETY: all work goes to the device's one stream, which orders it. `check_stream` and `Pinned::copy` assert that.
    unsafe { device.disable_event_tracking() };
}

/// Asserts the condition for [tracking nothing](track_nothing): all tensors live on the device's one stream, also those that
/// another thread makes.
fn check_stream(device: &CudaDevice, tensor: &Tensor) -> CandleResult<()> {
    let elsewhere = || Tensor::zeros(1, DType::F32, tensor.device())?.affine(1.0, 1.0);
    let other = std::thread::scope(|scope| scope.spawn(elsewhere).join());
    let Ok(other) = other else {
        bail!("a thread that used the device failed")
    };
    for tensor in [tensor, &other?] {
        if !pinned::is_on_stream::<f32>(tensor, &device.cuda_stream())? {
            bail!("the device has several streams, and nothing would order their work")
        }
    }
    Ok(())
}

/// Lets the memory pool keep freed memory for the next tensor. By default it returns all of it to the system at each
/// synchronisation, that is at each token.
#[allow(unsafe_code, reason = "cudarc has no safe way to it")]
fn keep_freed_memory(device: &CudaDevice) -> CandleResult<()> {
    let stream = device.cuda_stream();
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(());
    }
    let mut threshold = u64::MAX;
    // SAFETY: the context keeps its device and the device its pool; the driver reads 64 bits of this attribute.
    unsafe {
        let pool = result::device::get_mem_pool(context.cu_device()).w()?;
        result::mem_pool::set_attribute(
            pool,
            CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            (&raw mut threshold).cast(),
        )
        .w()
    }
}

/// The sentence for an error at the start.
fn advice(said: &str) -> &'static str {
    let says = |name| said.contains(name);
    if says("CUDA_ERROR_NO_DEVICE") {
        "CUDA sees no NVIDIA GPU; check `nvidia-smi` and CUDA_VISIBLE_DEVICES"
    } else if says("CUDA_ERROR_INVALID_DEVICE") {
        "there is no GPU with this number; `nvidia-smi -L` lists them"
    } else if says("CUDA_ERROR_OUT_OF_MEMORY") {
        "the GPU has no memory left; `nvidia-smi` shows what uses it"
    } else if says("CUDA_ERROR_STUB_LIBRARY") {
        "the toolkit's stub driver was loaded; remove its folder `stubs` from LD_LIBRARY_PATH"
    } else if says("NO_BINARY_FOR_GPU") || says("INVALID_PTX") {
        "this omnidocs was compiled for other GPUs; build it on this machine, or with this GPU's CUDA_COMPUTE_CAP"
    } else if says("UNSUPPORTED_PTX_VERSION") || says("SYSTEM_DRIVER_MISMATCH") {
        "the driver is older than the CUDA version of this omnidocs; update the driver, or build with an older CUDA"
    } else {
        "the GPU does not work; check `nvidia-smi`"
    }
}
