//! PDF pages as pixels and text: one thread owns PDFium, and everyone else sends it messages.
//!
//! PDFium is not thread-safe, so there is one [`Renderer`] thread in a process, which takes one request at a time.
//! Requests and replies are plain data: what answers them may one day be another process.

use std::{
    any::Any,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{OnceLock, mpsc},
    thread,
};

use anyhow::{Context, Result, anyhow};
use image::RgbImage;
use pdfium_render::prelude::{
    PdfBitmapFormat, PdfDocument, PdfPage, PdfPageIndex, PdfRenderConfig, Pdfium, PdfiumError,
    PdfiumInternalError, Pixels,
};

use super::{
    crashed, pdfium,
    resize::{PixelBudget, smart_resize},
    unreadable,
};
use crate::{
    document::{Needs, PageText},
    error::{ErrorKind, PageError, Stage},
};

/// PDF coordinates count in points.
const POINTS_PER_INCH: f64 = 72.0;

/// How a page is turned into pixels.
#[derive(Debug, Clone, Copy)]
pub struct Raster {
    /// The page's size before [`smart_resize`], in pixels per inch.
    pub dpi: f64,
    /// What [`smart_resize`] makes of that size; the page is rendered once, at exactly this.
    pub budget: PixelBudget,
}

/// The one way to PDFium. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Renderer {
    requests: mpsc::Sender<Envelope>,
}

/// A PDF that the renderer holds open, until this is dropped.
#[derive(Debug)]
pub struct OpenPdf {
    renderer: Renderer,
    id: u64,
    page_count: u32,
}

/// What is asked of the thread that owns PDFium.
#[derive(Debug)]
enum Request {
    Open {
        path: PathBuf,
    },
    Page {
        document: u64,
        number: u32,
        raster: Raster,
        needs: Needs,
    },
    Close {
        document: u64,
    },
}

/// What it answers.
#[derive(Debug)]
enum Reply {
    Opened {
        document: u64,
        page_count: u32,
    },
    Page {
        bitmap: Option<Bitmap>,
        text: Option<String>,
    },
    Closed,
}

/// A rendered page, 4 bytes per pixel: red, green, blue, unused.
#[derive(Debug)]
struct Bitmap {
    width: u32,
    height: u32,
    rgbx: Vec<u8>,
}

type Answer = Result<Reply, PageError>;

/// A request and where its answer goes.
#[derive(Debug)]
struct Envelope {
    request: Request,
    answer: mpsc::SyncSender<Answer>,
}

impl Renderer {
    /// The renderer of this process; its thread starts with the first call.
    ///
    /// # Errors
    ///
    /// If the system does not let the embedded library be loaded.
    pub fn get() -> Result<Self> {
        static RENDERER: OnceLock<Result<Renderer, String>> = OnceLock::new();
        RENDERER
            .get_or_init(|| start().map_err(|error| format!("{error:#}")))
            .clone()
            .map_err(|message| anyhow!(message))
    }

    /// Opens a PDF, of which PDFium then reads what it needs when it needs it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encrypted`] for a PDF that wants a password, [`ErrorKind::Unreadable`] for one that can't be opened
    /// or has no pages.
    pub fn open(&self, path: &Path) -> Result<OpenPdf, PageError> {
        match self.ask(
            Request::Open {
                path: path.to_owned(),
            },
            Stage::Open,
        )? {
            Reply::Opened {
                document,
                page_count,
            } => Ok(OpenPdf {
                renderer: self.clone(),
                id: document,
                page_count,
            }),
            _ => Err(crashed(
                Stage::Open,
                "the PDF renderer gave an answer to another question",
            )),
        }
    }

    fn ask(&self, request: Request, stage: Stage) -> Answer {
        let (answer, reply) = mpsc::sync_channel(1);
        let sent = self.requests.send(Envelope { request, answer }).is_ok();
        let reply = if sent { reply.recv().ok() } else { None };
        reply.unwrap_or_else(|| Err(crashed(stage, "the PDF renderer has stopped")))
    }
}

impl OpenPdf {
    /// Number of pages, at least 1.
    #[must_use]
    pub fn page_count(&self) -> u32 {
        self.page_count
    }

    /// What an engine needs of page `number` (1-based): its pixels, its text, or both.
    ///
    /// Pixels show the crop box, turned as the page says, with annotations and form fields, on white. The text is none
    /// where the page's text can't be read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unreadable`] for a page that the file does not hold, [`ErrorKind::Render`] for one without a usable
    /// size, [`ErrorKind::Crashed`] where the renderer failed.
    pub fn page(
        &self,
        number: u32,
        raster: Raster,
        needs: Needs,
    ) -> Result<(Option<RgbImage>, Option<PageText>), PageError> {
        let request = Request::Page {
            document: self.id,
            number,
            raster,
            needs,
        };
        match self.renderer.ask(request, Stage::Prepare)? {
            Reply::Page { bitmap, text } => Ok((
                bitmap.map(Bitmap::into_rgb).transpose()?,
                text.map(PageText),
            )),
            _ => Err(crashed(
                Stage::Prepare,
                "the PDF renderer gave an answer to another question",
            )),
        }
    }
}

