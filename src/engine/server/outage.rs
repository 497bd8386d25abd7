//! How long a server that can't answer is waited for.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::clock;

/// What the requests of a run have seen of the server.
///
/// An outage is waited for once and not once for each page: when it has lasted as long as the run is willing to wait,
/// pages are tried once each, so that a server that is gone does not hold up a night's run for weeks, and one that comes
/// back is noticed.
#[derive(Debug)]
pub(super) struct Health {
    wait: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When the server last answered.
    answered: Option<Instant>,
    /// When it first failed to, since then.
    failing_since: Option<Instant>,
}

impl Health {
    pub(super) fn new(wait: Duration) -> Self {
        Self {
            wait,
            seen: Mutex::default(),
        }
    }

    /// How long the server is waited for.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    /// The server has answered, with success or an error.
    pub(super) fn answered(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Seen {
            answered: Some(clock::now()),
            failing_since: None,
        };
    }

    /// A request has found the server unable to answer since `since`. Says until when the server is waited for.
    pub(super) fn failing(&self, since: Instant) -> Instant {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let since = seen.answered.map_or(since, |answered| since.max(answered));
        *seen.failing_since.get_or_insert(since) + self.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outage_is_waited_for_once_and_ends_with_an_answer() {
        let (wait, second) = (Duration::from_secs(10), Duration::from_secs(1));
        let health = Health::new(wait);
        let start = clock::now();
        assert_eq!(health.failing(start), start + wait);
        assert_eq!(health.failing(start + 5 * second), start + wait);
        health.answered();
        // A request that was sent before the answer, and timed out after it.
        assert!(health.failing(start) > start + wait);
        health.answered();
        let later = clock::now() + second;
        assert_eq!(health.failing(later), later + wait);
    }
}
