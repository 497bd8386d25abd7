//! Trying again what may pass: how often, and after which pauses.

use std::time::Duration;

use backon::{BlockingRetryable, ExponentialBuilder};

use crate::error::PageError;

/// The pause before the first repetition; each further one is twice as long, plus up to as much again by chance, so that
/// what failed together is not tried together.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Does `work`, and again up to `retries` times as long as it ends in an error that [may pass](PageError::may_pass).
/// Returns how it ended, and how often it was tried.
pub fn retry<T>(
    retries: u32,
    mut work: impl FnMut() -> Result<T, PageError>,
) -> (Result<T, PageError>, u32) {
    let mut attempts = 0;
    let attempt = || {
        attempts += 1;
        work()
    };
    let result = attempt
        .retry(pauses(retries))
        .when(PageError::may_pass)
        .notify(|error, pause| tracing::debug!("trying again in {pause:.1?}: {error}"))
        .call();
    (result, attempts)
}

/// The pauses between tries.
#[must_use]
pub fn pauses(retries: u32) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(retries as usize)
        .with_jitter()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use backon::BackoffBuilder;

    use super::*;
    use crate::error::{ErrorKind, Stage};

    /// Fails with each of the errors, then succeeds.
    fn after(errors: &[ErrorKind], retries: u32) -> (Result<(), ErrorKind>, u32) {
        let mut errors = errors.iter();
        let (result, attempts) = retry(retries, || match errors.next() {
            Some(&kind) => Err(PageError::new(kind, Stage::Engine, "")),
            None => Ok(()),
        });
        (result.map_err(|error| error.kind), attempts)
    }

    #[test]
    fn what_may_pass_is_tried_again_after_a_pause_and_nothing_else_is() {
        use ErrorKind::{Crashed, Encrypted, OutOfMemory, Server, Timeout};
        let begin = Instant::now();
        assert_eq!(after(&[Server, Crashed], 2), (Ok(()), 3));
        assert!(begin.elapsed() >= 3 * FIRST_PAUSE);
        assert_eq!(after(&[Crashed; 9], 1), (Err(Crashed), 2));
        assert_eq!(after(&[Crashed; 9], 0), (Err(Crashed), 1));
        assert_eq!(after(&[Encrypted], 2), (Err(Encrypted), 1));
        assert_eq!(after(&[OutOfMemory], 2), (Err(OutOfMemory), 1));
        assert_eq!(after(&[Crashed, Timeout], 2), (Err(Timeout), 2));
    }

    #[test]
    fn pauses_grow_by_two_have_jitter_and_an_end() {
        let drawn: Vec<Vec<Duration>> = (0..8).map(|_| pauses(12).build().collect()).collect();
        for pauses in &drawn {
            assert_eq!(pauses.len(), 12);
            for (i, &pause) in pauses.iter().enumerate() {
                let least = (FIRST_PAUSE * 2_u32.pow(i as u32)).min(LONGEST_PAUSE);
                assert!(pause >= least && pause <= 2 * least, "{i}: {pause:?}");
            }
        }
        assert!(drawn.iter().any(|pauses| *pauses != drawn[0]));
    }
}
