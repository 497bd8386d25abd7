//! How much memory of its GPUs an engine takes, as the driver counts it.

use std::{thread, time::Duration};

use crate::{
    cancel::{Cancel, Reason},
    gpu::{self, Monitor},
};

/// Interval of asking.
const INTERVAL: Duration = Duration::from_millis(100);

/// The GPUs of this machine, and what of their memory was in use before the first engine was loaded.
pub(super) struct GpuMemory {
    monitor: Option<Box<dyn Monitor>>,
    before: Vec<u64>,
}

impl GpuMemory {
    /// Asks the GPUs; without a monitor none is known.
    pub(super) fn before(monitor: Option<Box<dyn Monitor>>) -> Self {
        let gpus = monitor.as_ref().map(|monitor| monitor.gpus());
        let gpus = gpus.unwrap_or_default().into_iter();
        let before = gpus.map(|gpu| gpu.load.map_or(0, |load| load.memory_used));
        Self {
            before: before.collect(),
            monitor,
        }
    }

    /// Does `work` on these devices. Also the most bytes that were in use on them meanwhile beyond those before; `None` if
    /// they are no GPUs, or it is not known which.
    pub(super) fn peak_during<T>(
        &mut self,
        devices: &[String],
        work: impl FnOnce() -> T,
    ) -> (T, Option<u64>) {
        let before = &self.before;
        let Some(monitor) = &mut self.monitor else {
            return (work(), None);
        };
        let places = gpu::places_of(devices, &monitor.gpus()).into_iter();
        let places = places.collect::<Option<Vec<u32>>>();
        let Some(places) = places.filter(|places| !places.is_empty()) else {
            return (work(), None);
        };
        let used = |monitor: &dyn Monitor| {
            let used = places.iter().map(|&place| {
                let before = before.get(place as usize).copied().unwrap_or(0);
                let load = monitor.load(place)?;
                Some(load.memory_used.saturating_sub(before))
            });
            used.sum::<Option<u64>>()
        };
        thread::scope(|scope| {
            let done = Cancel::default();
            let is_done = done.clone();
            // Moved: it is asked on one thread alone.
            let watch = move || watch(&is_done, || used(monitor.as_ref()));
            let watching = thread::Builder::new().spawn_scoped(scope, watch);
            let result = work();
            done.cancel(Reason::Stopped);
            let peak = watching.ok().and_then(|thread| thread.join().ok());
            (result, peak.flatten())
        })
    }
}

/// The most that `used` says until it is done.
fn watch(is_done: &Cancel, used: impl Fn() -> Option<u64>) -> Option<u64> {
    let mut peak = used();
    while is_done.sleep(INTERVAL).is_ok() {
        peak = peak.max(used());
    }
    peak
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::gpu::{Driver, Gpu, Load};

    /// Two GPUs; of the second one so much is in use as is noted here.
    #[derive(Clone, Default)]
    struct Fake {
        used: Arc<AtomicU64>,
        asked: Arc<AtomicU64>,
    }

    impl Monitor for Fake {
        fn gpus(&self) -> Vec<Gpu> {
            let gpu = |place| Gpu {
                name: "H100".to_owned(),
                uuid: format!("GPU-{place}"),
                capability: None,
                load: self.load(place),
            };
            (0..2).map(gpu).collect()
        }

        fn load(&self, place: u32) -> Option<Load> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let used = self.used.load(Ordering::SeqCst);
            Some(Load {
                memory_used: if place == 1 { used } else { 7 },
                memory_free: 100,
                utilization: None,
            })
        }

        fn driver(&self) -> Driver {
            Driver {
                version: String::new(),
                cuda: None,
            }
        }
    }

    impl Fake {
        /// So much is in use for as long as it takes to be seen.
        fn uses(&self, bytes: u64) {
            self.used.store(bytes, Ordering::SeqCst);
            let before = self.asked.load(Ordering::SeqCst);
            while self.asked.load(Ordering::SeqCst) < before + 4 {
                thread::yield_now();
            }
        }
    }

    fn peak(devices: &[&str]) -> Option<u64> {
        let fake = Fake::default();
        fake.used.store(1_000, Ordering::SeqCst);
        let mut memory = GpuMemory::before(Some(Box::new(fake.clone())));
        let devices: Vec<_> = devices.iter().map(|&name| name.to_owned()).collect();
        let is_watched = devices == ["cuda:1"];
        let (result, peak) = memory.peak_during(&devices, || {
            if is_watched {
                fake.uses(5_000);
                fake.uses(2_000);
            }
            "done"
        });
        assert_eq!(result, "done");
        peak
    }

    #[test]
    fn gpu_memory_is_the_most_in_use_beyond_what_was_before() {
        assert_eq!(peak(&["cuda:1"]), Some(4_000));
        assert_eq!(peak(&["cpu"]), None);
        assert_eq!(peak(&["cuda:7"]), None);
        assert_eq!(peak(&[]), None);
        assert_eq!(GpuMemory::before(None).peak_during(&[], || 1), (1, None));
    }
}
