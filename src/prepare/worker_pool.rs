//! The worker processes as the program sees them: asked, waited for, and replaced when they die.

use std::{
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    crashed,
    protocol::{self, PageHeader, Reply, Request},
};
use crate::{
    error::{ErrorKind, PageError, Stage},
    secrets::withhold,
};

/// The subcommand that makes this program a worker.
pub const SUBCOMMAND: &str = "prepare-worker";
/// A worker loads a library of some megabytes and is ready.
const START: Duration = Duration::from_secs(60);

/// The program that runs now, as the program that workers run.
///
/// # Errors
/// The system does not tell.
pub fn this_program() -> Result<PathBuf> {
    if cfg!(target_os = "linux") {
        // Stays the same program when its file is replaced during the run.
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe().context("the system does not tell where this program is")
}

/// As many worker processes as are needed at the same time. A free one is taken, or else one is started.
#[derive(Debug)]
pub struct Workers {
    program: PathBuf,
    deadline: Duration,
    free: Mutex<Vec<Worker>>,
}

impl Workers {
    /// Starts the first worker of `program`, so that it is known that there can be any. A worker that does not answer
    /// within `deadline` is given up.
    ///
    /// # Errors
    /// No worker can be started, or it can't work.
    pub fn start(program: PathBuf, deadline: Duration) -> Result<Self> {
        let first = Worker::start(&program)
            .with_context(|| format!("can't start a worker process ({})", program.display()))?;
        Ok(Self {
            program,
            deadline,
            free: Mutex::new(vec![first]),
        })
    }

    /// The number of pages of a document.
    ///
    /// # Errors
    /// The document can't be opened, or a worker died ([`ErrorKind::Crashed`]) or hung ([`ErrorKind::Timeout`]) over it.
    pub fn page_count(&self, request: Request, path: &Path) -> Result<u32, PageError> {
        match self.ask(request, path)? {
            (Reply::PageCount(count), _) => Ok(count),
            _ => Err(crashed(request.wanted.stage(), CONFUSED)),
        }
    }

    /// A page of a document, with its pixels: u8 RGB, row by row.
    ///
    /// # Errors
    /// The page can't be read, or a worker died ([`ErrorKind::Crashed`]) or hung ([`ErrorKind::Timeout`]) over it.
    pub fn page(&self, request: Request, path: &Path) -> Result<(PageHeader, Vec<u8>), PageError> {
        match self.ask(request, path)? {
            (Reply::Page(header), pixels) => Ok((header, pixels)),
            _ => Err(crashed(request.wanted.stage(), CONFUSED)),
        }
    }

    fn ask(&self, request: Request, path: &Path) -> Result<(Reply, Vec<u8>), PageError> {
        let stage = request.wanted.stage();
        let mut worker = self.take(request.document).map_err(|error| {
            crashed(
                stage,
                format!("no worker process can be started: {error:#}"),
            )
        })?;
        match worker.ask(request, path, self.deadline) {
            Ok(answer) => {
                self.free().push(worker);
                match answer {
                    (Reply::Failed(error), _) => Err(error),
                    answer => Ok(answer),
                }
            }
            Err(Lost::Late) => Err(late(stage, self.deadline)),
            Err(Lost::Dead) => Err(crashed(stage, worker.obituary())),
        }
    }

    /// A worker that nobody else has; if there is one that holds the document open, that one.
    fn take(&self, document: u64) -> Result<Worker> {
        let taken = {
            let mut free = self.free();
            let holds_it = free.iter().position(|w| w.document == Some(document));
            holds_it
                .map(|at| free.swap_remove(at))
                .or_else(|| free.pop())
        };
        taken.map_or_else(|| Worker::start(&self.program), Ok)
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        // Whoever panicked left whole workers behind.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const CONFUSED: &str = "the worker process gave an answer to another question";

fn late(stage: Stage, deadline: Duration) -> PageError {
    let message = format!(
        "it was not ready within {} s; give it more with --page-timeout",
        deadline.as_secs_f64()
    );
    PageError::new(ErrorKind::Timeout, stage, message)
}

/// One process. Dropping it ends it.
#[derive(Debug)]
struct Worker {
    process: Child,
    requests: ChildStdin,
    /// Ends when the process does.
    replies: mpsc::Receiver<(Reply, Vec<u8>)>,
    /// What it was asked about last.
    document: Option<u64>,
}

/// Why a worker gave no answer.
enum Lost {
    Late,
    Dead,
}

impl Worker {
    fn start(program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        // What decodes files from anywhere need not know any.
        withhold(&mut command)
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // A Ctrl-C is meant for the program, which then finishes the pages that it has.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn()?;
        let (Some(requests), Some(mut output)) = (process.stdin.take(), process.stdout.take())
        else {
            bail!("it has no pipes");
        };
        let (sender, replies) = mpsc::channel();
        let listening = thread::Builder::new()
            .name("worker-replies".to_owned())
            .spawn(move || {
                while let Ok(reply) = protocol::read(&mut output) {
                    if sender.send(reply).is_err() {
                        return;
                    }
                }
            });
        let mut worker = Self {
            process,
            requests,
            replies,
            document: None,
        };
        listening.context("it can't be listened to")?;
        match worker.replies.recv_timeout(START) {
            Ok((Reply::Ready, _)) => Ok(worker),
            Ok((Reply::Broken(reason), _)) => bail!(reason),
            Ok(_) => bail!(CONFUSED),
            Err(RecvTimeoutError::Timeout) => bail!("it does not say that it is ready"),
            Err(RecvTimeoutError::Disconnected) => bail!(worker.obituary()),
        }
    }

    fn ask(
        &mut self,
        request: Request,
        path: &Path,
        deadline: Duration,
    ) -> Result<(Reply, Vec<u8>), Lost> {
        self.document = Some(request.document);
        protocol::write(&mut self.requests, &request, protocol::path_to_bytes(path))
            .map_err(|_| Lost::Dead)?;
        self.replies
            .recv_timeout(deadline)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => Lost::Late,
                RecvTimeoutError::Disconnected => Lost::Dead,
            })
    }

    /// How a worker came to its end, for whoever has to do something about it.
    fn obituary(&mut self) -> String {
        // One that talks nonsense is alive still.
        let _ = self.process.kill();
        let how = match self.process.wait() {
            Ok(status) => told(status),
            Err(error) => error.to_string(),
        };
        format!(
            "the program that decodes it crashed ({how}); it may be damaged, or need too much memory: try to repair it \
             (a PDF for example with `qpdf in.pdf out.pdf`)"
        )
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn told(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let name = signal_hook::low_level::signal_name(signal).unwrap_or("unknown");
        return format!("signal {signal}, {name}");
    }
    status.to_string()
}
