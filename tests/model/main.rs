//! The model: parity with the reference implementation, and what happens when its files don't fit each other.

mod folder;
mod parity;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use omnidocs::qwen_vl::QwenVl;

/// The two tiny random models, which between them have every trait of the published ones.
const TINY_MODELS: [&str; 2] = ["tiny-tied", "tiny-untied"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn load(folder: &Path) -> anyhow::Result<QwenVl> {
    QwenVl::load(folder, &Device::Cpu, DType::F32)
}
