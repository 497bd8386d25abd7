//! A room of one's own for each test: files made here, the real program run among them, its records read strictly.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    thread,
    time::Duration,
};

use assert_cmd::Command;
use omnidocs::record::Record;
use tempfile::TempDir;

/// A folder that is gone after the test; programs run in it.
pub struct Room(TempDir);

impl Room {
    pub fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    /// Writes a file, with the folders above it.
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a path below the room")).expect("a folder");
        fs::write(path, content).expect("a file");
        self
    }

    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect("a file with text")
    }

    /// `omnidocs ARGS…`, split at blanks, in this room and with an environment free of settings.
    pub fn omnidocs(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omnidocs"));
        command
            .current_dir(self.0.path())
            .args(args.split_whitespace());
        for (name, _) in env::vars_os() {
            let settings = [
                "OMNIDOCS_",
                "HTTP_PROXY",
                "HTTPS_PROXY",
                "ALL_PROXY",
                "RUST_LOG",
                "SLURM_ARRAY_",
                "JOB_COMPLETION_",
                "AWS_BATCH_",
            ];
            let shown = name.to_string_lossy();
            // Variables for proxies are mostly written small.
            let shown = shown.to_ascii_uppercase();
            if settings.iter().any(|start| shown.starts_with(start)) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs `omnidocs extract --engine text-layer ARGS…`.
    pub fn extract(&self, args: &str) -> Ran {
        Ran::of(&mut self.text_layer(args))
    }

    /// `omnidocs extract --engine text-layer ARGS…`, to be changed further.
    pub fn text_layer(&self, args: &str) -> Command {
        self.omnidocs(&format!("extract --engine text-layer {args}"))
    }

    /// The records of a file in the room.
    pub fn records(&self, path: &str) -> Vec<Record> {
        records(&self.read(path))
    }
}

/// Starts a program without waiting for its end.
pub fn spawn(command: &mut Command) -> Child {
    let mut started = std::process::Command::new(command.get_program());
    started.args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        started.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => started.env(name, value),
            None => started.env_remove(name),
        };
    }
    started
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Runs a program to its end; says also how much memory it held at most, in MiB.
#[cfg(target_os = "linux")]
pub fn run_and_measure(command: &mut Command) -> (Ran, u64) {
    let mut child = spawn(command);
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let held = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let held = held.and_then(|held| held.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(held.unwrap_or(0) >> 10);
        thread::sleep(Duration::from_millis(2));
    }
    (Ran::end_of(child), most)
}

/// What a program left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        Self::left(command.output().expect("the program starts"))
    }

    /// Waits for the end of a program that was started.
    pub fn end_of(child: Child) -> Self {
        Self::left(child.wait_with_output().expect("the program ends"))
    }

    fn left(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("records are UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
        }
    }

    /// The records on the standard output, which holds nothing else.
    pub fn records(&self) -> Vec<Record> {
        records(&self.stdout)
    }

    /// Path and page of each record on the standard output, as `a.pdf:1`.
    pub fn pages(&self) -> Vec<String> {
        let pages = self.records().into_iter();
        pages
            .map(|record| format!("{}:{}", record.path, record.page))
            .collect()
    }

    /// Fails unless the program ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

/// Reads records as strictly as a reader of schema 2 may.
pub fn records(lines: &str) -> Vec<Record> {
    assert!(
        lines.is_empty() || lines.ends_with('\n'),
        "the last line is not whole: {lines:?}"
    );
    lines
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// A PDF of A4 pages, one for each text, its lines set in Helvetica.
pub fn pdf(pages: &[&str]) -> Vec<u8> {
    let kids: String = (0..pages.len())
        .map(|page| format!("{} 0 R ", 4 + 2 * page))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{kids}] /Count {} >>", pages.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    for (page, text) in pages.iter().enumerate() {
        let lines: String = text
            .lines()
            .map(|line| format!("({line}) Tj T* "))
            .collect();
        let drawn = format!("BT /F1 14 Tf 18 TL 72 760 Td {lines}ET");
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> /Contents {} 0 R >>",
            5 + 2 * page
        ));
        objects.push(format!(
            "<< /Length {} >>\nstream\n{drawn}\nendstream",
            drawn.len()
        ));
    }
    pdf_of(&objects)
}

/// A PDF of these objects, numbered from 1; the first is the catalogue.
pub fn pdf_of(objects: &[String]) -> Vec<u8> {
    let mut file = "%PDF-1.4\n".to_owned();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        file += &format!("{} 0 obj\n{object}\nendobj\n", index + 1);
    }
    let (table, size) = (file.len(), objects.len() + 1);
    file += &format!("xref\n0 {size}\n0000000000 65535 f \n");
    file.extend(
        offsets
            .iter()
            .map(|offset| format!("{offset:010} 00000 n \n")),
    );
    file += &format!("trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n");
    file.into_bytes()
}

/// A white image of 64 × 48 pixels in the given format.
pub fn image(format: image::ImageFormat) -> Vec<u8> {
    image_of(64, 48, format)
}

/// A white image in the given format.
pub fn image_of(width: u32, height: u32, format: image::ImageFormat) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(width, height, image::Rgb([255; 3]))
        .write_to(&mut file, format)
        .expect("an image");
    file.into_inner()
}
