//! PDF pages as pixels and text, by PDFium, which may crash: so this runs in worker processes alone.

use std::path::Path;

use image::RgbImage;
use pdfium_render::prelude::{
    PdfBitmapFormat, PdfDocument, PdfPage, PdfPageIndex, PdfRenderConfig, Pdfium, PdfiumError,
    PdfiumInternalError, Pixels,
};

use crate::{
    error::{ErrorKind, PageError, Stage},
    page::Needs,
    prepare::{
        decoder::{Raster, Rendered},
        failure::{not_opened, unreadable},
        resize::smart_resize,
    },
};

/// PDF coordinates count in points.
const POINTS_PER_INCH: f64 = 72.0;

/// A PDF of which PDFium reads what it needs when it needs it.
pub struct Pdf<'a> {
    document: PdfDocument<'a>,
    page_count: u32,
}

impl<'a> Pdf<'a> {
    /// Opens a PDF.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encrypted`] for a PDF that wants a password, [`ErrorKind::Unreadable`] for one that can't be opened
    /// or has no pages.
    pub fn open(pdfium: &'a Pdfium, path: &Path) -> Result<Self, PageError> {
        let document = pdfium
            .load_pdf_from_file(path, None)
            .map_err(explain_opening)?;
        match u32::try_from(document.pages().len()) {
            Ok(page_count @ 1..) => Ok(Self {
                document,
                page_count,
            }),
            _ => Err(unreadable(Stage::Open, "the PDF has no pages")),
        }
    }

    /// Number of pages that the document claims, at least 1.
    pub fn page_count(&self) -> u32 {
        self.page_count
    }

    /// Number of pages up to the last one that is there.
    pub fn present_pages(&self) -> u32 {
        let mut numbers = (1..=self.page_count).rev();
        numbers
            .find(|&number| self.get(number).is_some())
            .unwrap_or(0)
    }

    /// (width, height) of page `number` (1-based) in whole points.
    pub fn size(&self, number: u32) -> Option<(u32, u32)> {
        let page = self.get(number)?;
        let points = |length: f32| length.round().max(1.0) as u32;
        Some((points(page.width().value), points(page.height().value)))
    }

    fn get(&self, number: u32) -> Option<PdfPage<'_>> {
        let index = PdfPageIndex::try_from(number.checked_sub(1)?).ok()?;
        self.document.pages().get(index).ok()
    }

    /// What an engine needs of page `number` (1-based): its pixels, its text, or both.
    ///
    /// Pixels show the crop box, turned as the page says, with annotations and form fields, on white. The text is none
    /// where the page's text can't be read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unreadable`] for a page that the file does not hold, [`ErrorKind::Render`] for one without a usable
    /// size.
    pub fn page(
        &self,
        number: u32,
        raster: Raster,
        needs: Needs,
    ) -> Result<(Option<Rendered>, Option<String>), PageError> {
        let page = self.get(number).ok_or_else(|| {
            unreadable(
                Stage::Prepare,
                "the page is damaged, or missing from the PDF's file",
            )
        })?;
        let pixels = if needs.pixels {
            Some(render(&page, raster)?)
        } else {
            None
        };
        let text = if needs.text { text(&page) } else { None };
        Ok((pixels, text))
    }
}

fn explain_opening(error: PdfiumError) -> PageError {
    match error {
        PdfiumError::PdfiumLibraryInternalError(PdfiumInternalError::PasswordError) => {
            let message = "the PDF needs a password; save a copy without one (for example \
                           with `qpdf --decrypt`) and read that";
            PageError::new(ErrorKind::Encrypted, Stage::Open, message)
        }
        PdfiumError::PdfiumLibraryInternalError(PdfiumInternalError::SecurityError) => {
            let message = "the PDF uses an unknown encryption; save a copy \
                           without encryption and read that";
            PageError::new(ErrorKind::Encrypted, Stage::Open, message)
        }
        PdfiumError::IoError(error) => not_opened(&error),
        _ => unreadable(
            Stage::Open,
            "the PDF is damaged or incomplete: no pages can be found in it; get a whole copy, or \
             repair it (for example with `qpdf in.pdf out.pdf`)",
        ),
    }
}

fn render(page: &PdfPage, raster: Raster) -> Result<Rendered, PageError> {
    let pixels = |points: f32| {
        (f64::from(points) * raster.dpi / POINTS_PER_INCH)
            .round()
            .max(1.0) as u32
    };
    let original = (pixels(page.width().value), pixels(page.height().value));
    let (height, width) = smart_resize(original.1, original.0, &raster.budget)?;
    let config = PdfRenderConfig::new()
        .set_fixed_size(width as Pixels, height as Pixels)
        .set_format(PdfBitmapFormat::BGRx)
        .render_annotations(true)
        .render_form_data(true)
        .set_reverse_byte_order(true);
    let bitmap = page.render_with_config(&config).map_err(|error| {
        not_rendered(&format!(
            "PDFium has no bitmap of {width} × {height} pixels: {error}"
        ))
    })?;
    let image = rgb(width, height, &bitmap.as_raw_bytes())?;
    Ok(Rendered { image, original })
}

/// From 4 bytes per pixel (red, green, blue, unused) to 3.
fn rgb(width: u32, height: u32, rgbx: &[u8]) -> Result<RgbImage, PageError> {
    let mut rgb = RgbImage::new(width, height);
    if rgbx.len() / 4 != rgb.len() / 3 {
        return Err(not_rendered("PDFium gave a bitmap of the wrong size"));
    }
    for (pixel, rgbx) in rgb.chunks_exact_mut(3).zip(rgbx.chunks_exact(4)) {
        pixel.copy_from_slice(&rgbx[..3]);
    }
    Ok(rgb)
}

/// The page's characters in the order of its content, with the line ends and spaces that PDFium finds between them.
fn text(page: &PdfPage) -> Option<String> {
    let text = page.text().ok()?;
    // PDFium gives UTF-16 units one by one on some systems, and code points on others.
    let mut units = Vec::new();
    for character in text.chars().iter() {
        let value = character.unicode_value();
        match char::from_u32(value) {
            Some(character) => units.extend_from_slice(character.encode_utf16(&mut [0; 2])),
            None => units.extend(u16::try_from(value).ok()),
        }
    }
    let text = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
    // The rest of the control characters are glyphs without a meaning, and U+0002 a hyphen at a line's end: there
    // PDFium joins the two halves of the word, with no line end between them.
    Some(
        text.filter(|&c| matches!(c, '\n' | '\t') || !(c.is_control() || is_marker(c)))
            .collect(),
    )
}

/// Not characters, by Unicode's definition; PDFium uses the first for hyphens at a line's end.
fn is_marker(character: char) -> bool {
    matches!(character, '\u{FFFE}' | '\u{FFFF}')
}

fn not_rendered(reason: &str) -> PageError {
    PageError::new(
        ErrorKind::Render,
        Stage::Prepare,
        format!("cannot render the page: {reason}"),
    )
}
