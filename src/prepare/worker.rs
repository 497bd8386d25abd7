//! A worker process: opens documents and makes pages of them for the program that started it.
//!
//! It is this program again, with the hidden subcommand `prepare-worker`, requests on its standard input and replies on
//! its standard output. Decoders of a dozen formats read what strangers wrote; here, what a crash, a hang or a hunger
//! for memory costs is one process and one page.

use std::{io, path::Path, process, sync::mpsc, thread};

use ::image::RgbImage;
use anyhow::{Context, Result};
use pdfium_render::prelude::Pdfium;

use super::{
    Pixelated, Raster,
    blank::is_blank,
    decoders::{image, pdf::Pdf, pdfium},
    protocol::{self, PageHeader, Reply, Request, Wanted},
};
use crate::{
    error::{ErrorKind, PageError, Stage, guard},
    page::{Format, Needs},
};

/// A worker may hold this many bytes of memory, its program included. Decoding and resizing the largest image that is
/// accepted takes about two thirds of it.
#[cfg(unix)]
const MEMORY: u64 = 3 << 30;

/// A page that is reduced by more than this on a side may look blank without being it. A scan at 600 dpi is reduced by 4.
const MOST_REDUCED: u32 = 6;

/// Answers requests until there are none.
///
/// # Errors
/// The program that asks is gone.
pub fn serve() -> Result<()> {
    restrict();
    let mut replies = io::stdout().lock();
    let pdfium = match pdfium::load() {
        Ok(bindings) => Pdfium::new(bindings),
        Err(error) => {
            let reason = Reply::Broken(format!("{error:#}"));
            return protocol::write(&mut replies, &reason, &[]).context("nobody listens");
        }
    };
    protocol::write(&mut replies, &Reply::Ready, &[]).context("nobody listens")?;
    let faults = Faults::from_environment();
    let mut open = None;
    for (request, path) in listen() {
        let path = protocol::path_from_bytes(path);
        faults.strike(request.wanted);
        let answer = guard(request.wanted.stage(), "the decoder", || {
            answer(&pdfium, &mut open, request, &path)
        });
        let (reply, pixels) = answer.unwrap_or_else(|error| {
            if error.kind == ErrorKind::Crashed {
                // A panic may have left the document in any state.
                open = None;
            }
            (Reply::Failed(error), Vec::new())
        });
        protocol::write(&mut replies, &reply, &pixels).context("nobody listens")?;
    }
    Ok(())
}

/// Requests as they come. When the program that sends them is gone, this process ends at once, also in the middle of a
/// page that would take it forever.
fn listen() -> mpsc::Receiver<(Request, Vec<u8>)> {
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Ok(request) = protocol::read(&mut input) {
            if sender.send(request).is_err() {
                return;
            }
        }
        process::exit(0);
    });
    requests
}

/// The document that was asked for last, open.
struct Open<'a> {
    document: u64,
    file: File<'a>,
}

enum File<'a> {
    Pdf(Box<Pdf<'a>>),
    Image { format: Format, page_count: u32 },
}

fn answer<'a>(
    pdfium: &'a Pdfium,
    open: &mut Option<Open<'a>>,
    request: Request,
    path: &Path,
) -> Result<(Reply, Vec<u8>), PageError> {
    if open
        .as_ref()
        .is_none_or(|open| open.document != request.document)
    {
        // The old document is closed first: this process never holds two.
        *open = None;
    }
    let Open { file, .. } = match open {
        Some(open) => open,
        None => open.insert(Open {
            document: request.document,
            file: File::open(pdfium, path, request.format)?,
        }),
    };
    let Wanted::Page {
        number,
        raster,
        needs,
    } = request.wanted
    else {
        return Ok((Reply::PageCount(file.page_count()), Vec::new()));
    };
    let (page, text) = file.page(path, number, raster, needs)?;
    let mut header = PageHeader {
        text,
        ..PageHeader::default()
    };
    let Some(Pixelated { image, original }) = page else {
        return Ok((Reply::Page(header), Vec::new()));
    };
    header.size = Some(image.dimensions());
    header.original = Some(original);
    header.blank = shows_enough(original, &image) && is_blank(&image);
    if header.blank && file.has_text(number, raster)? {
        return Err(not_drawn());
    }
    Ok((Reply::Page(header), image.into_raw()))
}

/// Whether a page keeps enough of its pixels that what was on it can still be seen.
fn shows_enough(original: (u32, u32), image: &RgbImage) -> bool {
    original.0 <= MOST_REDUCED * image.width()
}

/// A page with text of which nothing can be seen is not blank: that would lose the text without a word.
fn not_drawn() -> PageError {
    let message = "the page has text, but nothing of it can be drawn: a font may be missing that is not in the PDF; \
                   install it, or read the file with --engine text-layer";
    PageError::new(ErrorKind::Render, Stage::Prepare, message)
}

impl<'a> File<'a> {
    fn open(pdfium: &'a Pdfium, path: &Path, format: Format) -> Result<Self, PageError> {
        if format == Format::Pdf {
            return Ok(Self::Pdf(Box::new(Pdf::open(pdfium, path)?)));
        }
        Ok(Self::Image {
            format,
            page_count: image::page_count(path, format)?,
        })
    }

    fn page(
        &self,
        path: &Path,
        number: u32,
        raster: Raster,
        needs: Needs,
    ) -> Result<(Option<Pixelated>, Option<String>), PageError> {
        match self {
            Self::Pdf(pdf) => pdf.page(number, raster, needs),
            Self::Image { format, .. } if needs.pixels => {
                let page = image::page(path, *format, number, &raster.budget)?;
                Ok((Some(page), None))
            }
            Self::Image { .. } => Ok((None, None)),
        }
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

    fn page_count(&self) -> u32 {
        match self {
            Self::Pdf(pdf) => pdf.page_count(),
            Self::Image { page_count, .. } => *page_count,
        }
    }
}

/// Takes from this process what it needs for no page: memory without end, and a core file for each crash.
#[cfg(unix)]
fn restrict() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    for (resource, most) in [(Resource::As, MEMORY), (Resource::Core, 0)] {
        let maximum = getrlimit(resource).maximum;
        let limit = Rlimit {
            current: Some(maximum.map_or(most, |maximum| maximum.min(most))),
            maximum,
        };
        // Without the limit the worker does its work all the same.
        let _ = setrlimit(resource, limit);
    }
}

#[cfg(not(unix))]
fn restrict() {}

/// What the tests make workers do on a page, 0 being the opening of the document:
/// `OMNIDOCS_WORKER_FAULTS=crash:3,hang:5,memory:7`.
struct Faults(Vec<(String, u32)>);

impl Faults {
    fn from_environment() -> Self {
        let faults = std::env::var("OMNIDOCS_WORKER_FAULTS").unwrap_or_default();
        let fault = |fault: &str| {
            let (what, page) = fault.split_once(':')?;
            Some((what.to_owned(), page.parse().ok()?))
        };
        Self(faults.split(',').filter_map(fault).collect())
    }

    fn strike(&self, wanted: Wanted) {
        let page = match wanted {
            Wanted::PageCount => 0,
            Wanted::Page { number, .. } => number,
        };
        let fault = self.0.iter().find(|(_, at)| *at == page);
        match fault.map(|(what, _)| what.as_str()) {
            Some("crash") => process::abort(),
            Some("hang") => loop {
                thread::park();
            },
            Some("memory") => {
                let mut eaten = Vec::new();
                loop {
                    eaten.push(vec![0_u8; 1 << 26]);
                }
            }
            _ => {}
        }
    }
}
