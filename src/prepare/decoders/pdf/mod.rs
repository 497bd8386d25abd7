//! PDF pages as pixels and text, by PDFium, which may crash: so this runs in worker processes alone.

mod frame;
mod glyphs;
mod hidden;
mod images;
mod objects;
mod order;
mod paragraphs;
mod placeholder;
mod rare;
mod source;
mod text;

use std::{
    cell::OnceCell,
    collections::HashSet,
    path::{Path, PathBuf},
};

use image::RgbImage;

use self::{glyphs::Seen, rare::Rare, source::PageSource, text::PageLayer};
use super::{
    pdfium::{Document, FormKind, Library, NotOpened, Object, Page, PdfFile},
    pixels::shows_enough,
};
use crate::{
    error::{ErrorKind, PageError, Stage},
    page::{Needs, PageText, Warning},
    prepare::{
        blank::is_blank,
        decoder::{DecodedPage, MAX_TEXT_BYTES, PageRequest, Raster, Rendered},
        failure::{not_opened, unreadable},
        resize::smart_resize,
        script::Script,
        split,
    },
    secrets::Passwords,
};

/// PDF coordinates count in points.
const POINTS_PER_INCH: f64 = 72.0;
/// The longer side of a page that is only drawn to see whether its text shows, in pixels.
const LONG_SIDE: f32 = 1600.0;

/// A PDF of which PDFium reads what it needs when it needs it.
pub struct Pdf<'a> {
    document: Document<'a>,
    page_count: u32,
    path: PathBuf,
    rare: OnceCell<Rare>,
}

