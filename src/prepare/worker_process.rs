//! One worker process as the program sees it: started, asked, and ended.

use std::{
    io,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::{
    frames,
    protocol::{self, Answer, Answered, Greeting, Request},
    request_bytes::path_to_bytes,
};
use crate::{
    cancel::{Cancel, NotReceived},
    launch,
    secrets::withhold,
};

/// The subcommand that makes this program a worker.
pub const SUBCOMMAND: &str = "prepare-worker";
/// A worker loads a library of some megabytes and is ready.
const MAX_START: Duration = Duration::from_secs(60);

/// An answer as it came, or what came instead of one.
type Arrived = io::Result<(Answer, Vec<u8>)>;

/// A process that decodes documents. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Worker {
    process: Child,
    requests: ChildStdin,
    /// Ends when the process does, or sends what no worker sends. At most one answer waits to be taken.
    answers: Receiver<Arrived>,
    /// Maximum number of raw bytes in the next answer.
    max_bytes: Arc<AtomicU64>,
    /// The document that it was asked about last.
    pub(super) document: Option<u64>,
}

/// Why a worker gave no answer. It can't be used any more.
#[derive(Debug)]
pub(super) enum Lost {
    /// The deadline passed.
    Late,
    /// It ended.
    Dead,
    /// It sent what no worker sends.
    Confused(io::Error),
}

impl Worker {
    /// Starts a worker of `program` and waits until it can work.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        // What decodes files from anywhere need not know any secrets.
        withhold(&mut command)
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // A Ctrl-C is meant for the program, which then finishes the pages that it has.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = launch::spawn(command)?;
        let (Some(requests), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            bail!("it has no pipes");
        };
        let (greeting, greeted) = bounded(1);
        let (sender, answers) = bounded(1);
        let max_bytes = Arc::new(AtomicU64::new(0));
        let limit = Arc::clone(&max_bytes);
        let listening = thread::Builder::new()
            .name("worker-answers".to_owned())
            .spawn(move || listen(output, &greeting, &sender, &limit));
        let mut worker = Self {
            process,
            requests,
            answers,
            max_bytes,
            document: None,
        };
        listening.context("it cannot read its output")?;
        match Cancel::default().within(MAX_START).recv(&greeted) {
            Ok(Ok(Greeting::Ready)) => Ok(worker),
            Ok(Ok(Greeting::Broken(reason))) => bail!(reason),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                bail!("it does not answer like a worker: {error}")
            }
            Ok(Err(_)) | Err(NotReceived::Disconnected) => bail!(worker.describe_end()),
            Err(NotReceived::Cancelled(_)) => bail!("it does not say that it is ready"),
        }
    }

    /// Whether it can be used: it is alive, and has sent nothing unasked.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.answers.try_recv(), Err(TryRecvError::Empty))
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(
        &mut self,
        request: &Request,
        path: &Path,
        passwords: &[u8],
        deadline: Duration,
    ) -> Result<Answered, Lost> {
        self.document = Some(request.document);
        self.max_bytes
            .store(request.wanted.max_bytes(), Ordering::Release);
        frames::write(
            &mut self.requests,
            request,
            &[path_to_bytes(path), passwords],
        )
        .map_err(|_| Lost::Dead)?;
        match Cancel::default().within(deadline).recv(&self.answers) {
            Ok(arrived) => arrived
                .and_then(|answer| protocol::check_answer(request, answer))
                .map_err(Lost::Confused),
            Err(NotReceived::Cancelled(_)) => Err(Lost::Late),
            Err(NotReceived::Disconnected) => Err(Lost::Dead),
        }
    }

    /// How it ended, for a message.
    pub(super) fn describe_end(&mut self) -> String {
        let _ = self.process.kill();
        let how = match self.process.wait() {
            Ok(status) => describe_exit(status),
            Err(error) => error.to_string(),
        };
        format!(
            "its worker process crashed ({how}); the file may be damaged, or need too much memory: try to repair it \
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

/// Passes on a worker's answers one by one, until it ends or sends invalid data.
fn listen(
    mut output: ChildStdout,
    greeting: &Sender<io::Result<Greeting>>,
    answers: &Sender<Arrived>,
    max_bytes: &AtomicU64,
) {
    let greeted = frames::read(&mut output, 0).map(|(greeting, _)| greeting);
    let is_worker = greeted.is_ok();
    if greeting.send(greeted).is_err() || !is_worker {
        return;
    }
    loop {
        let arrived = protocol::read_answer(&mut output, || max_bytes.load(Ordering::Acquire));
        let ended = match &arrived {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => true,
            Err(_) => return,
        };
        if answers.send(arrived).is_err() || ended {
            return;
        }
    }
}

fn describe_exit(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let name = signal_hook::low_level::signal_name(signal).unwrap_or("unknown");
        return format!("signal {signal}, {name}");
    }
    status.to_string()
}
