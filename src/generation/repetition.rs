//! Detects, token by token, that an answer loops.
//!
//! Pages repeat too: a table with sixty equal rows, a leader of a hundred dots. So it is not the number of repeats that makes
//! a loop, but its length: the last [`SPAN`] tokens are one unit of at most [`MAX_UNIT`] tokens over and over. An endless
//! loop is therefore stopped [`SPAN`] tokens after its start; shorter repeats are never touched.

/// Minimum number of repeated tokens that are a loop.
pub const SPAN: usize = 512;
/// Maximum length of a unit, in tokens. A loop of longer units ends at the token budget.
pub const MAX_UNIT: usize = 250;

/// A loop at the end of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loop {
    /// Length of the answer up to the end of the unit's first occurrence: the part to keep.
    pub keep: usize,
    /// Length of the unit.
    pub unit: usize,
}

/// Detects a loop in one answer.
#[derive(Debug, Clone)]
pub struct LoopDetector {
    /// At `unit - 1`: how many of the last tokens equal the one `unit` places before them.
    equal: Vec<usize>,
}

impl Default for LoopDetector {
    fn default() -> Self {
        Self {
            equal: vec![0; MAX_UNIT],
        }
    }
}

impl LoopDetector {
    /// To be called after each token that is appended to `tokens`; costs [`MAX_UNIT`] comparisons.
    pub fn push(&mut self, tokens: &[u32]) -> Option<Loop> {
        let (&last, before) = tokens.split_last()?;
        let mut found = None;
        for (i, equal) in self.equal.iter_mut().enumerate() {
            let unit = i + 1;
            let repeats = before.len() >= unit && before[before.len() - unit] == last;
            *equal = if repeats { *equal + 1 } else { 0 };
            if found.is_none() && *equal + unit >= SPAN {
                found = Some(Loop {
                    keep: tokens.len() - *equal,
                    unit,
                });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where the first loop is detected, if one is.
    fn watch(tokens: &[u32]) -> Option<(usize, Loop)> {
        let mut detector = LoopDetector::default();
        (1..=tokens.len()).find_map(|end| Some((end, detector.push(&tokens[..end])?)))
    }

    fn repeat(unit: &[u32], tokens: usize) -> Vec<u32> {
        unit.iter().copied().cycle().take(tokens).collect()
    }

    /// Tokens that have no period: a counter.
    fn prose(tokens: usize) -> Vec<u32> {
        (1000..1000 + tokens as u32).collect()
    }

    #[test]
    fn sixty_equal_table_rows_pass() {
        // `| 0 | 0 |` and its line break, in eight tokens.
        let table = repeat(&[1, 2, 3, 1, 2, 3, 1, 4], 60 * 8);
        assert_eq!(watch(&[prose(50), table, prose(50)].concat()), None);
    }

    #[test]
    fn a_leader_of_dots_passes() {
        assert_eq!(
            watch(&[prose(9), repeat(&[7], 120), prose(9)].concat()),
            None
        );
    }

    #[test]
    fn a_numbered_list_passes() {
        let list: Vec<u32> = (0..400)
            .flat_map(|number| [2000 + number, 1, 2, 3, 4])
            .collect();
        assert_eq!(watch(&list), None);
    }

    proptest! {
        #[test]
        fn endless_loop_is_cut_within_512_tokens_to_one_unit(
            lead in 0_usize..300, unit in prop::collection::vec(0_u32..50, 1..=MAX_UNIT),
        ) {
            let tokens = [prose(lead), repeat(&unit, 2000)].concat();
            let (end, found) = watch(&tokens).expect("a loop");
            prop_assert!(end <= lead + SPAN);
            // The unit found may be a shorter period of the one drawn.
            prop_assert!(unit.len() % found.unit == 0 && found.keep <= lead + unit.len());
            prop_assert_eq!(&tokens[..found.keep], &[prose(lead), unit[..found.unit].to_vec()].concat()[..]);
        }

        #[test]
        fn repetition_below_512_tokens_is_kept(
            lead in 0_usize..300, unit in prop::collection::vec(0_u32..50, 1..=MAX_UNIT), length in 0..SPAN,
        ) {
            prop_assert_eq!(watch(&[prose(lead), repeat(&unit, length), prose(200)].concat()), None);
        }
    }
}
