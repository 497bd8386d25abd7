//! Asks the run's GPUs how busy they are.

use std::time::{Duration, Instant};

use super::handle::{ProgressHandle, lock};
use crate::gpu::{self, Load, Monitor};

/// Interval of asking.
const INTERVAL: Duration = Duration::from_secs(1);

/// Asks the GPUs at intervals, on the thread that shows the progress.
#[derive(Default)]
pub(super) struct GpuWatch {
    /// The GPUs' places, once the first is asked.
    places: Option<Vec<Option<u32>>>,
    monitor: Option<Box<dyn Monitor>>,
    asked: Option<Instant>,
    has_warned: bool,
}

impl GpuWatch {
    /// Asks, if it is time.
    pub(super) fn look(&mut self, handle: &ProgressHandle) {
        let is_due = self.asked.is_none_or(|asked| asked.elapsed() >= INTERVAL);
        if !is_due || !handle.is_reading() {
            return;
        }
        self.asked = Some(Instant::now());
        let names: Vec<String> = {
            let tally = lock(&handle.tally);
            tally.gpus.iter().map(|gpu| gpu.device.clone()).collect()
        };
        if names.is_empty() {
            return;
        }
        if self.places.is_none() {
            self.monitor = self.monitor.take().or_else(gpu::monitor);
            self.places = Some(self.places_of(&names));
        }
        // The driver is asked without the lock: it may take its time.
        let loads: Vec<_> = self.loads();
        let mut tally = lock(&handle.tally);
        for (gpu, load) in tally.gpus.iter_mut().zip(loads) {
            if let Some(load) = load {
                gpu.add(load);
            }
        }
        let idle = tally.idle_gpus(tally.elapsed());
        drop(tally);
        if let Some(idle) = idle.filter(|_| !self.has_warned) {
            self.has_warned = true;
            tracing::warn!("{idle}");
        }
    }

    fn places_of(&self, names: &[String]) -> Vec<Option<u32>> {
        let gpus = self.monitor.as_ref().map(|monitor| monitor.gpus());
        gpu::places_of(names, &gpus.unwrap_or_default())
    }

    fn loads(&self) -> Vec<Option<Load>> {
        let Some(monitor) = &self.monitor else {
            return Vec::new();
        };
        let places = self.places.iter().flatten();
        places.map(|place| monitor.load((*place)?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gpu::{Driver, Gpu},
        progress::{
            gpus::{GpuUse, format_gpus},
            tally::Tally,
        },
    };

    /// Two GPUs, of which the second idles.
    struct Fake;

    impl Monitor for Fake {
        fn gpus(&self) -> Vec<Gpu> {
            let gpu = |place| Gpu {
                name: "H100".to_owned(),
                uuid: format!("GPU-{place}"),
                capability: Some((9, 0)),
                load: self.load(place),
            };
            (0..2).map(gpu).collect()
        }

        fn load(&self, place: u32) -> Option<Load> {
            Some(Load {
                memory_used: 21_300_000_000,
                memory_free: 58_700_000_000,
                utilization: Some(if place == 0 { 97 } else { 31 }),
            })
        }

        fn driver(&self) -> Driver {
            Driver {
                version: "550".to_owned(),
                cuda: Some((12, 4)),
            }
        }
    }

    fn watched(devices: &[&str], samples: usize) -> Tally {
        let handle = ProgressHandle::default();
        lock(&handle.tally).gpus = devices.iter().map(|name| GpuUse::new(name)).collect();
        lock(&handle.tally).batch_size = 1;
        handle.start_reading();
        let mut watch = GpuWatch {
            monitor: Some(Box::new(Fake)),
            ..GpuWatch::default()
        };
        for _ in 0..samples {
            watch.asked = None;
            watch.look(&handle);
        }
        std::mem::take(&mut *lock(&handle.tally))
    }

    #[test]
    fn bar_and_summary_show_memory_and_load_of_each_gpu() {
        let one = watched(&["cuda:0"], 1);
        assert_eq!(
            format_gpus(&one.gpus).as_deref(),
            Some("cuda:0 97% 21/80 GB")
        );
        assert_eq!(
            one.gpus[0].describe().as_deref(),
            Some("cuda:0: 97 % busy, 21.3 of 80.0 GB of memory used, 58.7 GB free")
        );
        let both = watched(&["cuda:0", "cuda:1"], 1);
        assert_eq!(format_gpus(&both.gpus).as_deref(), Some("2 GPUs 31-97%"));
        assert_eq!(format_gpus(&watched(&["cuda:0"], 0).gpus), None);
    }

    #[test]
    fn idle_gpus_are_named_with_the_reason() {
        let minute = Duration::from_secs(60);
        assert_eq!(watched(&["cuda:0", "cuda:1"], 5).idle_gpus(minute), None);
        let mut tally = watched(&["cuda:0", "cuda:1"], 40);
        assert_eq!(
            tally.idle_gpus(minute).as_deref(),
            Some("cuda:1 only 31 % busy: pages are decoded one at a time; raise --batch-size")
        );
        tally.waiting = minute / 2;
        let why = "cuda:1 only 31 % busy: preparation is behind (the model waits for pages 50 % of the time); raise --workers, or lower --dpi";
        assert_eq!(tally.idle_gpus(minute).as_deref(), Some(why));
        assert_eq!(watched(&["cuda:0"], 40).idle_gpus(minute), None);
    }
}
