//! Attention scores in f32 from queries and keys of 16 bits. Candle's product rounds its sums to the type of its operands,
//! and softmax turns the rounding's absolute error into a relative one.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, DType, Layout, Result, Shape, Tensor,
    backend::BackendStorage,
    bail,
    cuda_backend::{
        CudaDType, WrapErr,
        cudarc::{
            cublas::{result, sys},
            driver::{DevicePtr, DevicePtrMut, DeviceRepr},
        },
    },
};
use half::{bf16, f16};

/// `scale · q·kᵀ` from `q` of shape `(heads, queries, head_dim)` and `k` of shape `(heads, keys, head_dim)`, both bf16 or
/// both f16, with rows in one piece: `(heads, queries, keys)` in f32.
///
/// # Errors
/// They are of other types or shapes, or the device fails.
pub fn scores(q: &Tensor, k: &Tensor, scale: f64) -> Result<Tensor> {
    q.apply_op2_no_bwd(k, &Scores { scale })
}

struct Scores {
    scale: f64,
}

impl CustomOp2 for Scores {
    fn name(&self) -> &'static str {
        "scores"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("these scores are for a CUDA device")
    }

    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        q_layout: &Layout,
        k: &CudaStorage,
        k_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let product = Product::new(q_layout, k_layout, self.scale)?;
        let out = match (q.dtype(), k.dtype()) {
            (DType::BF16, DType::BF16) => {
                product.run::<bf16>(q, k, sys::cudaDataType_t::CUDA_R_16BF)
            }
            (DType::F16, DType::F16) => product.run::<f16>(q, k, sys::cudaDataType_t::CUDA_R_16F),
            (q, k) => bail!("scores of {q:?} and {k:?}"),
        };
        Ok((out?, (product.heads, product.queries, product.keys).into()))
    }
}

/// Rows of a matrix: where they begin, and how far one is from the next, and those of a head from the next head's.
struct Rows {
    offset: usize,
    stride: usize,
    head_stride: usize,
}

impl Rows {
    fn new(layout: &Layout) -> Result<Self> {
        let (_, rows, columns) = layout.shape().dims3()?;
        let &[head_stride, stride, 1] = layout.stride() else {
            bail!("rows in one piece are wanted here")
        };
        // Where there is one row, Candle may say anything of the next.
        let stride = if rows == 1 { columns } else { stride };
        Ok(Self {
            offset: layout.start_offset(),
            stride,
            head_stride,
        })
    }
}

struct Product {
    q: Rows,
    k: Rows,
    heads: usize,
    queries: usize,
    keys: usize,
    head_dim: usize,
    scale: f32,
}

impl Product {
    fn new(q: &Layout, k: &Layout, scale: f64) -> Result<Self> {
        let (heads, queries, head_dim) = q.shape().dims3()?;
        let (kv_heads, keys, width) = k.shape().dims3()?;
        if (heads, head_dim) != (kv_heads, width) {
            bail!("queries {:?} and keys {:?}", q.shape(), k.shape())
        }
        Ok(Self {
            q: Rows::new(q)?,
            k: Rows::new(k)?,
            heads,
            queries,
            keys,
            head_dim,
            scale: scale as f32,
        })
    }

    #[allow(unsafe_code, reason = "cudarc has no safe way to this product")]
    fn run<T: CudaDType + DeviceRepr>(
        &self,
        q: &CudaStorage,
        k: &CudaStorage,
        kind: sys::cudaDataType_t,
    ) -> Result<CudaStorage> {
        let device = q.device();
        let stream = device.cuda_stream();
        let q = q.as_cuda_slice::<T>()?.slice(self.q.offset..);
        let k = k.as_cuda_slice::<T>()?.slice(self.k.offset..);
        // SAFETY: the product writes all of it.
        let mut out = unsafe { device.alloc::<f32>(self.heads * self.queries * self.keys)? };
        {
            let (q, _q_guard) = q.device_ptr(&stream);
            let (k, _k_guard) = k.device_ptr(&stream);
            let (out, _out_guard) = out.device_ptr_mut(&stream);
            let zero = 0_f32;
            let size = |value: usize| value as i32;
            // cuBLAS counts along columns: rows of scores are columns to it, and so are keys and queries.
            // SAFETY: layouts lie within their storage, and `out` has room for a score of each query and key.
            unsafe {
                result::gemm_strided_batched_ex(
                    *device.cublas_handle().handle(),
                    sys::cublasOperation_t::CUBLAS_OP_T,
                    sys::cublasOperation_t::CUBLAS_OP_N,
                    size(self.keys),
                    size(self.queries),
                    size(self.head_dim),
                    (&raw const self.scale).cast(),
                    k as *const _,
                    kind,
                    size(self.k.stride),
                    self.k.head_stride as i64,
                    q as *const _,
                    kind,
                    size(self.q.stride),
                    self.q.head_stride as i64,
                    (&raw const zero).cast(),
                    out as *mut _,
                    sys::cudaDataType_t::CUDA_R_32F,
                    size(self.keys),
                    (self.queries * self.keys) as i64,
                    size(self.heads),
                    sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                    sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT_TENSOR_OP,
                )
            }
            .w()?;
        }
        Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
    }
}
