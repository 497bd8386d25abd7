//! The output: one line per page, whole or not at all, out of the program's hands as soon as the page is done.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::record::Record;

/// Where the records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file that this run creates.
    File(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("the standard output"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Whoever read the standard output has closed it: `omnidocs … | head`.
#[derive(Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the standard output was closed")
    }
}

impl std::error::Error for Closed {}

/// The open output of a run.
pub struct Journal {
    target: Target,
    sink: Box<dyn Write>,
}

impl Journal {
    /// Opens the output. A file that has something in it is never touched.
    pub fn create(target: &Target) -> Result<Self> {
        let sink: Box<dyn Write> = match target {
            Target::Stdout => Box::new(io::stdout().lock()),
            Target::File(path) => Box::new(create(path)?),
        };
        Ok(Self {
            target: target.clone(),
            sink,
        })
    }

    /// Writes one record as one line, with a single write, so that a kill tears at most this line.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record).context("a record can't be written as JSON")?;
        line.push(b'\n');
        match self.sink.write_all(&line).and_then(|()| self.sink.flush()) {
            Ok(()) => Ok(()),
            Err(error)
                if error.kind() == ErrorKind::BrokenPipe && self.target == Target::Stdout =>
            {
                Err(Closed.into())
            }
            Err(error) => Err(error).with_context(|| format!("can't write to {}", self.target)),
        }
    }
}

fn create(path: &Path) -> Result<std::fs::File> {
    let shown = path.display();
    if path.is_dir() {
        bail!(
            "--output {shown} is a folder; name a file in it, like {}",
            path.join("results.jsonl").display()
        );
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir())
    {
        bail!(
            "--output {shown}: there is no folder {}; create it first",
            parent.display()
        );
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("can't write to --output {shown}"))?;
    let length = file
        .metadata()
        .with_context(|| format!("can't look at --output {shown}"))?
        .len();
    if length > 0 {
        bail!(
            "--output {shown} exists already and is not overwritten; move it away or name another file"
        );
    }
    Ok(file)
}
