//! How a time per page is distributed: quantiles and bars.

use std::time::Duration;

use crate::words::{human, number};

/// Width of the longest bar, in columns; beside it there is room for a label and a count on 60 columns.
const WIDTH: usize = 26;
/// Bars show these bounds, in milliseconds, each twice or two and a half times the one before.
const BOUNDS: [u32; 16] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 120_000, 300_000,
    600_000, 1_800_000,
];

/// Times, in whole milliseconds.
#[derive(Debug, Default)]
pub struct Times {
    sorted: Vec<u32>,
}

impl Times {
    /// From times in any order, in milliseconds.
    #[must_use]
    pub fn new(mut times: Vec<u32>) -> Self {
        times.sort_unstable();
        Self { sorted: times }
    }

    /// The time that a share of `quantile` (0 to 1) of the pages does not exceed; none without pages.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let last = self.sorted.len().checked_sub(1)?;
        let place = (quantile * last as f64).round() as usize;
        let time = self.sorted.get(place.min(last))?;
        Some(Duration::from_millis(u64::from(*time)))
    }

    /// The number of pages up to each bound: bound in milliseconds (`None`: beyond the last), pages. Empty ends are left
    /// out.
    #[must_use]
    pub fn counts(&self) -> Vec<(Option<u32>, usize)> {
        let mut start = 0;
        let mut counts: Vec<_> = BOUNDS
            .into_iter()
            .map(Some)
            .chain([None])
            .map(|bound| {
                let end = bound.map_or(self.sorted.len(), |bound| {
                    self.sorted.partition_point(|&time| time <= bound)
                });
                let count = end - start;
                start = end;
                (bound, count)
            })
            .skip_while(|(_, count)| *count == 0)
            .collect();
        while counts.pop_if(|(_, count)| *count == 0).is_some() {}
        counts
    }

    /// One line per bound: `≤ 2.0 s  ████ 123`.
    #[must_use]
    pub fn bars(&self) -> Vec<String> {
        let counts = self.counts();
        let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let line = |(bound, count): (Option<u32>, usize)| {
            let time = |bound: u32| human(Duration::from_millis(u64::from(bound)));
            let bound = match bound {
                Some(bound) => format!("≤ {}", time(bound)),
                None => format!("> {}", time(BOUNDS[BOUNDS.len() - 1])),
            };
            // Every page is seen.
            let width = (count * WIDTH).div_ceil(most.max(1));
            format!("{bound:<9} {} {}", "█".repeat(width), number(count))
        };
        counts.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_cover_all_pages_between_the_fastest_and_the_slowest() {
        let times = Times::new(vec![2_100, 40, 1_900, 45, 700, 4_000_000]);
        insta::assert_snapshot!(times.bars()[..3].join("\n"), @r"
        ≤ 50 ms   ██████████████████████████ 2
        ≤ 100 ms   0
        ≤ 200 ms   0
        ");
        let pages: usize = times.counts().iter().map(|(_, count)| count).sum();
        assert_eq!(pages, 6);
        assert_eq!(times.counts().last(), Some(&(None, 1)));
        assert_eq!(Times::default().bars(), Vec::<String>::new());
    }

    #[test]
    fn quantiles_are_times_that_occurred() {
        let times = Times::new((1..=100).collect());
        let at = |quantile| times.quantile(quantile).map(|time| time.as_millis());
        assert_eq!(at(0.5), Some(51));
        assert_eq!(at(0.95), Some(95));
        assert_eq!(at(1.0), Some(100));
        assert_eq!(Times::default().quantile(0.5), None);
    }
}
