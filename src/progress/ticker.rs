//! The thread that shows the progress: a bar, a line or an object at intervals; and asks the GPUs meanwhile.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    gpu_watch::GpuWatch,
    handle::{ProgressHandle, Stage, lock},
};
use crate::{
    cancel::{Cancel, Reason},
    terminal,
};

/// Interval of plain progress lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
/// Stages that take this long are logged.
pub(super) const PLAIN_FIRST: Duration = Duration::from_secs(5);
/// Interval of redrawing the bar.
const TICK: Duration = Duration::from_millis(120);
/// Interval of looking whether a line is due.
const ROUND: Duration = Duration::from_millis(500);
/// Interval of status objects.
const OBJECT_INTERVAL: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Bar,
    Lines,
    Objects,
    Nothing,
}

/// A thread that shows the progress until dropped.
pub(super) struct Ticker {
    stop: Cancel,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(super) fn start(handle: ProgressHandle, shown: Shown) -> Self {
        let stop = Cancel::default();
        let stopped = stop.clone();
        // Without a thread, a run is not shown.
        let thread = thread::Builder::new().spawn(move || {
            let mut gpus = GpuWatch::default();
            let looked = handle.clone();
            let mut timed_out = move |wait| {
                let goes_on = stopped.sleep(wait).is_ok();
                if goes_on {
                    gpus.look(&looked);
                }
                goes_on
            };
            match shown {
                Shown::Bar => {
                    let mut tick = 0;
                    while timed_out(TICK) {
                        handle.draw(tick);
                        tick += 1;
                    }
                }
                Shown::Lines => report_now_and_then(&handle, timed_out, terminal::log_line),
                Shown::Objects => print_objects(&handle, timed_out),
                Shown::Nothing => while timed_out(ROUND) {},
            }
        });
        Self {
            stop,
            thread: thread.ok(),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.cancel(Reason::Stopped);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        terminal::clear_status();
    }
}

/// Prints an object at each interval of a stage.
fn print_objects(handle: &ProgressHandle, mut timed_out: impl FnMut(Duration) -> bool) {
    let mut printed = Instant::now();
    while timed_out(ROUND) {
        if lock(&handle.stage).is_some() && printed.elapsed() >= OBJECT_INTERVAL {
            printed = Instant::now();
            handle.print_object();
        }
    }
}

/// Reports a slow stage soon, then at every interval.
pub(super) fn report_now_and_then(
    handle: &ProgressHandle,
    mut timed_out: impl FnMut(Duration) -> bool,
    report: impl Fn(String),
) {
    let mut reported: Option<(Instant, Instant)> = None;
    while timed_out(ROUND) {
        let Some((stage, since)) = *lock(&handle.stage) else {
            continue;
        };
        let now = Instant::now();
        let due = match reported {
            Some((of, last)) if of == since => last + PLAIN_INTERVAL,
            // The first pages tell more than the first seconds.
            _ if stage == Stage::Reading => since + PLAIN_INTERVAL,
            _ => since + PLAIN_FIRST,
        };
        if now >= due {
            reported = Some((since, now));
            report(handle.status_line());
        }
    }
}
