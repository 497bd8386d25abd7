//! Merging journals: the shards of a job, or outputs written bit by bit.
//!
//! The record that wins does not depend on the order of the files:
//!
//! 1. Within one file, the last record.
//! 2. Across files, a page that was read (or is blank) before one that failed.
//! 3. Then the record in the file whose last run started later; if both started in the same second, the one in the file
//!    whose path sorts last.
//!
//! Records of copies never win over those that were read. Every path that has a record of the page in some file has the
//! winner's content in the merged file: all but the winner's own are copies of it.
//!
//! The files are read twice: once to index their pages, once to copy the winning records by path and page. In between,
//! an entry takes 48 bytes of memory, and a document its path.

mod rows;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

pub(super) use self::rows::Rows;
use super::{
    differences::shown,
    index::{Builder, Entry, page_count, read_at},
    key::PageKey,
    lock::lock_shared,
    meta::{Meta, OutputSettings, SHARD, differing},
    paths::Paths,
    place::{put_whole, resolve},
    scan::explain,
};
use crate::{
    page_selection::PageSelection,
    record::{Record, Status},
    shard::Shard,
};

/// Adjacent records are copied together, up to about this many bytes.
const PIECE: u64 = 1 << 20;

/// Two journals have different settings.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingsDisagree {
    /// The journals.
    pub journals: [PathBuf; 2],
    /// Name, first value, second value; null for a missing setting.
    pub differing: Vec<(String, Value, Value)>,
}

impl fmt::Display for SettingsDisagree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = self.journals.each_ref().map(|path| path.display());
        writeln!(f, "{one} and {other} were written with different settings:")?;
        for (name, in_one, in_other) in &self.differing {
            let (in_one, in_other) = shown(in_one, in_other);
            writeln!(f, "  {name}: {in_one} in {one}, {in_other} in {other}")?;
        }
        f.write_str("merge only outputs that were written with the same settings")
    }
}

impl std::error::Error for SettingsDisagree {}

/// The journals, and the index of their winning records.
pub struct Merge {
    inputs: Vec<Input>,
    settings: OutputSettings,
    rows: Rows,
    paths: Paths,
}

/// An open input.
struct Input {
    path: PathBuf,
    /// Locked against writers.
    file: File,
    /// Its settings, without the shard.
    meta: Meta,
    shard: Shard,
    /// Bytes of an unfinished line at the end.
    torn: u64,
}

/// What the merged file contains, and what is missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Number of documents.
    pub documents: usize,
    /// Number of pages.
    pub pages: usize,
    /// Number of failed pages.
    pub failed: usize,
    /// Missing shards.
    pub shards: Vec<Shard>,
    /// Files whose last run was interrupted.
    pub unfinished: Vec<PathBuf>,
    /// Documents with missing pages: path, pages present, pages expected.
    pub incomplete: Vec<(String, u32, u32)>,
}

impl Gaps {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.shards.is_empty() && self.unfinished.is_empty() && self.incomplete.is_empty()
    }
}

