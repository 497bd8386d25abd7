//! Decodes documents in this process, for programs that use the library and have no `omnidocs` to run workers of.
//!
//! A document over which a decoder crashes ends the process, and one over which it hangs is waited for without end: what
//! comes from strangers belongs into a [`WorkerPool`](super::worker_pool::WorkerPool).

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::{Context, Result, anyhow};

use super::{
    decoder::{DecodedPage, Decoder, DocumentRequest, PageCount, PageRequest},
    decoders::{pdfium, session::Session},
    failure::crashed,
};
use crate::error::{PageError, Stage};

/// Something to do with the one PDFium that a process can have.
type Job = Box<dyn FnOnce(&mut Session) + Send>;

/// The thread that has PDFium, which only one thread may use.
static PDFIUM_THREAD: Mutex<Option<mpsc::Sender<Job>>> = Mutex::new(None);

/// Ids for documents, unique across decoders.
static NEXT_RANGE: AtomicU64 = AtomicU64::new(0);

/// A decoder in this process. All of them share one thread.
#[derive(Debug)]
pub struct InProcess {
    jobs: mpsc::Sender<Job>,
    range: u64,
}

impl InProcess {
    /// Loads PDFium, if this is the first one.
    ///
    /// # Errors
    /// The system does not let PDFium be loaded, or no thread can be started.
    pub fn start() -> Result<Self> {
        let mut shared = PDFIUM_THREAD.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = if let Some(jobs) = &*shared {
            jobs.clone()
        } else {
            shared.insert(start_thread()?).clone()
        };
        Ok(Self {
            jobs,
            range: NEXT_RANGE.fetch_add(1, Ordering::Relaxed),
        })
    }

    fn run<T: Send + 'static>(
        &self,
        stage: Stage,
        document: &DocumentRequest,
        job: impl FnOnce(&mut Session, &DocumentRequest) -> Result<T, PageError> + Send + 'static,
    ) -> Result<T, PageError> {
        let lost = |_| crashed(stage, "the thread that decodes documents has ended");
        let (result, answer) = mpsc::sync_channel(1);
        let document = DocumentRequest {
            // Nobody has four billion documents.
            id: self.range << 32 | document.id,
            ..document.clone()
        };
        let job: Job = Box::new(move |session| {
            let _ = result.send(job(session, &document));
        });
        self.jobs.send(job).map_err(|_| lost(mpsc::RecvError))?;
        answer.recv().map_err(lost)?
    }
}

impl Decoder for InProcess {
    fn page_count(&self, document: &DocumentRequest) -> Result<PageCount, PageError> {
        self.run(Stage::Open, document, |session, document| {
            session.page_count(document)
        })
    }

    fn page(
        &self,
        document: &DocumentRequest,
        page: PageRequest,
    ) -> Result<DecodedPage, PageError> {
        self.run(Stage::Prepare, document, move |session, document| {
            session.page(document, page)
        })
    }
}

fn start_thread() -> Result<mpsc::Sender<Job>> {
    let (ready, started) = mpsc::sync_channel(1);
    let (sender, jobs) = mpsc::channel::<Job>();
    thread::Builder::new()
        .name("pdfium".to_owned())
        .spawn(move || {
            let pdfium = match pdfium::load() {
                Ok(pdfium) => pdfium,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let _ = ready.send(Ok(()));
            let mut session = Session::new(&pdfium);
            for job in jobs {
                job(&mut session);
            }
        })
        .context("cannot start the thread that decodes documents")?;
    started
        .recv()
        .map_err(|_| anyhow!("the thread that decodes documents has ended"))??;
    Ok(sender)
}
