//! Which records a merged file has, and from where.

use std::collections::HashMap;

use rayon::slice::ParallelSliceMut;

use super::super::{index::Entry, key::PageKey, paths::Paths};
use crate::{page_selection::PageSelection, record::Status};

/// The records of a merged file, by path, document and page.
pub(in crate::journal) struct Rows {
    /// Their paths are places in `paths`.
    records: Vec<Entry>,
    /// One number of each path, in order.
    paths: Vec<u32>,
    /// The winning records of pages that have several paths.
    winners: HashMap<PageKey, Entry>,
}

impl Rows {
    /// Finds the winners among all records.
    pub(in crate::journal) fn new(mut entries: Vec<Entry>, paths: &Paths) -> Self {
        let sorted = sort_paths(&mut entries, paths);
        let mut winners = HashMap::new();
        entries.par_sort_unstable_by_key(|entry| (entry.order(), entry.input, entry.start));
        let (mut read, mut written) = (0, 0);
        while let Some(first) = entries.get(read) {
            let key = first.key();
            let same = entries[read..]
                .iter()
                .take_while(|it| it.key() == key)
                .count();
            let group = &entries[read..read + same];
            read += same;
            if same == 1 {
                entries[written] = group[0];
                written += 1;
                continue;
            }
            let rows = rows_of(group);
            if let [winner, _, ..] = rows[..] {
                winners.insert(key, winner);
            }
            for row in rows {
                entries[written] = row;
                written += 1;
            }
        }
        entries.truncate(written);
        if entries.len() < entries.capacity() / 2 {
            entries.shrink_to_fit();
        }
        entries.par_sort_unstable_by_key(|entry| (entry.path, entry.order()));
        Self {
            records: entries,
            paths: sorted,
            winners,
        }
    }

    /// The records, grouped by path and document, with a number of the path.
    pub(in crate::journal) fn documents(&self) -> impl Iterator<Item = (u32, &[Entry])> {
        let same =
            |one: &Entry, other: &Entry| (one.path, one.document) == (other.path, other.document);
        self.records.chunk_by(same).map(|rows| {
            let path = rows
                .first()
                .and_then(|row| self.paths.get(row.path as usize));
            (path.copied().unwrap_or_default(), rows)
        })
    }

    /// The record that has the content for this one, if that is at another path.
    pub(in crate::journal) fn copied_from(&self, row: &Entry) -> Option<&Entry> {
        let winner = self.winners.get(&row.key())?;
        (winner.path != row.path).then_some(winner)
    }

    /// The number of `selected` pages (all if `None`) that each document has at any of its paths.
    pub(in crate::journal) fn pages(
        &self,
        selected: Option<&PageSelection>,
    ) -> HashMap<[u8; 16], u32> {
        let mut pages = HashMap::new();
        for row in &self.records {
            if self.copied_from(row).is_none() {
                *pages.entry(row.document).or_default() += row.pages(selected);
            }
        }
        pages
    }
}

/// Replaces the numbers of paths by their places in the order of the paths; gives a number for each place.
fn sort_paths(entries: &mut [Entry], paths: &Paths) -> Vec<u32> {
    let shared = paths.shared_prefix();
    let mut numbers: Vec<(u64, u32)> = (0..paths.len())
        .map(|number| (first_bytes(&paths.get(number)[shared..]), number))
        .collect();
    numbers.par_sort_unstable_by(|one, other| {
        let whole = || paths.get(one.1).cmp(paths.get(other.1));
        one.0.cmp(&other.0).then_with(whole)
    });
    let mut places = vec![0; numbers.len()];
    let mut sorted: Vec<u32> = Vec::new();
    for (_, number) in numbers {
        if sorted
            .last()
            .is_none_or(|&last| paths.get(last) != paths.get(number))
        {
            sorted.push(number);
        }
        places[number as usize] = sorted.len() as u32 - 1;
    }
    for entry in entries {
        entry.path = places[entry.path as usize];
    }
    sorted
}

