//! How busy the run's GPUs are: averaged, in words, and what to do where they idle.

use crate::{gpu::Load, words::number};

/// An average needs this many answers.
const MIN_SAMPLES: u32 = 30;
/// Below this average, in percent, a GPU idles.
const IDLE: u32 = 50;
/// With more than this part of the time spent waiting for pages, preparation is behind.
const MAX_WAITING: f64 = 0.2;
/// Bytes of a gigabyte.
const GB: f64 = 1e9;

/// A GPU of the run.
#[derive(Debug, Clone, Default)]
pub(super) struct GpuUse {
    /// Its name: `cuda:0`.
    pub device: String,
    pub latest: Option<Load>,
    samples: u32,
    /// The sum of the utilizations, in percent.
    busy: u64,
    /// The most memory in use.
    peak: u64,
}

impl GpuUse {
    pub(super) fn new(device: &str) -> Self {
        Self {
            device: device.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, load: Load) {
        if let Some(utilization) = load.utilization {
            self.samples += 1;
            self.busy += u64::from(utilization);
        }
        self.peak = self.peak.max(load.memory_used);
        self.latest = Some(load);
    }

    /// The average utilization, in percent.
    pub(super) fn mean(&self) -> Option<u32> {
        let mean = self.busy.checked_div(u64::from(self.samples))?;
        u32::try_from(mean).ok()
    }

    fn idles(&self) -> bool {
        self.samples >= MIN_SAMPLES && self.mean().is_some_and(|mean| mean < IDLE)
    }

    /// For the summary: `cuda:0: 94 % busy, 21.3 of 80.0 GB of memory used, 58.7 GB free`.
    pub(super) fn describe(&self) -> Option<String> {
        let memory = self.latest?.memory();
        let free = memory.saturating_sub(self.peak);
        let busy = self
            .mean()
            .map_or_else(String::new, |mean| format!("{mean} % busy, "));
        let gb = |bytes: u64| bytes as f64 / GB;
        Some(format!(
            "{}: {busy}{:.1} of {:.1} GB of memory used, {:.1} GB free",
            self.device,
            gb(self.peak),
            gb(memory),
            gb(free)
        ))
    }
}

/// The GPUs for the bar: `cuda:0 97% 21/80 GB`, or `4 GPUs 92-98%`; none before the first answer.
pub(super) fn format_gpus(gpus: &[GpuUse]) -> Option<String> {
    let loads: Vec<_> = gpus.iter().filter_map(|gpu| gpu.latest).collect();
    let busy = loads.iter().filter_map(|load| load.utilization);
    let percent = match (busy.clone().min(), busy.max()) {
        (Some(least), Some(most)) if least < most => format!(" {least}-{most}%"),
        (Some(all), _) => format!(" {all}%"),
        _ => String::new(),
    };
    match (loads.as_slice(), gpus) {
        ([], _) => None,
        ([load], [gpu]) => Some(format!(
            "{}{percent} {:.0}/{:.0} GB",
            gpu.device,
            load.memory_used as f64 / GB,
            load.memory() as f64 / GB
        )),
        _ => Some(format!("{} GPUs{percent}", number(gpus.len()))),
    }
}

/// The GPUs that idle, with the reason; `waiting` is the part of the time that was spent waiting for pages.
pub(super) fn format_idle(gpus: &[GpuUse], waiting: f64, batch_size: usize) -> Option<String> {
    let idle: Vec<_> = gpus.iter().filter(|gpu| gpu.idles()).collect();
    let mean = idle.first()?.mean().unwrap_or(0);
    let names: Vec<_> = idle.iter().map(|gpu| gpu.device.as_str()).collect();
    let why = if waiting > MAX_WAITING {
        let percent = (waiting * 100.0).min(100.0);
        format!(
            "preparation is behind (the model waits for pages {percent:.0} % of the time); raise --workers, or lower --dpi"
        )
    } else if batch_size == 1 {
        "pages are decoded one at a time; raise --batch-size".to_owned()
    } else {
        let pages = number(batch_size);
        format!("{pages} pages at a time are too few; raise --batch-size")
    };
    Some(format!("{} only {mean} % busy: {why}", names.join(", ")))
}
