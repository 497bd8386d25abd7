//! What turns files of one kind into pages.

mod bmp;
mod canvas;
mod colors;
pub mod image;
pub mod image_page;
mod jpeg;
mod jpeg2000;
pub mod pdf;
pub mod pdfium;
mod pixels;
mod png;
pub mod session;
mod tiff;
