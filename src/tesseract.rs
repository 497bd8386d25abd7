//! The installed `tesseract`: located once, then run page by page.

mod tsv;

use std::{
    io::{self, ErrorKind as Io, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use anyhow::{Result, anyhow, bail, ensure};
use crossbeam_channel::bounded;
use image::RgbImage;

use crate::{
    block::Block,
    cancel::Cancel,
    error::{ErrorKind, PageError, Stage},
    launch,
    page::Rotation,
    secrets::withhold,
};

const PROGRAM: &str = "tesseract";

/// The located program, which has the languages.
#[derive(Debug, Clone)]
pub struct Tesseract {
    languages: String,
    version: String,
    /// All languages that there are.
    installed: Vec<String>,
    one_core: bool,
    /// This program, which each run of the other one is tied to.
    tied_to: Option<PathBuf>,
}

impl Tesseract {
    /// Locates the program and checks `languages`, joined by `+`. `flag` is the option that asked for it.
    ///
    /// # Errors
    /// The program or a language is not installed.
    pub fn find(flag: &str, languages: &str) -> Result<Self> {
        let ask = |argument: &str| -> Result<String> {
            let output = withhold(&mut Command::new(PROGRAM))
                .arg(argument)
                .output()
                .map_err(|error| match error.kind() {
                    Io::NotFound => anyhow!(
                        "{flag} tesseract: the program `tesseract` is not installed; install it (Debian: \
                         `apt install tesseract-ocr`, macOS: `brew install tesseract`)"
                    ),
                    _ => anyhow!("{flag} tesseract: cannot run the program `tesseract`: {error}"),
                })?;
            ensure!(
                output.status.success(),
                "{flag} tesseract: `tesseract {argument}` failed ({}): {}",
                output.status,
                last_line(&output.stderr)
            );
            // Versions before 4 write both to the standard error.
            let text = [output.stdout, output.stderr].concat();
            Ok(String::from_utf8_lossy(&text).into_owned())
        };
        let version = ask("--version")?;
        let version = version.lines().next().unwrap_or_default();
        let installed = ask("--list-langs")?;
        let installed: Vec<_> = installed.lines().skip(1).map(str::trim).collect();
        for language in languages.split('+') {
            if !installed.contains(&language) {
                bail!(
                    "--tesseract-lang {languages}: the language {language} is not installed (Debian: \
                     `apt install tesseract-ocr-{language}`); there are {}",
                    installed.join(", ")
                );
            }
        }
        Ok(Self {
            languages: languages.to_owned(),
            version: version.trim().to_owned(),
            installed: installed.into_iter().map(str::to_owned).collect(),
            one_core: false,
            tied_to: None,
        })
    }

    /// The program's version: `tesseract 5.3.0`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The languages that are installed.
    #[must_use]
    pub fn installed(&self) -> &[String] {
        &self.installed
    }

    /// Limits it to one thread, for use beside other work: its threads busy-wait for each other, and on busy cores take
    /// several times as long together as one thread alone.
    #[must_use]
    pub fn on_one_core(self) -> Self {
        Self {
            one_core: true,
            ..self
        }
    }

    /// Ends each run of it with `this`, which is this program, however that ends.
    #[must_use]
    pub fn tied_to(self, this: PathBuf) -> Self {
        Self {
            tied_to: Some(this),
            ..self
        }
    }

    /// Reads the text on `image`; `None` if cancelled or out of time.
    ///
    /// # Errors
    /// The program failed ([`ErrorKind::Engine`]), or a signal ended it ([`ErrorKind::Crashed`]).
    pub fn read(&self, image: &RgbImage, cancel: &Cancel) -> Result<Option<String>, PageError> {
        let text = self.run(image, &[], cancel)?;
        // A form feed ends each page.
        Ok(text.map(|text| text.trim_end_matches(['\u{c}', '\n', ' ']).to_owned()))
    }

    /// Reads the paragraphs on `image` as blocks, with boxes as fractions of it; `None` if cancelled or out of time.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_blocks(
        &self,
        image: &RgbImage,
        cancel: &Cancel,
    ) -> Result<Option<Vec<Block>>, PageError> {
        let table = self.run(image, &["-c", "tessedit_create_tsv=1"], cancel)?;
        Ok(table.map(|table| tsv::blocks(&table, image.dimensions())))
    }

    /// The turn that rights the print on `image`, and how sure it is: the languages are `osd`. `None` if cancelled or out of
    /// time.
    ///
    /// # Errors
    /// The program failed, which it also does where there is too little print.
    pub fn orientation(
        &self,
        image: &RgbImage,
        cancel: &Cancel,
    ) -> Result<Option<(Rotation, f64)>, PageError> {
        let said = self.run(image, &["--psm", "0"], cancel)?;
        let said = said.unwrap_or_default();
        let value = |name: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
        };
        // With the clock, as its own `--psm 1` turns the page.
        let degrees = value("Rotate:").filter(|degrees| (0.0..360.0).contains(degrees));
        let rotation = degrees.map(|degrees| Rotation::of_quarters(degrees as usize / 90));
        Ok(rotation.zip(value("Orientation confidence:")))
    }

    /// What the program writes about `image`.
    fn run(
        &self,
        image: &RgbImage,
        options: &[&str],
        cancel: &Cancel,
    ) -> Result<Option<String>, PageError> {
        let mut command = launch::tied(self.tied_to.as_deref(), PROGRAM);
        withhold(&mut command)
            .args(["stdin", "stdout", "-l", &self.languages])
            .args(options);
        if self.one_core {
            command.env("OMP_THREAD_LIMIT", "1");
        }
        let ended = run(command, portable_pixmap(image), cancel).map_err(|error| {
            let message = format!("cannot run the program `tesseract`: {error}");
            PageError::new(ErrorKind::Engine, Stage::Engine, message)
        })?;
        let Some(ended) = ended else {
            return Ok(None);
        };
        if !ended.status.success() {
            let message = format!(
                "tesseract failed ({}): {}",
                ended.status,
                last_line(&ended.stderr)
            );
            let kind = match ended.status.code() {
                Some(_) => ErrorKind::Engine,
                None => ErrorKind::Crashed,
            };
            return Err(PageError::new(kind, Stage::Engine, message));
        }
        Ok(Some(String::from_utf8_lossy(&ended.stdout).into_owned()))
    }
}

