//! The documents that are asked for one after the other, of which the latest one stays open.

use std::path::Path;

use super::{image::ImageFile, pdf::Pdf, pdfium::Library, pixels::shows_enough};
use crate::{
    error::{ErrorKind, PageError, Stage, guard},
    formats::DecoderKind,
    page::PixelBudget,
    prepare::{
        blank::is_blank,
        decoder::{DecodedPage, DocumentRequest, PageCount, PageRequest, Rendered},
    },
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

/// The size at which a page is looked at again that shows nothing at the model's.
const CLOSER: PixelBudget = PixelBudget {
    factor: 1,
    min_pixels: 1,
    max_pixels: 2_000_000,
};

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
        let budget = &request.raster.budget;
        let (rendered, warnings) = image.page(path, request.number, budget)?;
        let is_blank =
            |page: &Rendered| shows_enough(page.original, &page.image) && is_blank(&page.image);
        let mut blank = is_blank(&rendered);
        if blank && rendered.image.width() < rendered.original.0 {
            // Faint print fades as it is reduced.
            let (larger, _) = image.page(path, request.number, &CLOSER)?;
            blank = is_blank(&larger);
        }
        let Rendered { image, original } = rendered;
        Ok(DecodedPage {
            blank,
            pixels: Some(image),
            original: Some(original),
            page_size: Some(original),
            warnings,
            ..DecodedPage::default()
        })
    }
}
