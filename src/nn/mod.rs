//! The parts of models: layers, kernels, weights, devices.
//!
//! Only this room, `generation` and `models` know tensors.

pub mod alloc;
pub mod attention;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod delta_net;
pub mod device;
pub mod elementwise;
pub mod fault;
pub mod fp8;
pub mod gates;
pub mod instructions;
pub mod likeliest;
pub mod linear;
pub mod mapped;
pub mod matrix;
pub mod mlp;
pub mod norms;
#[cfg(target_arch = "x86_64")]
pub mod packed;
pub mod pass;
pub mod precision;
pub mod quantized;
pub mod rope;
pub mod simd;
pub mod weights;
