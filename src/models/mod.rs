//! The models, one folder a family.

pub mod qwen3_vl;
