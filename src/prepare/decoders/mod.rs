//! What turns files of one kind into pages.

mod bmp;

pub mod image;
mod jpeg;
mod overlay;
pub mod pdf;
pub mod pdfium;
mod pixels;
pub mod session;
mod tiff;
mod tiff_directory;
