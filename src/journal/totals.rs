//! Sums over the records of an output, taken as its lines are read.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IntoDeserializer};

use super::line::{Line, Times};
use crate::{page::Warning, record::Status};

/// Sums over records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Words.
    pub words: u64,
    /// Tokens that models generated.
    pub tokens: u64,
    /// Milliseconds of preparation.
    pub prepare: u64,
    /// Milliseconds of vision tower and prompt.
    pub prefill: u64,
    /// Milliseconds of generation.
    pub decode: u64,
    /// Pages with each warning.
    pub warnings: BTreeMap<Warning, u64>,
    /// Pages that each engine answered, by name.
    pub engines: BTreeMap<String, u64>,
    /// Milliseconds of each page that was read, in any order.
    pub times: Vec<u32>,
}

impl Totals {
    /// Adds a record.
    pub(super) fn add(&mut self, line: &Line) {
        let facts = &line.facts;
        self.words += facts.words;
        self.tokens += facts.tokens;
        let Times {
            prepare,
            prefill,
            decode,
            total,
        } = facts.times;
        self.prepare += prepare;
        self.prefill += prefill;
        self.decode += decode;
        for warning in facts.warnings.iter().filter_map(|name| parse(name)) {
            *self.warnings.entry(warning).or_default() += 1;
        }
        if line.state.status == Status::Ok {
            self.times.push(u32::try_from(total).unwrap_or(u32::MAX));
            match self.engines.get_mut(facts.engine.as_ref()) {
                Some(pages) => *pages += 1,
                None => drop(self.engines.insert(facts.engine.to_string(), 1)),
            }
        }
    }

    /// Takes away records that were added.
    pub(super) fn subtract(&mut self, mut other: Self) {
        self.words = self.words.saturating_sub(other.words);
        self.tokens = self.tokens.saturating_sub(other.tokens);
        self.prepare = self.prepare.saturating_sub(other.prepare);
        self.prefill = self.prefill.saturating_sub(other.prefill);
        self.decode = self.decode.saturating_sub(other.decode);
        subtract_each(&mut self.warnings, other.warnings);
        subtract_each(&mut self.engines, other.engines);
        if other.times.is_empty() {
            return;
        }
        self.times.sort_unstable();
        other.times.sort_unstable();
        let mut gone = other.times.into_iter().peekable();
        self.times.retain(|time| gone.next_if_eq(time).is_none());
    }
}

fn subtract_each<K: Ord>(from: &mut BTreeMap<K, u64>, counts: BTreeMap<K, u64>) {
    for (name, count) in counts {
        if let Some(left) = from.get_mut(&name) {
            *left = left.saturating_sub(count);
        }
    }
    from.retain(|_, left| *left > 0);
}

/// The warning with this name in records.
fn parse(name: &str) -> Option<Warning> {
    let name = IntoDeserializer::<serde::de::value::Error>::into_deserializer(name);
    Warning::deserialize(name).ok()
}