impl<'a> Pdf<'a> {
    /// Opens a PDF, with the first of the passwords that fits if it needs one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encrypted`] for a PDF that wants another password, [`ErrorKind::Unreadable`] for one that can't be
    /// opened or has no pages.
    pub fn open(
        library: &'a Library,
        path: &Path,
        passwords: &Passwords,
    ) -> Result<Self, PageError> {
        let open = |password: Option<&str>| {
            let file = PdfFile::open(path).map_err(|error| not_opened(&error))?;
            Ok(Document::open(library, file, password))
        };
        let mut opened = open(None)?;
        for password in passwords.iter() {
            if !matches!(opened, Err(NotOpened::Password)) {
                break;
            }
            opened = open(Some(password))?;
        }
        let document = opened.map_err(|error| explain_opening(error, !passwords.is_empty()))?;
        match u32::try_from(document.page_count()) {
            Ok(page_count @ 1..) => Ok(Self {
                document,
                page_count,
                path: path.to_owned(),
                rare: OnceCell::new(),
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
        let is_there = |index: u32| {
            let index = i32::try_from(index).ok();
            index.is_some_and(|index| self.document.page(index).is_some())
        };
        let last = (0..self.page_count).rev().find(|&index| is_there(index));
        last.map_or(0, |index| index + 1)
    }

    /// What an engine needs of a page: its pixels, its text, or both.
    ///
    /// Pixels show the crop box, turned as the page says, with annotations and form fields, on white. The text is none
    /// where the page's text can't be read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unreadable`] for a page that the file does not hold, [`ErrorKind::Render`] for one without a usable
    /// size, or of which something can't be drawn.
    pub fn page(&self, request: PageRequest) -> Result<DecodedPage, PageError> {
        let missing = || {
            unreadable(
                Stage::Prepare,
                "the page is damaged, or missing from the PDF's file",
            )
        };
        let index = i32::try_from(request.number - 1).map_err(|_| missing())?;
        let page = self.document.page(index).ok_or_else(missing)?;
        if page.size().0 < f32::MIN_POSITIVE || page.size().1 < f32::MIN_POSITIVE {
            // A crop box beside the page shows nothing.
            page.uncrop();
        }
        let mut decoded = DecodedPage {
            page_size: Some(self.points(&page, index)),
            has_fields: request.needs.text && page.has_fields(),
            ..DecodedPage::default()
        };
        let PageRequest {
            raster,
            needs,
            upright,
            text_first,
            split,
            ..
        } = request;
        if needs.pixels && !text_first {
            self.draw(&page, index, raster, &mut decoded)?;
        }
        let mut letters = None;
        if needs.text || (upright || split.is_some()) && needs.pixels || self.may_be_placeholder() {
            letters = self.read(page, index, needs, &mut decoded)?;
        }
        let text = decoded.text.clone().map(PageText::from);
        if needs.pixels
            && text_first
            && PageText::distrust(text.as_ref(), decoded.is_scan).is_some()
        {
            let page = self.document.page(index).ok_or_else(missing)?;
            self.draw(&page, index, raster, &mut decoded)?;
        }
        if let Some(min_letters) = split {
            self.enlarge(index, (raster, min_letters), letters, &mut decoded);
        }
        Ok(decoded)
    }

    /// Draws a page larger than the model takes it, if its print is small there or it is long. `letters` is the height of its
    /// small letters in its own units.
    fn enlarge(
        &self,
        index: i32,
        (raster, min_letters): (Raster, f64),
        letters: Option<f32>,
        decoded: &mut DecodedPage,
    ) -> Option<()> {
        let (image, original) = (decoded.pixels.as_ref()?, decoded.original?);
        if decoded.blank {
            return None;
        }
        let page = self.document.page(index)?;
        let scale = f64::from(image.width()) / f64::from(page.size().0);
        let seen = match letters {
            Some(units) => split::Page {
                size: image.dimensions(),
                most: original,
                letters: Some(f64::from(units) * scale),
            },
            None => split::Page::seen(image, original),
        };
        let raster = Raster {
            budget: split::larger(&seen, &raster.budget, min_letters)?,
            ..raster
        };
        let drawn = render(&page, self.user_unit(index), raster).ok()?;
        decoded.pixels = Some(drawn.image);
        Some(())
    }

    /// The text layer, if it is needed, and whether the page stands for something else. Gives the height of its small letters.
    fn read(
        &self,
        page: Page,
        index: i32,
        needs: Needs,
        decoded: &mut DecodedPage,
    ) -> Result<Option<f32>, PageError> {
        let layer = self.text(page, index);
        let text = layer.as_ref().map_or("", |layer| layer.text.as_str());
        if placeholder::is_placeholder(&self.document, self.rare().portfolio, text) {
            decoded.warnings.push(Warning::Placeholder);
        }
        decoded.upright = layer.as_ref().and_then(|layer| layer.upright);
        let letters = layer.as_ref().and_then(|layer| layer.letters);
        let Some(layer) = layer.filter(|_| needs.text) else {
            return Ok(letters);
        };
        if layer.text.len() as u64 > MAX_TEXT_BYTES {
            return Err(too_much_text());
        }
        decoded.is_scan = layer.is_scan;
        decoded.text = Some(layer.text);
        decoded.places = layer.places;
        Ok(letters)
    }

    fn draw(
        &self,
        page: &Page,
        index: i32,
        raster: Raster,
        decoded: &mut DecodedPage,
    ) -> Result<(), PageError> {
        let unit = self.user_unit(index);
        let Rendered { image, original } = render(page, unit, raster)?;
        let mut is_blank =
            shows_enough(original, &image) && is_blank(&image) && is_blank_enlarged(page, &image);
        if images::any_undecodable(page, &image, is_blank)
            || is_blank && self.names_more_than_it_has(page, index)
        {
            return Err(not_decoded());
        }
        if is_blank || glyphs::may_miss_fonts(page) {
            let seen = Seen::of(page, &image, &self.hidden_texts(page));
            decoded.missing_script = seen.missing();
            if is_blank && !seen.any() && seen.any_missing() {
                return Err(not_drawn(seen.missing()));
            }
            is_blank &= !seen.any();
        }
        if decoded.missing_script.is_some() {
            decoded.warnings.push(Warning::MissingGlyphs);
        }
        decoded.pixels = Some(image);
        decoded.original = Some(original);
        decoded.blank = is_blank;
        Ok(())
    }

    /// The text layer, which holds what is drawn of annotations and form fields.
    fn text(&self, page: Page, index: i32) -> Option<PageLayer> {
        let page = if page.annotations() > 0 && page.flatten() {
            drop(page);
            self.document.page(index)?
        } else {
            page
        };
        let hidden = self.hidden_texts(&page);
        let mut layer = PageLayer::of(&page, &hidden)?;
        if layer.is_white && !is_seen(&page, &hidden) {
            layer.text.clear();
            layer.places.clear();
        }
        Some(layer)
    }

    /// The ids of the texts that are not drawn.
    fn hidden_texts(&self, page: &Page) -> HashSet<usize> {
        hidden::hidden_texts(page, self.rare().layers)
    }

    fn rare(&self) -> Rare {
        // What can't be read was not there.
        *self
            .rare
            .get_or_init(|| Rare::of(&self.path).unwrap_or_default())
    }

    fn may_be_placeholder(&self) -> bool {
        self.document.form_kind() != FormKind::OnPages
            || self.document.attachments() > 0 && self.rare().portfolio
    }

    /// (width, height) of a page in whole points.
    fn points(&self, page: &Page, index: i32) -> (u32, u32) {
        let unit = self.user_unit(index);
        let points = |units: f32| (f64::from(units) * unit).round().max(1.0) as u32;
        let (width, height) = page.size();
        (points(width), points(height))
    }

    /// The points that a unit of the page has.
    fn user_unit(&self, index: i32) -> f64 {
        let source = self
            .rare()
            .user_unit
            .then(|| PageSource::of(&self.document, index));
        source
            .flatten()
            .and_then(|source| source.user_unit())
            .unwrap_or(1.0)
    }

    /// Whether the page's content names more than PDFium has found: what it can't read is not there for it.
    fn names_more_than_it_has(&self, page: &Page, index: i32) -> bool {
        let Some(source) = PageSource::of(&self.document, index) else {
            return false;
        };
        let leaves = objects::leaves(page);
        let with_forms = page.annotations() == 0;
        let drawing = source.drawing(with_forms);
        let named = if with_forms {
            objects::count_forms(page) + objects::count_images(&leaves)
        } else {
            page.objects().filter(Object::is_named).count()
        };
        drawing.unknown || drawing.named > named || leaves.is_empty() && drawing.own > 0
    }
}

/// Whether a page that shows nothing at the model's size shows nothing at a larger one either: faint print fades as it is
/// reduced.
fn is_blank_enlarged(page: &Page, image: &RgbImage) -> bool {
    let (width, height) = image.dimensions();
    let scale = f64::from(LONG_SIDE) / f64::from(width.max(height));
    if scale <= 1.0 {
        return true;
    }
    let side = |pixels: u32| (f64::from(pixels) * scale).round().max(1.0) as u32;
    let (width, height) = (side(width), side(height));
    let image = page.draw(width, height, None);
    let image = image.and_then(|drawn| rgb(width, height, &drawn).ok());
    image.is_none_or(|image| is_blank(&image))
}

/// Whether any of a page's text is seen when it is drawn small.
fn is_seen(page: &Page, hidden: &HashSet<usize>) -> bool {
    let (width, height) = page.size();
    let scale = LONG_SIDE / width.max(height);
    let side = |units: f32| (units * scale).round().max(1.0) as u32;
    let (width, height) = (side(width), side(height));
    let image = page.draw(width, height, None);
    let image = image.and_then(|drawn| rgb(width, height, &drawn).ok());
    image.is_none_or(|image| Seen::of(page, &image, hidden).any())
}

fn explain_opening(error: NotOpened, had_password: bool) -> PageError {
    let encrypted = |message| PageError::new(ErrorKind::Encrypted, Stage::Open, message);
    match error {
        NotOpened::Password if had_password => encrypted(
            "the PDF needs another password than the given ones; add it to the file of --password-file",
        ),
        NotOpened::Password => {
            encrypted("the PDF needs a password; give it with --password or --password-file")
        }
        NotOpened::Security => encrypted(
            "the PDF uses an unknown encryption; save a copy without encryption and read that",
        ),
        NotOpened::Damaged => unreadable(
            Stage::Open,
            "the PDF is damaged or incomplete: no pages can be found in it; get a whole copy, or \
             repair it (for example with `qpdf in.pdf out.pdf`)",
        ),
    }
}

fn render(page: &Page, unit: f64, raster: Raster) -> Result<Rendered, PageError> {
    let pixels = |units: f32| {
        (f64::from(units) * unit * raster.dpi / POINTS_PER_INCH)
            .round()
            .max(1.0) as u32
    };
    let (width, height) = page.size();
    let original = (pixels(width), pixels(height));
    let (height, width) = smart_resize(original.1, original.0, &raster.budget)?;
    let drawn = page.draw(width, height, None).ok_or_else(|| {
        not_rendered(&format!(
            "PDFium has no bitmap of {width} × {height} pixels"
        ))
    })?;
    let image = rgb(width, height, &drawn)?;
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

fn not_rendered(reason: &str) -> PageError {
    PageError::new(
        ErrorKind::Render,
        Stage::Prepare,
        format!("cannot render the page: {reason}"),
    )
}

fn not_decoded() -> PageError {
    let message = "an image on the page cannot be decoded: its data is damaged, cut off, missing or of an unknown \
                   kind; get a whole copy of the file, or convert it with another program (for example \
                   `pdftoppm -png -r 200 in.pdf page`)";
    PageError::new(ErrorKind::Render, Stage::Prepare, message)
}

/// A page with text of which nothing can be seen is not blank: that would lose the text without a word.
fn not_drawn(script: Option<Script>) -> PageError {
    let message = match script {
        Some(script) => format!(
            "the {} letters of this page are not in the fonts at hand; {}, or read the file with --engine text-layer",
            script.name(),
            script.remedy()
        ),
        None => "the page has text, but none of it can be rendered; read the file with --engine text-layer".to_owned(),
    };
    PageError::new(ErrorKind::Render, Stage::Prepare, message)
}

fn too_much_text() -> PageError {
    let message = format!(
        "the page's text layer is larger than {} MiB; read the page from its pixels",
        MAX_TEXT_BYTES >> 20
    );
    PageError::new(ErrorKind::TooLarge, Stage::Prepare, message)
}