/// The first bytes of a path as a number, which orders paths as they do.
fn first_bytes(path: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = path.len().min(first.len());
    first[..length].copy_from_slice(&path[..length]);
    u64::from_be_bytes(first)
}

/// The rows of one page: the winning record, and then the newest one of each other path. The records are sorted by
/// input and place.
fn rows_of(page: &[Entry]) -> Vec<Entry> {
    let mut newest: HashMap<u32, Entry> = HashMap::new();
    for entry in page {
        newest.insert(entry.path, *entry);
    }
    let was_read = page.iter().any(|entry| !entry.is_copy());
    let candidates: Vec<_> = page
        .iter()
        .filter(|it| !(was_read && it.is_copy()))
        .collect();
    // What was read wins over what was left out, and that over what failed.
    let worth = |entry: &Entry| match entry.state().status {
        Status::Ok | Status::Blank => 2,
        Status::Skipped => 1,
        Status::Failed => 0,
    };
    let mut winner: Option<&Entry> = None;
    for last in candidates.chunk_by(|one, other| one.input == other.input) {
        let Some(last) = last.last() else { continue };
        if winner.is_none_or(|kept| worth(last) >= worth(kept)) {
            winner = Some(last);
        }
    }
    let winner = winner.copied();
    let others = newest
        .into_values()
        .filter(|it| Some(it.path) != winner.map(|it| it.path));
    winner.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::index::tests::entry;
    use Status::{Failed, Ok, Skipped};

    fn winner(entries: Vec<Entry>) -> (usize, u16, u64) {
        let mut paths = Paths::default();
        paths.note(b"a").unwrap();
        let rows = Rows::new(entries, &paths);
        (
            rows.records.len(),
            rows.records[0].input,
            rows.records[0].start,
        )
    }

    #[test]
    fn read_page_wins_over_failed_page_across_journals() {
        // In the second one the last record failed, whatever was before it.
        assert_eq!(
            winner(vec![
                entry(1, 1, 1, 5, Failed),
                entry(1, 1, 0, 7, Ok),
                entry(1, 1, 1, 2, Ok)
            ]),
            (1, 0, 7)
        );
        assert_eq!(
            winner(vec![entry(1, 1, 1, 5, Failed), entry(1, 1, 0, 7, Failed)]),
            (1, 1, 5)
        );
        assert_eq!(
            winner(vec![entry(1, 1, 1, 5, Ok), entry(1, 1, 0, 7, Ok)]),
            (1, 1, 5)
        );
        // A page that one run left out was read by another, or failed there.
        assert_eq!(
            winner(vec![entry(1, 1, 1, 5, Skipped), entry(1, 1, 0, 7, Ok)]),
            (1, 0, 7)
        );
        assert_eq!(
            winner(vec![entry(1, 1, 1, 5, Failed), entry(1, 1, 0, 7, Skipped)]),
            (1, 0, 7)
        );
    }

    #[test]
    fn each_path_has_the_winner() {
        let mut paths = Paths::default();
        let at = |path: &str, mut entry: Entry, paths: &mut Paths| {
            entry.path = paths.note(path.as_bytes()).unwrap();
            entry
        };
        let entries = vec![
            at("b", entry(1, 1, 0, 0, Failed), &mut paths),
            at("c", entry(1, 1, 0, 10, Failed), &mut paths),
            at("a", entry(1, 1, 1, 0, Ok), &mut paths),
        ];
        let rows = Rows::new(entries, &paths);
        let found: Vec<_> = rows
            .documents()
            .map(|(path, entries)| {
                (
                    paths.get(path),
                    rows.copied_from(&entries[0]).map(|it| it.input),
                )
            })
            .collect();
        assert_eq!(found, [(&b"a"[..], None), (b"b", Some(1)), (b"c", Some(1))]);
    }
}
