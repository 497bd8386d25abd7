//! What was measured, as a table and as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::{
    progress::RunInfo,
    terminal::printable,
    views::status::Status,
    words::{counted, human, number},
};

/// What was measured of one engine.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Figures {
    engine: String,
    model: Option<String>,
    pub(super) devices: Vec<String>,
    dtype: Option<String>,
    /// Threads and instructions of a model on the CPU.
    cpu: Option<String>,
    /// Pages, failed ones included.
    pages: u64,
    pub(super) failed: u64,
    /// From the start to the first page, without fetching a model.
    load_seconds: f64,
    /// From the first page's request to the last record.
    seconds: f64,
    seconds_per_page: f64,
    /// Of the pages' own times, which overlap in a batch.
    median_seconds: Option<f64>,
    p95_seconds: Option<f64>,
    pages_per_second: f64,
    words: u64,
    tokens: u64,
    tokens_per_second: f64,
    /// Of this program, without the processes that prepare pages; null where the system does not say.
    peak_memory_bytes: Option<u64>,
    /// On all its devices, beyond what was in use before the first engine; null where it is not known.
    pub(super) gpu_memory_bytes: Option<u64>,
}

impl Figures {
    /// What is known before anything is measured.
    pub(super) fn of_engine(info: &RunInfo) -> Self {
        let cpu = info.cpu.map(|(threads, kernels)| {
            let threads = counted(threads, "thread", "threads");
            format!("{threads}, {kernels}")
        });
        Self {
            engine: info.engine.to_owned(),
            model: info.model.map(str::to_owned),
            devices: info.devices.iter().map(|&name| name.to_owned()).collect(),
            dtype: info.dtype.map(str::to_owned),
            cpu,
            ..Self::default()
        }
    }

    /// Takes the status of the output that was written in `elapsed`.
    pub(super) fn measured(&mut self, status: &Status, load: Duration, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let pages = status.pages.recorded();
        let per_second = |count: u64| count as f64 / seconds.max(1e-9);
        let per_page = status.seconds_per_page.as_ref();
        self.pages = pages;
        self.failed = status.pages.failed;
        self.load_seconds = load.as_secs_f64();
        self.seconds = seconds;
        self.seconds_per_page = seconds / pages.max(1) as f64;
        self.median_seconds = per_page.map(|times| times.median);
        self.p95_seconds = per_page.map(|times| times.p95);
        self.pages_per_second = per_second(pages);
        (self.words, self.tokens) = (status.words, status.tokens);
        self.tokens_per_second = per_second(status.tokens);
        self.peak_memory_bytes = peak_memory();
    }

    fn column(&self) -> Vec<String> {
        let none = || "-".to_owned();
        let time = |seconds: f64| human(Duration::from_secs_f64(seconds));
        let bytes = |bytes: Option<u64>| {
            bytes.map_or_else(
                || "not known".to_owned(),
                |bytes| format!("{:.2} GB", bytes as f64 / 1e9),
            )
        };
        let devices = match (self.devices.join(", "), &self.cpu) {
            (devices, _) if devices.is_empty() => none(),
            (devices, None) => devices,
            (devices, Some(cpu)) => format!("{devices} ({cpu})"),
        };
        let model = self.model.as_deref();
        vec![
            self.engine.clone(),
            model.map_or_else(none, |model| printable(model).into_owned()),
            devices,
            self.dtype.clone().unwrap_or_else(none),
            number(self.pages as usize),
            number(self.failed as usize),
            time(self.load_seconds),
            time(self.seconds_per_page),
            self.median_seconds.map_or_else(none, time),
            self.p95_seconds.map_or_else(none, time),
            format!("{:.2}", self.pages_per_second),
            number(self.words as usize),
            match self.tokens {
                0 => none(),
                _ => format!("{:.1}", self.tokens_per_second),
            },
            bytes(self.peak_memory_bytes),
            bytes(self.gpu_memory_bytes),
        ]
    }
}

/// The first column.
const LABELS: [&str; 15] = [
    "engine",
    "model",
    "device",
    "dtype",
    "pages",
    "failed",
    "load",
    "time/page",
    "median",
    "p95",
    "pages/s",
    "words",
    "tokens/s",
    "memory",
    "GPU memory",
];

/// A table with a column for each engine.
pub(super) fn table(all: &[Figures]) -> String {
    let columns: Vec<Vec<String>> = all.iter().map(Figures::column).collect();
    let mut text = String::new();
    for (row, label) in LABELS.iter().enumerate() {
        let mut line = format!("{label:<12}");
        for column in &columns {
            let width = column.iter().map(|cell| cell.chars().count()).max();
            let (cell, width) = (&column[row], width.unwrap_or(0) + 2);
            line += &format!("{cell:<width$}");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Lets [`peak_memory`] begin anew, where the system can do that.
pub(super) fn reset_peak_memory() {
    // Linux: `clear_refs` in proc(5). Elsewhere the peak is that of all engines so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that this program has had since, in bytes.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
