//! PDFium behind types that close what they open. Only here are its functions called.
//!
//! They check their arguments, and take null for "nothing"; what they ask of their caller is that handles are used as long
//! as they are open, which the types' lifetimes see to, and by one thread, since none of them is `Send`.

mod document;
mod file;
mod load;
mod objects;
mod text_page;

pub use self::{
    document::{Document, FormKind, NotOpened, Page},
    file::PdfFile,
    load::{Library, load},
    objects::{Object, ObjectKind, Rect},
    text_page::Char,
};
