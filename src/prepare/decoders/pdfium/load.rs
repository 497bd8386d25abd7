//! Loads the PDFium library that is part of this program.

use std::{env, ffi::CString, io::Write, mem, ptr};

use anyhow::{Context, Result};
use pdfium_render::prelude::{FPDF_LIBRARY_CONFIG, Pdfium, PdfiumLibraryBindings};

/// The library, as `build.rs` left it.
static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pdfium"));

/// A folder with fonts instead of the system's, for tests.
const FONTS: &str = "OMNIDOCS_FONTS";

/// The library, loaded and ready.
pub struct Library(Box<dyn PdfiumLibraryBindings>);

impl Library {
    pub(super) fn bindings(&self) -> &dyn PdfiumLibraryBindings {
        &*self.0
    }
}

/// Loads the embedded library without leaving a file behind.
///
/// # Errors
///
/// If the system does not let it be loaded.
#[allow(unsafe_code, reason = "PDFium is a C library")]
pub fn load() -> Result<Library> {
    let bindings = bind()?;
    let folder =
        env::var_os(FONTS).and_then(|folder| CString::new(folder.into_encoded_bytes()).ok());
    let mut folders = [
        folder
            .as_ref()
            .map_or(ptr::null(), |folder| folder.as_ptr()),
        ptr::null(),
    ];
    // SAFETY: all its fields are numbers, and pointers that may be null.
    let mut config: FPDF_LIBRARY_CONFIG = unsafe { mem::zeroed() };
    config.version = 2;
    if folder.is_some() {
        config.m_pUserFontPaths = folders.as_mut_ptr();
    }
    // SAFETY: PDFium reads the folders, a list with null at its end, before it returns.
    unsafe { bindings.FPDF_InitLibraryWithConfig(&raw const config) };
    Ok(Library(bindings))
}

fn bind() -> Result<Box<dyn PdfiumLibraryBindings>> {
    #[cfg(target_os = "linux")]
    if let Ok(bindings) = load_from_memory() {
        return Ok(bindings);
    }
    load_from_temporary_file().with_context(|| {
        format!(
            "cannot load the PDF library of this program; set TMPDIR to a folder that \
             programs may be run from (it is {} now)",
            env::temp_dir().display()
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
        .suffix(env::consts::DLL_SUFFIX)
        .tempfile()?;
    file.write_all(LIBRARY)?;
    // Its file goes as soon as the library is loaded, except on Windows, which does not allow that.
    let path = file.into_temp_path();
    Ok(Pdfium::bind_to_library(&path)?)
}
