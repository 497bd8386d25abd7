//! A worker process: opens documents and makes pages of them for the program that started it.
//!
//! It is this program again, with the hidden subcommand `prepare-worker`, requests on its standard input and answers on
//! its standard output. Decoders of a dozen formats read what strangers wrote; here, what a crash, a hang or a hunger
//! for memory costs is one process and one page.

use std::{io, process, thread};

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, unbounded};

use super::{
    decoder::DocumentRequest,
    decoders::{pdfium, session::Session},
    faults::Faults,
    frames,
    protocol::{Answered, Greeting, Request, Wanted},
    request_bytes::{MAX_PATH, split_request},
};
use crate::{launch, limits};

/// A worker may hold this many bytes of memory, its program included. Decoding and resizing the largest image that is
/// accepted takes about two thirds of it.
#[cfg(unix)]
const MAX_MEMORY: u64 = 3 << 30;

/// Answers requests until there are none.
///
/// # Errors
/// The program that asks is gone.
pub fn serve() -> Result<()> {
    launch::end_with_parent();
    limits::prepare_worker();
    restrict();
    let mut answers = io::stdout().lock();
    let pdfium = match pdfium::load() {
        Ok(pdfium) => pdfium,
        Err(error) => {
            let reason = Greeting::Broken(format!("{error:#}"));
            return frames::write(&mut answers, &reason, &[]).context("nobody listens");
        }
    };
    frames::write(&mut answers, &Greeting::Ready, &[]).context("nobody listens")?;
    let faults = Faults::from_environment();
    let mut session = Session::new(&pdfium);
    for (request, bytes) in listen()? {
        let (path, passwords) = split_request(request.path_bytes, bytes)?;
        faults.inject_before(request.wanted);
        let document = DocumentRequest {
            id: request.document,
            path,
            format: request.format,
            passwords,
        };
        let answer = match request.wanted {
            Wanted::PageCount => session.page_count(&document).map(Answered::PageCount),
            Wanted::Page(page) => session.page(&document, page).map(Answered::Page),
        };
        let answer = answer.unwrap_or_else(Answered::Failed);
        faults
            .answer(&mut answers, request, &answer)
            .context("nobody listens")?;
    }
    Ok(())
}

/// Requests as they come. When the program that sends them is gone, this process ends at once, also in the middle of a
/// page that would take it forever.
fn listen() -> Result<Receiver<(Request, Vec<u8>)>> {
    let (sender, requests) = unbounded();
    let listen = move || {
        let mut input = io::stdin().lock();
        while let Ok(request) = frames::read(&mut input, MAX_PATH) {
            if sender.send(request).is_err() {
                return;
            }
        }
        process::exit(0);
    };
    let thread = thread::Builder::new().name("requests".to_owned());
    let started = thread.spawn(listen);
    started.context("cannot start the thread that listens")?;
    Ok(requests)
}

/// Limits this process: its memory, and no core files.
#[cfg(unix)]
fn restrict() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    for (resource, most) in [(Resource::As, MAX_MEMORY), (Resource::Core, 0)] {
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
