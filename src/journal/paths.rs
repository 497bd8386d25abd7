//! Paths interned in one buffer.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
};

use anyhow::{Context, Result};

/// Number of recent paths that are deduplicated.
const RECENT: usize = 1 << 14;

/// The bytes of paths by number. A document's records are close together in a journal, so nearly every path is stored once.
#[derive(Default)]
pub(super) struct Paths {
    bytes: Vec<u8>,
    /// Where each path ends.
    ends: Vec<u32>,
    /// By hash, the latest path: its hash, and its number plus 1.
    recent: Vec<(u64, u32)>,
}

impl Paths {
    /// The number of a path.
    pub(super) fn note(&mut self, path: &[u8]) -> Result<u32> {
        self.recent.resize(RECENT, (0, 0));
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let hash = hasher.finish();
        let place = hash as usize % RECENT;
        // Another path is told by its hash, without a look at its bytes.
        let (of, number) = self.recent[place];
        if let Some(number) = number.checked_sub(1).filter(|_| of == hash)
            && self.get(number) == path
        {
            return Ok(number);
        }
        let number = u32::try_from(self.ends.len()).ok();
        self.bytes.extend_from_slice(path);
        let end = u32::try_from(self.bytes.len()).ok();
        let (number, end) = number
            .zip(end)
            .context("the paths take more than 4 GB of memory")?;
        self.ends.push(end);
        self.recent[place] = (hash, number + 1);
        Ok(number)
    }

    /// The number of numbers that were given; paths may have several.
    pub(super) fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    /// The number of bytes that all paths begin with.
    pub(super) fn shared_prefix(&self) -> usize {
        let first = self.get(0);
        let shared = (1..self.len()).fold(first, |shared, number| {
            let both = shared.iter().zip(self.get(number));
            &shared[..both.take_while(|(one, other)| one == other).count()]
        });
        shared.len()
    }

    /// The path with a number.
    pub(super) fn get(&self, number: u32) -> &[u8] {
        let end = |number: usize| self.ends.get(number).map_or(0, |&end| end as usize);
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, end);
        self.bytes.get(start..end(number)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_interned_by_number() {
        let mut paths = Paths::default();
        let names: Vec<String> = (0..40_000)
            .map(|number| format!("in/{number}.pdf"))
            .collect();
        let numbers: Vec<u32> = names
            .iter()
            .map(|name| paths.note(name.as_bytes()).unwrap())
            .collect();
        for (name, number) in names.iter().zip(numbers) {
            assert_eq!(paths.get(number), name.as_bytes());
        }
        let mut paths = Paths::default();
        let given = ["a", "b", "", "a", "b", ""].map(|name| paths.note(name.as_bytes()).unwrap());
        assert_eq!(given, [0, 1, 2, 0, 1, 2]);
    }
}
