//! The documents that are asked for one after the other, of which the latest one stays open.

use std::path::Path;

use image::RgbImage;
use pdfium_render::prelude::Pdfium;

use super::{image::ImageFile, pdf::Pdf};
use crate::{
    error::{ErrorKind, PageError, Stage, guard},
    formats::DecoderKind,
    page::Needs,
    prepare::{
        blank::is_blank,
        decoder::{
            DecodedPage, DocumentRequest, MAX_TEXT_BYTES, PageCount, PageRequest, Raster, Rendered,
        },
    },
};

/// A page that is reduced by more than this on a side may look blank without being it. A scan at 600 dpi is reduced by 4.
const MAX_REDUCTION: u32 = 6;

/// Opens documents with one PDFium, which only one thread may use.
pub struct Session<'a> {
    pdfium: &'a Pdfium,
    open: Option<(u64, Document<'a>)>,
}

impl<'a> Session<'a> {
    /// Nothing is open yet.
    pub fn new(pdfium: &'a Pdfium) -> Self {
        Self { pdfium, open: None }
    }

    /// As [`Decoder::page_count`](crate::prepare::decoder::Decoder::page_count).
    ///
    /// # Errors
    /// The document can't be opened.
    pub fn page_count(&mut self, request: &DocumentRequest) -> Result<PageCount, PageError> {
        self.guarded(Stage::Open, |session| {
            Ok(session.document(request)?.page_count())
        })
    }

    /// As [`Decoder::page`](crate::prepare::decoder::Decoder::page).
    ///
    /// # Errors
    /// The page can't be read.
    pub fn page(
        &mut self,
        request: &DocumentRequest,
        page: PageRequest,
    ) -> Result<DecodedPage, PageError> {
        self.guarded(Stage::Prepare, |session| {
            session.document(request)?.page(&request.path, page)
        })
    }

    fn guarded<T>(
        &mut self,
        stage: Stage,
        work: impl FnOnce(&mut Self) -> Result<T, PageError>,
    ) -> Result<T, PageError> {
        let result = guard(stage, "the decoder", || work(self));
        if matches!(&result, Err(error) if error.kind == ErrorKind::Crashed) {
            // A panic may have left the document in any state.
            self.open = None;
        }
        result
    }

    fn document(&mut self, request: &DocumentRequest) -> Result<&Document<'a>, PageError> {
        if self.open.as_ref().is_none_or(|(id, _)| *id != request.id) {
            // The old document is closed first: there are never two.
            self.open = None;
        }
        let (_, document) = match &mut self.open {
            Some(open) => open,
            none => none.insert((request.id, Document::open(self.pdfium, request)?)),
        };
        Ok(document)
    }
}

/// A document that is open.
enum Document<'a> {
    Pdf(Box<Pdf<'a>>),
    Image(ImageFile),
}

impl<'a> Document<'a> {
    fn open(pdfium: &'a Pdfium, request: &DocumentRequest) -> Result<Self, PageError> {
        let DocumentRequest { path, format, .. } = request;
        if format.info().decoder == DecoderKind::Pdf {
            return Ok(Self::Pdf(Box::new(Pdf::open(pdfium, path)?)));
        }
        Ok(Self::Image(ImageFile::open(path, *format)?))
    }

    fn page_count(&self) -> PageCount {
        match self {
            Self::Pdf(pdf) => PageCount {
                claimed: pdf.page_count(),
                present: pdf.present_pages(),
            },
            Self::Image(image) => PageCount::all(image.page_count()),
        }
    }

    fn page(&self, path: &Path, request: PageRequest) -> Result<DecodedPage, PageError> {
        let PageRequest {
            number,
            raster,
            needs,
        } = request;
        let (rendered, text) = match self {
            Self::Pdf(pdf) => pdf.page(number, raster, needs)?,
            Self::Image(image) if needs.pixels => {
                (Some(image.page(path, number, &raster.budget)?), None)
            }
            Self::Image(_) => (None, None),
        };
        if text
            .as_ref()
            .is_some_and(|text| text.len() as u64 > MAX_TEXT_BYTES)
        {
            return Err(too_much_text());
        }
        let page_size = match self {
            Self::Pdf(pdf) => pdf.size(number),
            Self::Image(_) => rendered.as_ref().map(|page| page.original),
        };
        let Some(Rendered { image, original }) = rendered else {
            return Ok(DecodedPage {
                page_size,
                text,
                ..DecodedPage::default()
            });
        };
        let blank = shows_enough(original, &image) && is_blank(&image);
        if blank && self.has_text(number, raster)? {
            return Err(not_drawn());
        }
        Ok(DecodedPage {
            pixels: Some(image),
            original: Some(original),
            page_size,
            blank,
            text,
        })
    }

    /// Whether there is a letter or a digit in the page's text layer.
    fn has_text(&self, number: u32, raster: Raster) -> Result<bool, PageError> {
        let Self::Pdf(pdf) = self else {
            return Ok(false);
        };
        let only_text = Needs {
            pixels: false,
            text: true,
        };
        let (_, text) = pdf.page(number, raster, only_text)?;
        Ok(text.is_some_and(|text| text.contains(char::is_alphanumeric)))
    }
}

/// Whether a page keeps enough of its pixels that what was on it can still be seen.
fn shows_enough(original: (u32, u32), image: &RgbImage) -> bool {
    original.0 <= MAX_REDUCTION * image.width()
}

/// A page with text of which nothing can be seen is not blank: that would lose the text without a word.
fn not_drawn() -> PageError {
    let message = "the page has text, but none of it can be rendered: a font may be missing that is not in the PDF; \
                   install it, or read the file with --engine text-layer";
    PageError::new(ErrorKind::Render, Stage::Prepare, message)
}

fn too_much_text() -> PageError {
    let message = format!(
        "the page's text layer is larger than {} MiB; read the page from its pixels",
        MAX_TEXT_BYTES >> 20
    );
    PageError::new(ErrorKind::TooLarge, Stage::Prepare, message)
}
