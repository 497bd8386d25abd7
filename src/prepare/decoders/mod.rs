//! What turns files of one kind into pages.

pub mod image;
pub mod pdf;
pub mod pdfium;
mod pixels;
pub mod session;
mod tiff;
