//! Launches of the program's own kernels, in `kernels/`.

use candle_core::{
    CudaDevice, CudaStorage, DType, Device, Result, Shape, Storage, Tensor, bail,
    cuda_backend::{
        CudaStorageSlice, WrapErr,
        cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg},
    },
    op::BackpropOp,
};
use half::{bf16, f16};

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub(super) enum Argument {
    /// Address on the device; 0 is null.
    Address(u64),
    Int(i32),
    Long(i64),
    Float(f32),
}

impl Argument {
    pub(super) const NULL: Self = Self::Address(0);

    /// A number that is small.
    pub(super) fn size(value: usize) -> Self {
        Self::Int(value as i32)
    }
}

/// Starts the kernel `name` for numbers of this type.
///
/// The kernel may write to what its arguments address, and reads no other memory.
#[allow(unsafe_code, reason = "there is no safe way to a kernel")]
pub(super) fn launch(
    device: &CudaDevice,
    dtype: DType,
    name: &str,
    (grid, threads): ((usize, usize, usize), usize),
    arguments: &[Argument],
) -> Result<()> {
    let (module, ptx) = match dtype {
        DType::BF16 => (
            "layer_bf16",
            include_str!(concat!(env!("OUT_DIR"), "/layer_bf16.ptx")),
        ),
        DType::F16 => (
            "layer_f16",
            include_str!(concat!(env!("OUT_DIR"), "/layer_f16.ptx")),
        ),
        DType::F32 => (
            "layer_f32",
            include_str!(concat!(env!("OUT_DIR"), "/layer_f32.ptx")),
        ),
        other => bail!("there are no kernels for {other:?}"),
    };
    let function = device.get_or_load_custom_func(name, module, ptx)?;
    let mut builder = function.builder();
    for argument in arguments {
        match argument {
            Argument::Address(address) => builder.arg(address),
            Argument::Int(value) => builder.arg(value),
            Argument::Long(value) => builder.arg(value),
            Argument::Float(value) => builder.arg(value),
        };
    }
    let config = LaunchConfig {
        grid_dim: (grid.0 as u32, grid.1 as u32, grid.2 as u32),
        block_dim: (threads as u32, 1, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: callers pass what the kernel's comment asks for; addresses are of tensors on this device whose work its one
    // stream orders.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}

/// The address of a tensor that is in one piece, on the device and at a multiple of 16 bytes, and that outlives its use.
pub(super) fn address(x: &Tensor) -> Result<Argument> {
    let (storage, layout) = x.storage_and_layout();
    let (Storage::Cuda(storage), true) = (&*storage, layout.is_contiguous()) else {
        bail!("a kernel wants tensors in one piece on a CUDA device")
    };
    let stream = storage.device.cuda_stream();
    let start = match &storage.slice {
        CudaStorageSlice::BF16(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::F16(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::F32(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::U32(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::I64(slice) => slice.device_ptr(&stream).0,
        _ => bail!("a kernel does not take {:?}", x.dtype()),
    };
    let address = start + (layout.start_offset() * x.dtype().size_in_bytes()) as u64;
    if !address.is_multiple_of(16) {
        bail!("a kernel wants tensors at multiples of 16 bytes")
    }
    Ok(Argument::Address(address))
}

/// A tensor whose numbers nobody has written yet: the caller has a kernel write all of them.
#[allow(unsafe_code, reason = "Candle has no safe way to it")]
pub(super) fn unwritten(
    device: &CudaDevice,
    dtype: DType,
    shape: impl Into<Shape>,
) -> Result<Tensor> {
    let shape = shape.into();
    let count = shape.elem_count();
    // SAFETY: any bits are numbers of these types, and see above.
    let slice = unsafe {
        match dtype {
            DType::BF16 => CudaStorageSlice::BF16(device.alloc::<bf16>(count)?),
            DType::F16 => CudaStorageSlice::F16(device.alloc::<f16>(count)?),
            DType::F32 => CudaStorageSlice::F32(device.alloc::<f32>(count)?),
            DType::U32 => CudaStorageSlice::U32(device.alloc::<u32>(count)?),
            other => bail!("no kernel writes {other:?}"),
        }
    };
    let device = device.clone();
    let storage = Storage::Cuda(CudaStorage { slice, device });
    Ok(Tensor::from_storage(
        storage,
        shape,
        BackpropOp::none(),
        false,
    ))
}

/// The device of a tensor.
pub(super) fn device(x: &Tensor) -> Result<CudaDevice> {
    match x.device() {
        Device::Cuda(device) => Ok(device.clone()),
        _ => bail!("a kernel wants tensors on a CUDA device"),
    }
}
