//! Matrices of 8-bit weights, laid out for the dot-product instructions of x86.
//!
//! The numbers are those of llama.cpp's Q8_0: blocks of 32 weights along a row share a scale. Here sixteen rows stand side
//! by side, so that one instruction multiplies four weights of each with the same four activations (AVX-512 VNNI), or four
//! weights of four rows (AVX2). A product reads each weight once for several rows of activations, so batches and drafts cost
//! little while memory bandwidth is the limit. Pages and prompts have so many rows that arithmetic is; with AVX2 and AVX-VNNI
//! they have kernels of their own.

mod avx2;
mod avx512;
mod many;
mod matrix;
mod tiles;

pub use self::matrix::Packed;
