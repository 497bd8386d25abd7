//! Decodes documents in worker processes, which are replaced when they die.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};

pub use super::worker_process::SUBCOMMAND;
use super::{
    decoder::{DecodedPage, Decoder, DocumentRequest, PageCount, PageRequest},
    failure::crashed,
    protocol::{Answered, Request, Wanted},
    request_bytes::{passwords_to_bytes, path_to_bytes},
    worker_process::{Lost, Worker},
};
use crate::error::{ErrorKind, PageError, Stage};

/// As many worker processes as are needed at the same time. A free one is taken, or else one is started.
///
/// What a worker costs is at most the page that it was asked for, and as much memory as an honest answer to that takes:
/// one that dies, is late, or sends what no worker sends is ended, and nothing of it is used. Those pages fail as
/// [`ErrorKind::Crashed`] or [`ErrorKind::Timeout`]; when a page is tried again, that is on another worker.
#[derive(Debug)]
pub struct WorkerPool {
    program: PathBuf,
    deadline: Duration,
    next_ticket: AtomicU64,
    free: Mutex<Vec<Worker>>,
}

impl WorkerPool {
    /// Starts the first worker of `program`, so that it is known that there can be any. A worker that does not answer
    /// within `deadline` is given up.
    ///
    /// # Errors
    /// No worker can be started, or it can't work.
    pub fn start(program: PathBuf, deadline: Duration) -> Result<Self> {
        let first = Worker::start(&program)
            .with_context(|| format!("cannot start a worker process ({})", program.display()))?;
        // A worker that answers before it is asked can't guess the number.
        let first_ticket = RandomState::new().build_hasher().finish();
        Ok(Self {
            program,
            deadline,
            next_ticket: AtomicU64::new(first_ticket),
            free: Mutex::new(vec![first]),
        })
    }

    fn ask(&self, document: &DocumentRequest, wanted: Wanted) -> Result<Answered, PageError> {
        let stage = wanted.stage();
        let request = Request {
            ticket: self.next_ticket.fetch_add(1, Ordering::Relaxed),
            document: document.id,
            format: document.format,
            path_bytes: path_to_bytes(&document.path).len() as u64,
            wanted,
        };
        let passwords = passwords_to_bytes(&document.passwords);
        let mut worker = self
            .take(document.id)
            .map_err(|error| crashed(stage, format!("cannot start worker processes: {error:#}")))?;
        match worker.ask(&request, &document.path, &passwords, self.deadline) {
            // What panicked over a page may be in any state.
            Ok(Answered::Failed(error)) if error.kind == ErrorKind::Crashed => Err(error),
            Ok(answer) => {
                self.free().push(worker);
                match answer {
                    Answered::Failed(error) => Err(error),
                    answer => Ok(answer),
                }
            }
            Err(Lost::Late) => Err(late(stage, self.deadline)),
            Err(Lost::Dead) => Err(crashed(stage, worker.describe_end())),
            Err(Lost::Confused(reason)) => Err(crashed(stage, describe_confusion(&reason))),
        }
    }

    /// A free worker, preferably one that holds the document open.
    fn take(&self, document: u64) -> Result<Worker> {
        while let Some(worker) = self.pop(document) {
            if worker.is_ready() {
                return Ok(worker);
            }
            tracing::info!("a worker process died or answered unasked; it is replaced");
        }
        Worker::start(&self.program)
    }

    fn pop(&self, document: u64) -> Option<Worker> {
        let mut free = self.free();
        let holds_it = free.iter().position(|w| w.document == Some(document));
        holds_it
            .map(|at| free.swap_remove(at))
            .or_else(|| free.pop())
    }

    fn free(&self) -> MutexGuard<'_, Vec<Worker>> {
        // Whoever panicked left whole workers behind.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Decoder for WorkerPool {
    fn page_count(&self, document: &DocumentRequest) -> Result<PageCount, PageError> {
        match self.ask(document, Wanted::PageCount)? {
            Answered::PageCount(count) => Ok(count),
            _ => Err(crashed(Stage::Open, NO_ANSWER)),
        }
    }

    fn page(
        &self,
        document: &DocumentRequest,
        page: PageRequest,
    ) -> Result<DecodedPage, PageError> {
        match self.ask(document, Wanted::Page(page))? {
            Answered::Page(page) => Ok(page),
            _ => Err(crashed(Stage::Prepare, NO_ANSWER)),
        }
    }
}

const NO_ANSWER: &str = "its worker process answered another request";

fn describe_confusion(reason: &std::io::Error) -> String {
    format!(
        "its worker process sent invalid data ({reason}) and was killed; the file may be damaged, or made \
         to do harm"
    )
}

fn late(stage: Stage, deadline: Duration) -> PageError {
    let message = format!(
        "it was not ready within {} s; raise --page-timeout",
        deadline.as_secs_f64()
    );
    PageError::new(ErrorKind::Timeout, stage, message)
}