/// Encodes the image as PPM (`P6`).
fn portable_pixmap(image: &RgbImage) -> Vec<u8> {
    let mut file = format!("P6\n{} {}\n255\n", image.width(), image.height()).into_bytes();
    file.extend_from_slice(image.as_raw());
    file
}

struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Runs a command to its end; `None` if cancelled.
fn run(mut command: Command, input: Vec<u8>, cancel: &Cancel) -> io::Result<Option<Ended>> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A Ctrl-C is meant for this program, which then finishes the page in hand.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = launch::spawn(command)?;
    let stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout_tx, stdout_rx) = bounded(1);
    let (stderr_tx, stderr_rx) = bounded(1);
    let write = move || {
        // A program that does not want to read on says why on its standard error.
        let _ = stdin.map(|mut stdin| stdin.write_all(&input));
    };
    thread::scope(|scope| {
        let thread = || thread::Builder::new().name("tesseract".to_owned());
        let read = thread()
            .spawn_scoped(scope, write)
            .and_then(|_| thread().spawn_scoped(scope, || drop(stdout_tx.send(read_all(stdout)))))
            .and_then(|_| thread().spawn_scoped(scope, || drop(stderr_tx.send(read_all(stderr)))));
        if let Err(error) = read {
            end(&mut child);
            return Err(error);
        }
        let ended = cancel
            .recv(&stdout_rx)
            .and_then(|stdout| Ok((stdout, cancel.recv(&stderr_rx)?)));
        let status = match &ended {
            Ok(_) => cancel.wait_child(&mut child)?.ok(),
            Err(_) => None,
        };
        let (Ok((stdout, stderr)), Some(status)) = (ended, status) else {
            end(&mut child);
            return Ok(None);
        };
        Ok(Some(Ended {
            status,
            stdout,
            stderr,
        }))
    })
}

/// Kills the program and its children: `tesseract` may be a script that starts another program.
fn end(child: &mut Child) {
    #[cfg(unix)]
    let _ = rustix::process::kill_process_group(
        rustix::process::Pid::from_child(child),
        rustix::process::Signal::KILL,
    );
    let _ = child.kill();
    let _ = child.wait();
}

fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("no reason given").to_owned()
}
