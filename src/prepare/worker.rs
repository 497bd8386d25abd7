//! A worker process: opens documents and makes pages of them for the program that started it.
//!
//! It is this program again, with the hidden subcommand `prepare-worker`, requests on its standard input and replies on
//! its standard output. Decoders of a dozen formats read what strangers wrote; here, what a crash, a hang or a hunger
//! for memory costs is one process and one page.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process,
    sync::mpsc,
    thread,
};

use anyhow::{Context, Result};
use pdfium_render::prelude::Pdfium;

use super::{
    Pixelated,
    blank::is_blank,
    crashed, image,
    pdf::Pdf,
    pdfium,
    protocol::{self, PageHeader, Reply, Request, Wanted},
};
use crate::{
    document::Format,
    error::{PageError, Stage},
};

/// A worker may hold this many bytes of memory, its program included. Decoding and resizing the largest image that is
/// accepted takes about two thirds of it.
#[cfg(unix)]
const MEMORY: u64 = 3 << 30;

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
        let (stage, page) = match request.wanted {
            Wanted::PageCount => (Stage::Open, 0),
            Wanted::Page { number, .. } => (Stage::Prepare, number),
        };
        faults.strike(page);
        let answer = catch_unwind(AssertUnwindSafe(|| {
            answer(&pdfium, &mut open, request, &path)
        }));
        let (reply, pixels) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => (Reply::Failed(error), Vec::new()),
            Err(panic) => {
                open = None;
                let said = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied());
                let message = format!("the decoder failed: {}", said.unwrap_or("no reason given"));
                (Reply::Failed(crashed(stage, message)), Vec::new())
            }
        };
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
    let (page, text) = match file {
        File::Pdf(pdf) => pdf.page(number, raster, needs)?,
        File::Image { format, .. } if needs.pixels => (
            Some(image::page(path, *format, number, &raster.budget)?),
            None,
        ),
        File::Image { .. } => (None, None),
    };
    let mut header = PageHeader {
        text,
        ..PageHeader::default()
    };
    let Some(Pixelated { image, original }) = page else {
        return Ok((Reply::Page(header), Vec::new()));
    };
    header.size = Some(image.dimensions());
    header.original = Some(original);
    header.blank = is_blank(&image);
    Ok((Reply::Page(header), image.into_raw()))
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

    fn strike(&self, page: u32) {
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