impl Drop for OpenPdf {
    fn drop(&mut self) {
        let (answer, _) = mpsc::sync_channel(1);
        let request = Request::Close { document: self.id };
        // Nobody waits: a renderer that has stopped holds no documents.
        let _ = self.renderer.requests.send(Envelope { request, answer });
    }
}

impl Bitmap {
    fn into_rgb(self) -> Result<RgbImage, PageError> {
        let mut rgb = RgbImage::new(self.width, self.height);
        if self.rgbx.len() / 4 != rgb.len() / 3 {
            return Err(not_rendered("PDFium gave a bitmap of the wrong size"));
        }
        for (pixel, rgbx) in rgb.chunks_exact_mut(3).zip(self.rgbx.chunks_exact(4)) {
            pixel.copy_from_slice(&rgbx[..3]);
        }
        Ok(rgb)
    }
}

/// Starts the thread, and waits until it has loaded the library.
fn start() -> Result<Renderer> {
    let (requests, inbox) = mpsc::channel();
    let (ready, loaded) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("pdfium".to_owned())
        .spawn(move || match pdfium::load() {
            Ok(bindings) => {
                let _ = ready.send(Ok(()));
                serve(&Pdfium::new(bindings), &inbox);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        })
        .context("the PDF renderer's thread can't be started")?;
    loaded
        .recv()
        .context("the PDF renderer stopped as it started")??;
    Ok(Renderer { requests })
}

/// Answers requests until nobody can ask any more.
fn serve(pdfium: &Pdfium, inbox: &mpsc::Receiver<Envelope>) {
    let mut documents = HashMap::new();
    let mut opened = 0;
    for Envelope { request, answer } in inbox {
        let stage = if matches!(request, Request::Open { .. }) {
            Stage::Open
        } else {
            Stage::Prepare
        };
        let reply = catch_unwind(AssertUnwindSafe(|| match request {
            Request::Open { path } => {
                let document = open(pdfium, &path)?;
                let page_count = u32::try_from(document.pages().len()).unwrap_or(0);
                if page_count == 0 {
                    return Err(unreadable(Stage::Open, "the PDF has no pages"));
                }
                opened += 1;
                documents.insert(opened, document);
                Ok(Reply::Opened {
                    document: opened,
                    page_count,
                })
            }
            Request::Page {
                document,
                number,
                raster,
                needs,
            } => {
                let document = documents
                    .get(&document)
                    .ok_or_else(|| crashed(stage, "the PDF renderer has lost the document"))?;
                read_page(document, number, raster, needs)
            }
            Request::Close { document } => {
                documents.remove(&document);
                Ok(Reply::Closed)
            }
        }));
        let reply = reply.unwrap_or_else(|panic| {
            Err(crashed(
                stage,
                &format!("the PDF renderer failed: {}", panic_text(&*panic)),
            ))
        });
        // Whoever asked may have given up.
        let _ = answer.send(reply);
    }
}

fn open<'a>(pdfium: &'a Pdfium, path: &Path) -> Result<PdfDocument<'a>, PageError> {
    pdfium.load_pdf_from_file(path, None).map_err(|error| match error {
        PdfiumError::PdfiumLibraryInternalError(PdfiumInternalError::PasswordError) => {
            let message = "the PDF is locked with a password; save a copy without one (for example \
                           with `qpdf --decrypt`) and read that";
            PageError::new(ErrorKind::Encrypted, Stage::Open, message)
        }
        PdfiumError::PdfiumLibraryInternalError(PdfiumInternalError::SecurityError) => {
            let message = "the PDF is encrypted in a way that is not known here; save a copy \
                           without encryption and read that";
            PageError::new(ErrorKind::Encrypted, Stage::Open, message)
        }
        PdfiumError::IoError(error) => super::not_opened(&error),
        _ => unreadable(
            Stage::Open,
            "the PDF is damaged or incomplete: no pages can be found in it; get a whole copy, or \
             repair it (for example with `qpdf in.pdf out.pdf`)",
        ),
    })
}

fn read_page(document: &PdfDocument, number: u32, raster: Raster, needs: Needs) -> Answer {
    let page = PdfPageIndex::try_from(number - 1)
        .ok()
        .and_then(|index| document.pages().get(index).ok())
        .ok_or_else(|| {
            unreadable(
                Stage::Prepare,
                "the page is damaged, or missing from the PDF's file",
            )
        })?;
    let bitmap = if needs.pixels {
        Some(render(&page, raster)?)
    } else {
        None
    };
    let text = if needs.text { text(&page) } else { None };
    Ok(Reply::Page { bitmap, text })
}

fn render(page: &PdfPage, raster: Raster) -> Result<Bitmap, PageError> {
    let pixels = |points: f32| {
        (f64::from(points) * raster.dpi / POINTS_PER_INCH)
            .round()
            .max(1.0) as u32
    };
    let (height, width) = smart_resize(
        pixels(page.height().value),
        pixels(page.width().value),
        &raster.budget,
    )?;
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
    Ok(Bitmap {
        width,
        height,
        rgbx: bitmap.as_raw_bytes(),
    })
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
        format!("the page can't be drawn: {reason}"),
    )
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given")
}
