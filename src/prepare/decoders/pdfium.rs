//! Loads the PDFium library that is part of this program.

use std::io::Write;

use anyhow::{Context, Result};
use pdfium_render::prelude::{Pdfium, PdfiumLibraryBindings};

/// The library, as `build.rs` left it.
static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pdfium"));

/// Loads the embedded library without leaving a file behind.
///
/// # Errors
///
/// If the system does not let it be loaded.
pub fn load() -> Result<Box<dyn PdfiumLibraryBindings>> {
    #[cfg(target_os = "linux")]
    if let Ok(bindings) = load_from_memory() {
        return Ok(bindings);
    }
    load_from_temporary_file().with_context(|| {
        format!(
            "cannot load the PDF library of this program; set TMPDIR to a folder that \
             programs may be run from (it is {} now)",
            std::env::temp_dir().display()
        )
    })
}

#[cfg(target_os = "linux")]
fn load_from_memory() -> Result<Box<dyn PdfiumLibraryBindings>> {
    use std::{fs::File, os::fd::AsRawFd};

    use rustix::fs::{MemfdFlags, memfd_create};

    let mut file = File::from(memfd_create("pdfium", MemfdFlags::CLOEXEC)?);
    file.write_all(LIBRARY)?;
    Ok(Pdfium::bind_to_library(format!(
        "/proc/self/fd/{}",
        file.as_raw_fd()
    ))?)
}

fn load_from_temporary_file() -> Result<Box<dyn PdfiumLibraryBindings>> {
    let mut file = tempfile::Builder::new()
        .prefix("omnidocs-pdfium-")
        .suffix(std::env::consts::DLL_SUFFIX)
        .tempfile()?;
    file.write_all(LIBRARY)?;
    // Its file goes as soon as the library is loaded, except on Windows, which does not allow that.
    let path = file.into_temp_path();
    Ok(Pdfium::bind_to_library(&path)?)
}
