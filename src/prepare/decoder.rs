//! What opens documents and gives their pages, wherever that happens.

use std::{fmt::Debug, path::PathBuf};

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::{
    error::PageError,
    page::{Format, Needs, PixelBudget, Rotation, TextPlace, Warning},
    secrets::Passwords,
};

use super::script::Script;

/// No document has more pages: PDFium counts to 1,048,575.
pub const MAX_PAGES: u32 = 1 << 20;
/// A page's text layer has at most so many bytes.
pub const MAX_TEXT_BYTES: u64 = 64 << 20;
/// What is said of where its paragraphs are has at most so many bytes.
pub const MAX_PLACE_BYTES: u64 = 4 << 20;

/// Opens documents and gives their pages: [`WorkerPool`](super::worker_pool::WorkerPool) in processes of their own,
/// [`InProcess`](super::in_process::InProcess) in this one.
pub trait Decoder: Debug + Send + Sync {
    /// The number of pages of a document.
    ///
    /// # Errors
    /// The document can't be opened.
    fn page_count(&self, document: &DocumentRequest) -> Result<PageCount, PageError>;

    /// One page of a document.
    ///
    /// # Errors
    /// The document can't be opened, or the page can't be read.
    fn page(&self, document: &DocumentRequest, page: PageRequest)
    -> Result<DecodedPage, PageError>;
}

/// The number of pages of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageCount {
    /// As the document claims, at least 1 and at most [`MAX_PAGES`].
    pub claimed: u32,
    /// Up to the last one that is there, at most `claimed`.
    pub present: u32,
}

impl PageCount {
    /// All pages are there.
    #[must_use]
    pub fn all(pages: u32) -> Self {
        Self {
            claimed: pages,
            present: pages,
        }
    }

    /// Whether a document that has at most `most` pages can have so many.
    #[must_use]
    pub fn is_possible(self, most: u32) -> bool {
        (1..=most).contains(&self.claimed) && self.present <= self.claimed
    }
}

/// A document that pages are asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRequest {
    /// Differs from document to document; a decoder may keep the latest one open.
    pub id: u64,
    /// Where its file is.
    pub path: PathBuf,
    /// What its first bytes show.
    pub format: Format,
    /// What opens it if it is encrypted.
    pub passwords: Passwords,
}

/// A page, and what of it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PageRequest {
    /// 1-based.
    pub number: u32,
    /// How it becomes pixels.
    pub raster: Raster,
    /// What the engine looks at.
    pub needs: Needs,
    /// Whether it is asked how the page lies.
    pub upright: bool,
    /// No pixels are needed where the text layer says what the page shows.
    pub text_first: bool,
    /// Its pixels may be more than the model takes at once if it is long, or its small letters are lower than this many pixels;
    /// never if none.
    pub split: Option<f64>,
}

/// How a page is turned into pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Raster {
    /// The size of a PDF page before [`smart_resize`](super::resize::smart_resize), in pixels per inch.
    pub dpi: f64,
    /// What [`smart_resize`](super::resize::smart_resize) makes of a page's size; a PDF page is rendered once, at exactly
    /// this.
    pub budget: PixelBudget,
}

/// A page as a decoder gives it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DecodedPage {
    /// u8 RGB at the size that the model sees; none if pixels are not wanted.
    pub pixels: Option<RgbImage>,
    /// (width, height) before the page was brought to that size.
    pub original: Option<(u32, u32)>,
    /// (width, height) in the file: pixels, or points for a PDF.
    pub page_size: Option<(u32, u32)>,
    /// Whether the pixels show nothing.
    pub blank: bool,
    /// The turn that rights the page, by the text that is seen on it; none if there is little, or it was not asked for.
    pub upright: Option<Rotation>,
    /// The text layer; none if it is not wanted, or the page can have none.
    pub text: Option<String>,
    /// Where its paragraphs are.
    pub places: Vec<TextPlace>,
    /// Whether the page is an image with next to no text over it.
    pub is_scan: bool,
    /// Whether it has fields to fill in.
    pub has_fields: bool,
    /// What there is to say about the page.
    pub warnings: Vec<Warning>,
    /// The script of [`Warning::MissingGlyphs`].
    pub missing_script: Option<Script>,
}

/// A page as the model sees it.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) image: RgbImage,
    /// (width, height) before it was resized.
    pub(super) original: (u32, u32),
}