impl Merge {
    /// Indexes the journals.
    ///
    /// # Errors
    /// [`SettingsDisagree`], [`Locked`](super::Locked), or a file can't be read or parsed.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut inputs: Vec<Input> = paths
            .iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|path| Input::open(path))
            .collect::<Result<_>>()?;
        // The sort is stable, so that files of the same second stay in the order of their paths.
        inputs.sort_by_key(|input| input.meta.run.started);
        let settings = agreed(&inputs)?;
        let (mut builder, mut paths) = (Builder::by_path(), Paths::default());
        for input in &mut inputs {
            let extent = builder.add(&input.file, |line| paths.note(&line.path));
            let explained =
                extent.map_err(|error| explain(&input.path, error, "; repair or delete that line"));
            input.torn = explained?.lost();
        }
        Ok(Self {
            inputs,
            settings,
            rows: Rows::new(builder.into_entries(), &paths),
            paths,
        })
    }

    /// The journals that end in an unfinished line, and its length in bytes.
    pub fn torn(&self) -> impl Iterator<Item = (&Path, u64)> {
        let torn = self.inputs.iter().filter(|input| input.torn > 0);
        torn.map(|input| (input.path.as_path(), input.torn))
    }

    /// What is present and what is missing, if each document should have the `selected` pages (all if `None`).
    #[must_use]
    pub fn gaps(&self, selected: Option<&PageSelection>) -> Gaps {
        let mut gaps = Gaps {
            shards: self.missing_shards(),
            ..Gaps::default()
        };
        let cut_off = |input: &&Input| input.meta.run.finished.is_none() || input.torn > 0;
        let cut_off = self.inputs.iter().filter(cut_off);
        gaps.unfinished = cut_off.map(|input| input.path.clone()).collect();
        let mut there_anywhere = None;
        for document in self.in_order() {
            let records = document.records();
            gaps.documents += 1;
            let pages = |entry: &Entry| entry.pages(None).max(1) as usize;
            gaps.pages += records.iter().map(pages).sum::<usize>();
            let failed = |entry: &&Entry| entry.state().status == Status::Failed;
            gaps.failed += records.iter().filter(failed).map(pages).sum::<usize>();
            let Some(all) = page_count(document.entries) else {
                continue;
            };
            let wanted = selected.map_or(all, |selection| selection.count(all));
            let there = records.iter().map(|entry| entry.pages(selected)).sum();
            if there >= wanted {
                continue;
            }
            // What another path of the same document has is not missing.
            let anywhere = there_anywhere.get_or_insert_with(|| self.rows.pages(selected));
            let anywhere = document.key().and_then(|key| anywhere.get(&key.document));
            let there = anywhere.map_or(there, |&pages| pages.max(there));
            if there < wanted {
                let path = String::from_utf8_lossy(document.path).into_owned();
                gaps.incomplete.push((path, there, wanted));
            }
        }
        gaps
    }

    /// The missing shards; none if one journal is unsharded, or the shards of one count are complete.
    fn missing_shards(&self) -> Vec<Shard> {
        let mut there: BTreeMap<u32, BTreeSet<Shard>> = BTreeMap::new();
        for input in &self.inputs {
            there
                .entry(input.shard.count())
                .or_default()
                .insert(input.shard);
        }
        if there
            .iter()
            .any(|(&count, shards)| shards.len() == count as usize)
        {
            return Vec::new();
        }
        let all = there.values().filter_map(BTreeSet::first);
        let missing = all.flat_map(|shard| shard.all());
        missing
            .filter(|shard| !there[&shard.count()].contains(shard))
            .collect()
    }

    /// Writes the winning records by path and page, until `go_on` fails.
    ///
    /// # Errors
    /// A journal can't be read any more, `out` can't be written, or the error of `go_on`.
    pub fn write(&self, out: &mut dyn Write, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        let documents = self.in_order();
        let mut entries = documents.iter().flat_map(Document::records).peekable();
        let mut bytes = Vec::new();
        while let Some(first) = entries.next() {
            go_on()?;
            if let Some(winner) = self.rows.copied_from(first) {
                let line = self.copy(winner, first)?;
                out.write_all(&line)?;
                continue;
            }
            let mut end = first.start + u64::from(first.length);
            let follows = |next: &&Entry, end| {
                next.input == first.input
                    && next.start == end + 1
                    && end - first.start < PIECE
                    && self.rows.copied_from(next).is_none()
            };
            while let Some(next) = entries.next_if(|next| follows(next, end)) {
                end = next.start + u64::from(next.length);
            }
            let input = &self.inputs[usize::from(first.input)];
            bytes.resize((end - first.start) as usize, 0);
            read_at(&input.file, &mut bytes, first.start)
                .with_context(|| format!("cannot read {}", input.path.display()))?;
            bytes.push(b'\n');
            out.write_all(&bytes)?;
        }
        Ok(())
    }

    /// The line of `copy`'s path with the content of `winner`.
    fn copy(&self, winner: &Entry, copy: &Entry) -> Result<Vec<u8>> {
        let [winner, copy] = [winner, copy].map(|entry| {
            let input = &self.inputs[usize::from(entry.input)];
            let cannot = || format!("cannot read {}", input.path.display());
            let line = entry.line(&input.file).with_context(cannot)?;
            Record::from_line(&line).with_context(cannot)
        });
        Ok(winner?.copied_to_path_of(&copy?).to_line()?)
    }

    /// Writes the records to a file atomically, with the settings beside it, so that a run can resume into it.
    /// `is_complete`: nothing is missing.
    ///
    /// # Errors
    /// As [`Merge::write`], [`Locked`](super::Locked), or the folder is not writable.
    pub fn write_file(
        &self,
        path: &Path,
        is_complete: bool,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let mut meta = Meta::new(self.settings.clone());
        if is_complete {
            meta.finish();
        }
        let path = resolve(path);
        let replaced = path.exists().then(|| lock_shared(&path));
        let _replaced = replaced.transpose()?;
        put_whole(&path, |file| {
            self.write(file, go_on)?;
            go_on()
        })?;
        meta.write(&path)
    }

    fn in_order(&self) -> Vec<Document<'_>> {
        in_order(&self.rows, &self.paths)
    }
}

