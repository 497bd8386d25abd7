//! `--pages`: which pages of each document are read.

use std::{fmt, ops::RangeInclusive, str::FromStr};

/// Which pages of each document are read: `1-3,7`, `5-`, `-3`.
///
/// Page numbers are 1-based. Numbers past the end of a document select nothing there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageSelection(Vec<RangeInclusive<u32>>);

/// Where an open range ends.
const LAST_PAGE: u32 = u32::MAX;

impl PageSelection {
    /// Sorts the ranges and joins those that touch.
    fn of_ranges(mut ranges: Vec<RangeInclusive<u32>>) -> Self {
        ranges.sort_by_key(|range| *range.start());
        let mut joined: Vec<RangeInclusive<u32>> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => joined.push(range),
            }
        }
        Self(joined)
    }

    /// Whether page `page` (1-based) is selected.
    #[must_use]
    pub fn contains(&self, page: u32) -> bool {
        self.0.iter().any(|range| range.contains(&page))
    }

    /// Number of selected pages in a document of `page_count` pages.
    #[must_use]
    pub fn count(&self, page_count: u32) -> u32 {
        self.0
            .iter()
            .map(|range| {
                (*range.end())
                    .min(page_count)
                    .saturating_sub(range.start() - 1)
            })
            .sum()
    }
}

impl FromStr for PageSelection {
    type Err = String;

    fn from_str(list: &str) -> Result<Self, String> {
        let number = |text: &str| match text.parse::<u32>() {
            Ok(0) => Err("pages count from 1".to_owned()),
            Ok(page) => Ok(page),
            Err(_) => Err(format!(
                "'{text}' is not a page number; use pages and ranges like 1-3,7 or 5- or -3"
            )),
        };
        let range = |part: &str| {
            let (first, last) = match part
                .split_once('-')
                .map(|(first, last)| (first.trim(), last.trim()))
            {
                None => (number(part)?, number(part)?),
                Some(("", last)) => (1, number(last)?),
                Some((first, "")) => (number(first)?, LAST_PAGE),
                Some((first, last)) => (number(first)?, number(last)?),
            };
            if last < first {
                return Err(format!(
                    "the range {first}-{last} is reversed; use {last}-{first}"
                ));
            }
            Ok(first..=last)
        };
        Ok(Self::of_ranges(
            list.split(',')
                .map(|part| range(part.trim()))
                .collect::<Result<_, _>>()?,
        ))
    }
}

impl fmt::Display for PageSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match (range.start(), range.end()) {
                (first, &LAST_PAGE) => write!(f, "{first}-")?,
                (first, last) if first == last => write!(f, "{first}")?,
                (first, last) => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn page_selection_parses_pages_and_ranges() {
        let taken = |list: &str| {
            let selection: PageSelection = list.parse().unwrap();
            (1..=9)
                .filter(|&page| selection.contains(page))
                .collect::<Vec<_>>()
        };
        assert_eq!(taken("1-3,7"), [1, 2, 3, 7]);
        assert_eq!(taken("7-"), [7, 8, 9]);
        assert_eq!(taken("-2, 8 - 9"), [1, 2, 8, 9]);
        assert_eq!(taken("4"), [4]);
        assert_eq!(taken("10-12"), [] as [u32; 0]);
    }

    #[test]
    fn invalid_page_selection_suggests_a_valid_one() {
        for (list, hint) in [
            ("", "use pages and ranges like 1-3,7"),
            ("one", "'one' is not a page number"),
            ("0", "count from 1"),
            ("3-1", "use 1-3"),
            ("1,,2", "is not a page number"),
            ("-", "is not a page number"),
            ("1-2-3", "'2-3' is not a page number"),
            ("99999999999", "is not a page number"),
        ] {
            let message = list.parse::<PageSelection>().unwrap_err();
            assert!(message.contains(hint), "{list:?}: {message}");
        }
    }

    #[test]
    fn adjacent_ranges_are_merged() {
        let shown = |list: &str| list.parse::<PageSelection>().unwrap().to_string();
        assert_eq!(shown("7, 1-2,3,2-4"), "1-4,7");
        assert_eq!(shown("9-,-3,5-20"), "1-3,5-");
    }

    proptest! {
        #[test]
        fn page_selection_parser_never_panics(text in "[0-9, -]{0,12}|.{0,12}") {
            if let Ok(selection) = text.parse::<PageSelection>() {
                prop_assert_eq!(selection.to_string().parse::<PageSelection>(), Ok(selection));
            }
        }

        #[test]
        fn page_selection_round_trips_through_text(ranges in prop::collection::vec((1u32..99, 0u32..99, any::<bool>()), 1..5)) {
            let list: Vec<_> = ranges
                .iter()
                .map(|&(first, more, open)| if open { format!("{first}-") } else { format!("{first}-{}", first + more) })
                .collect();
            let selection: PageSelection = list.join(",").parse().unwrap();
            prop_assert_eq!(&selection.to_string().parse::<PageSelection>().unwrap(), &selection);
            for page in 1..200 {
                let meant = ranges.iter().any(|&(first, more, open)| page >= first && (open || page <= first + more));
                prop_assert_eq!(selection.contains(page), meant);
            }
            prop_assert_eq!(selection.count(120) as usize, (1..=120).filter(|&page| selection.contains(page)).count());
        }
    }
}
