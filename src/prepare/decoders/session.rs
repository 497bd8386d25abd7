//! The documents that are asked for one after the other, of which the latest one stays open.

use std::path::Path;

use super::{image::ImageFile, image_page::image_page, pdf::Pdf, pdfium::Library};
use crate::{
    error::{ErrorKind, PageError, Stage, guard},
    formats::DecoderKind,
    prepare::decoder::{DecodedPage, DocumentRequest, PageCount, PageRequest},
};

/// Opens documents with one PDFium, which only one thread may use.
pub struct Session<'a> {
    pdfium: &'a Library,
    open: Option<(u64, Document<'a>)>,
}

impl<'a> Session<'a> {
    /// Nothing is open yet.
    pub fn new(pdfium: &'a Library) -> Self {
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
    fn open(pdfium: &'a Library, request: &DocumentRequest) -> Result<Self, PageError> {
        let DocumentRequest {
            path,
            format,
            passwords,
            ..
        } = request;
        if format.info().decoder == DecoderKind::Pdf {
            return Ok(Self::Pdf(Box::new(Pdf::open(pdfium, path, passwords)?)));
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
        let image = match self {
            Self::Pdf(pdf) => return pdf.page(request),
            Self::Image(image) => image,
        };
        if !request.needs.pixels {
            return Ok(DecodedPage::default());
        }
        image_page(request, &|budget| image.page(path, request.number, budget))
    }
}
