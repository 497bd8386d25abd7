//! A clock that stands still while the program does: a suspended job, a stopped process, a closed laptop.
//!
//! Deadlines and the times of pages go by it, so that a pause is nobody's timeout. A thread looks at the system's clock
//! now and then; where that has leapt since anyone last looked, the program was paused.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How often the thread looks.
const EVERY: Duration = Duration::from_millis(500);
/// A longer time in which nobody looked is a pause. A busy machine delays threads by less.
const MIN_PAUSE: Duration = Duration::from_millis(2500);

static CLOCK: Mutex<Option<Clock>> = Mutex::new(None);

#[derive(Debug)]
struct Clock {
    /// When somebody last looked.
    seen: Instant,
    /// All pauses so far.
    paused: Duration,
    /// Without the thread no pause is noticed.
    is_watched: bool,
}

impl Clock {
    fn start(at: Instant) -> Self {
        let watch = || {
            loop {
                thread::sleep(EVERY);
                let _ = now();
            }
        };
        let thread = thread::Builder::new().name("clock".to_owned());
        Self {
            seen: at,
            paused: Duration::ZERO,
            is_watched: thread.spawn(watch).is_ok(),
        }
    }

    fn look(&mut self, at: Instant) {
        let unseen = at.saturating_duration_since(self.seen);
        if self.is_watched && unseen >= MIN_PAUSE {
            self.paused += unseen.saturating_sub(EVERY);
        }
        self.seen = at;
    }
}

/// All pauses so far, and the system's time.
fn look() -> (Duration, Instant) {
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let at = Instant::now();
    let clock = clock.get_or_insert_with(|| Clock::start(at));
    clock.look(at);
    (clock.paused, at)
}

/// The time now.
#[must_use]
pub fn now() -> Instant {
    let (paused, at) = look();
    at.checked_sub(paused).unwrap_or(at)
}

/// The time since `start`, which came from [`now`].
#[must_use]
pub fn since(start: Instant) -> Duration {
    now().saturating_duration_since(start)
}

/// The system's time at which this clock will show `at`, unless there is another pause.
pub(crate) fn on_system(at: Instant) -> Instant {
    at.checked_add(look().0).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_not_counted() {
        let start = Instant::now();
        let mut clock = Clock {
            seen: start,
            paused: Duration::ZERO,
            is_watched: true,
        };
        let second = Duration::from_secs(1);
        clock.look(start + second);
        clock.look(start + 2 * second);
        assert_eq!(clock.paused, Duration::ZERO);
        clock.look(start + 3602 * second);
        assert_eq!(clock.paused + EVERY, 3600 * second);
        clock.is_watched = false;
        clock.look(start + 9999 * second);
        assert_eq!(clock.paused + EVERY, 3600 * second);
    }

    #[test]
    fn clock_goes_like_the_systems_clock() {
        let start = now();
        thread::sleep(Duration::from_millis(20));
        let took = since(start);
        assert!(took >= Duration::from_millis(20), "{took:?}");
        assert!(on_system(now()) <= Instant::now());
    }
}
