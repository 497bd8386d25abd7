//! Finds the pages that took much longer than others.

use std::{collections::VecDeque, time::Duration};

/// How long the engine took over the latest pages.
#[derive(Default)]
pub(super) struct SlowPageDetector {
    latest: VecDeque<Duration>,
}

impl SlowPageDetector {
    /// Number of latest pages in the median.
    const WINDOW: usize = 256;
    /// Minimum number of pages for a median.
    const MIN_PAGES: usize = 8;
    /// A page is slow above this multiple of the median.
    const FACTOR: u32 = 5;
    /// What takes no longer than this is not slow, however fast all else is.
    const MIN_TIME: Duration = Duration::from_secs(1);

    /// Whether a page that took so long is slow; counts it among the latest.
    pub(super) fn is_slow(&mut self, took: Duration) -> bool {
        let is_slow = took > Self::MIN_TIME
            && self
                .median()
                .is_some_and(|median| took > median * Self::FACTOR);
        if self.latest.len() == Self::WINDOW {
            self.latest.pop_front();
        }
        self.latest.push_back(took);
        is_slow
    }

    fn median(&self) -> Option<Duration> {
        let mut times: Vec<_> = self.latest.iter().copied().collect();
        let middle = times.len() / 2;
        (times.len() >= Self::MIN_PAGES).then(|| *times.select_nth_unstable(middle).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_page_takes_five_times_the_median_and_a_second() {
        let seconds = Duration::from_secs;
        let mut slow_pages = SlowPageDetector::default();
        assert!(!slow_pages.is_slow(seconds(60)), "nothing to compare with");
        for _ in 0..20 {
            assert!(!slow_pages.is_slow(seconds(2)));
        }
        assert!(!slow_pages.is_slow(seconds(10)));
        assert!(slow_pages.is_slow(seconds(11)));
        let mut fast = SlowPageDetector::default();
        for _ in 0..20 {
            assert!(!fast.is_slow(Duration::from_millis(1)));
        }
        assert!(!fast.is_slow(Duration::from_millis(999)));
        assert!(fast.is_slow(Duration::from_millis(1001)));
        for _ in 0..SlowPageDetector::WINDOW {
            fast.is_slow(seconds(1));
        }
        assert!(!fast.is_slow(seconds(5)), "all pages are slow by now");
    }
}
