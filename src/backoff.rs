//! One way to try again: how often, and after which pauses.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::{
    cancel::{Cancel, Reason},
    error::PageError,
};

/// The pause before the first repetition; each further one is twice as long, plus up to as much again by chance, so that
/// what failed together is not tried together.
const MIN_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Pauses that grow, with jitter.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Default for Backoff {
    fn default() -> Self {
        Self::starting_with(MIN_PAUSE)
    }
}

impl Backoff {
    /// With at least this pause first.
    #[must_use]
    pub fn starting_with(pause: Duration) -> Self {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(pause)
            .with_max_delay(MAX_PAUSE)
            .without_max_times()
            .with_jitter();
        Self(pauses.build())
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        self.0.next().unwrap_or(MAX_PAUSE)
    }

    /// Waits for the next pause.
    ///
    /// # Errors
    /// Cancelled meanwhile.
    pub fn wait(&mut self, cancel: &Cancel) -> Result<(), Reason> {
        cancel.sleep(self.pause())
    }
}

/// Runs `work`, and retries it up to `retries` times while it fails with an error that [may pass](PageError::may_pass),
/// unless cancelled. Returns the last result and the number of attempts.
pub fn retry<T>(
    retries: u32,
    cancel: &Cancel,
    mut work: impl FnMut() -> Result<T, PageError>,
) -> (Result<T, PageError>, u32) {
    let mut backoff = Backoff::default();
    let mut attempts = 1;
    loop {
        let result = work();
        match &result {
            Err(error) if error.may_pass() && attempts <= retries => {
                tracing::debug!("trying again: {error}");
                if backoff.wait(cancel).is_err() {
                    return (result, attempts);
                }
            }
            _ => return (result, attempts),
        }
        attempts += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::error::{ErrorKind, Stage};

    /// Fails with each of the errors, then succeeds.
    fn after(errors: &[ErrorKind], retries: u32) -> (Result<(), ErrorKind>, u32) {
        let mut errors = errors.iter();
        let (result, attempts) = retry(retries, &Cancel::default(), || match errors.next() {
            Some(&kind) => Err(PageError::new(kind, Stage::Engine, "")),
            None => Ok(()),
        });
        (result.map_err(|error| error.kind), attempts)
    }

    #[test]
    fn retry_repeats_transient_errors_only() {
        use ErrorKind::{Crashed, Encrypted, OutOfMemory, Server, Timeout};
        let begin = Instant::now();
        assert_eq!(after(&[Server, Crashed], 2), (Ok(()), 3));
        assert!(begin.elapsed() >= 3 * MIN_PAUSE);
        assert_eq!(after(&[Crashed; 9], 1), (Err(Crashed), 2));
        assert_eq!(after(&[Crashed; 9], 0), (Err(Crashed), 1));
        assert_eq!(after(&[Encrypted], 2), (Err(Encrypted), 1));
        assert_eq!(after(&[OutOfMemory], 2), (Err(OutOfMemory), 1));
        assert_eq!(after(&[Crashed, Timeout], 2), (Err(Timeout), 2));
    }

    #[test]
    fn cancel_ends_backoff_pauses() {
        let cancel = Cancel::default();
        cancel.cancel(Reason::Stopped);
        let (result, attempts) = retry(9, &cancel, || -> Result<(), _> {
            Err(PageError::new(ErrorKind::Crashed, Stage::Engine, ""))
        });
        assert_eq!((result.is_err(), attempts), (true, 1));
    }

    #[test]
    fn backoff_doubles_with_jitter_up_to_a_maximum() {
        let draw = |_| {
            let mut backoff = Backoff::default();
            (0..12).map(|_| backoff.pause()).collect()
        };
        let drawn: Vec<Vec<Duration>> = (0..8).map(draw).collect();
        for pauses in &drawn {
            for (i, &pause) in pauses.iter().enumerate() {
                let least = (MIN_PAUSE * 2_u32.pow(i as u32)).min(MAX_PAUSE);
                assert!(pause >= least && pause <= 2 * least, "{i}: {pause:?}");
            }
        }
        assert!(drawn.iter().any(|pauses| *pauses != drawn[0]));
    }
}
