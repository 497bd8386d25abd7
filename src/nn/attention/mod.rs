//! Scaled dot-product attention whose memory is bounded, whatever the size of the page.

mod attend;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod bf16;
#[cfg(target_arch = "x86_64")]
mod blocked;
mod decode_attention;
mod decode_ops;
#[cfg(target_arch = "x86_64")]
mod integers;
pub mod kv_blocks;
mod rows;
pub mod spans;

pub use self::attend::{AttentionArgs, attend};