/// The documents with their winning records, by path. Failures to open a document or read a file are dropped once that has
/// succeeded.
pub(super) fn in_order<'a>(rows: &'a Rows, paths: &'a Paths) -> Vec<Document<'a>> {
    let mut documents: Vec<_> = rows
        .documents()
        .map(|(path, entries)| Document {
            path: paths.get(path),
            entries,
        })
        .collect();
    let (mut read, mut kept) = (0, 0);
    while let Some(first) = documents.get(read).copied() {
        // Documents with one path stand together.
        let same = documents[read..].iter();
        let same = same.take_while(|it| it.path == first.path).count();
        let all = read..read + same;
        let was_read = documents[all.clone()].iter().any(Document::was_opened);
        for place in all {
            let document = documents[place];
            let unread = || document.key() == Some(PageKey::of_bytes(None, document.path, 0));
            if document.was_opened() || !(was_read && unread()) {
                documents[kept] = document;
                kept += 1;
            }
        }
        read += same;
    }
    documents.truncate(kept);
    documents
}

/// The records of a document at a path.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    /// The bytes of its path.
    path: &'a [u8],
    entries: &'a [Entry],
}

impl<'a> Document<'a> {
    /// Its path; what is not UTF-8 is lost.
    #[must_use]
    pub fn path(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.path)
    }

    /// The number of its pages, if it could be opened.
    #[must_use]
    pub fn page_count(&self) -> Option<u32> {
        page_count(self.entries)
    }

    /// Where its newest record is in the file, for comparing documents with one path.
    #[must_use]
    pub fn newest(&self) -> u64 {
        let starts = self.entries.iter().map(|entry| entry.start);
        starts.max().unwrap_or(0)
    }

    fn key(&self) -> Option<PageKey> {
        self.entries.first().map(Entry::key)
    }

    /// Whether it was opened.
    fn was_opened(&self) -> bool {
        self.entries
            .last()
            .is_some_and(|entry| entry.key().page > 0)
    }

    /// The winning records, by page.
    #[must_use]
    pub fn records(&self) -> &'a [Entry] {
        match self.entries {
            [first, pages @ ..] if first.key().page == 0 && self.was_opened() => pages,
            entries => entries,
        }
    }
}

impl Input {
    fn open(path: &Path) -> Result<Self> {
        let (shown, place) = (path.display(), resolve(path));
        let file = lock_shared(path)?;
        let is_file = file.metadata().is_ok_and(|data| data.is_file());
        anyhow::ensure!(is_file, "{shown} is not a regular file");
        let mut meta = Meta::read(&place)?.with_context(|| {
            let beside = Meta::path(&place);
            format!(
                "{} is missing, which holds the settings of {shown}; restore it",
                beside.display()
            )
        })?;
        let shard = match meta.settings.remove(SHARD) {
            None => Shard::WHOLE,
            Some(shard) => shard
                .as_str()
                .and_then(|shard| shard.parse().ok())
                .with_context(|| {
                    format!(
                        "{} has an invalid shard: {shard}",
                        Meta::path(&place).display()
                    )
                })?,
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            meta,
            shard,
            torn: 0,
        })
    }
}

/// The settings that all inputs share, without the shard.
fn agreed(inputs: &[Input]) -> Result<OutputSettings, SettingsDisagree> {
    let Some((first, others)) = inputs.split_first() else {
        return Ok(OutputSettings::new());
    };
    for other in others {
        let differing = differing(&first.meta.settings, &other.meta.settings);
        if !differing.is_empty() {
            return Err(SettingsDisagree {
                journals: [first.path.clone(), other.path.clone()],
                differing,
            });
        }
    }
    Ok(first.meta.settings.clone())
}
