//! Which pages a report shows.

use std::{
    collections::{BinaryHeap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use anyhow::Result;
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    journal::{Document, Entry, Snapshot},
    record::{Confidence, Status},
    views::newest,
};

/// Which pages to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// So many pages of all, the same ones each time.
    Sample(usize),
    /// Those that failed.
    Failed,
    /// Those with warnings.
    Warnings,
    /// So many that a model was least sure of.
    Unsure(usize),
}

/// Where a record is, and a number that puts it at a random place in the order of all.
type Draw = (u64, u64);

impl Pick {
    /// The records of the pages, by path and page.
    ///
    /// # Errors
    /// As [`Snapshot::each`].
    pub fn entries(self, snapshot: &Snapshot) -> Result<Vec<Entry>> {
        let documents = snapshot.documents();
        let documents: Vec<Document> = newest(&documents).into_values().copied().collect();
        let kept: HashSet<u64> = match self {
            Self::Sample(count) => sample(&documents, count),
            Self::Failed => {
                let failed = |entry: &&Entry| entry.state().status == Status::Failed;
                let entries = documents.iter().flat_map(Document::records);
                entries.filter(failed).map(Entry::start).collect()
            }
            Self::Warnings => with_warnings(snapshot, &documents)?,
            Self::Unsure(count) => least_sure(snapshot, &documents, count)?,
        };
        let entries = documents.iter().flat_map(Document::records);
        let entries = entries.filter(|entry| kept.contains(&entry.start()));
        Ok(entries.copied().collect())
    }
}

/// The places of `count` records. Each page's number is made of its key, so that a page stays in the sample while others are
/// added.
fn sample(documents: &[Document], count: usize) -> HashSet<u64> {
    let mut drawn: BinaryHeap<Draw> = BinaryHeap::with_capacity(count + 1);
    for document in documents {
        for entry in document.records() {
            let mut hasher = DefaultHasher::new();
            (entry.key(), document.path()).hash(&mut hasher);
            drawn.push((hasher.finish(), entry.start()));
            if drawn.len() > count {
                drawn.pop();
            }
        }
    }
    drawn.into_iter().map(|(_, start)| start).collect()
}

/// The places of the `count` records with the worst stretches.
fn least_sure(snapshot: &Snapshot, documents: &[Document], count: usize) -> Result<HashSet<u64>> {
    #[derive(Deserialize)]
    struct Row {
        confidence: Option<Confidence>,
    }
    let mut found = Vec::new();
    snapshot.each(documents, |entry, row: Row| {
        if let Some(confidence) = row.confidence {
            found.push((confidence.worst, entry.start()));
        }
        Ok(())
    })?;
    found.sort_unstable_by(|(one, at), (other, other_at)| {
        one.total_cmp(other).then(at.cmp(other_at))
    });
    Ok(found
        .into_iter()
        .take(count)
        .map(|(_, start)| start)
        .collect())
}

fn with_warnings(snapshot: &Snapshot, documents: &[Document]) -> Result<HashSet<u64>> {
    #[derive(Deserialize)]
    struct Row {
        warnings: Vec<IgnoredAny>,
    }
    let mut kept = HashSet::new();
    snapshot.each(documents, |entry, row: Row| {
        if !row.warnings.is_empty() {
            kept.insert(entry.start());
        }
        Ok(())
    })?;
    Ok(kept)
}
