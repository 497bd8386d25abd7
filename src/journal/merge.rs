//! Several journals as one: the shards of a job, or what was written bit by bit.
//!
//! Which record of a page counts does not depend on the order in which the files are given:
//!
//! 1. In one file, the last one.
//! 2. Of different files, a page that was read (or found blank) before one that failed: the settings agree, so nothing is
//!    gained by knowing of a try that went wrong.
//! 3. Else the one in the file whose last run began later; and of two that began in the same second, the one whose path
//!    sorts last.
//!
//! The files are read twice: once to see which pages they have, once to copy the records that count, by path and page. In
//! between, a page takes some two hundred bytes of memory at most, and a document its path.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry},
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    lock::keep_runs_away,
    meta::{Meta, OutputSettings, SHARD, differing, put_whole},
    scan::{Line, PageKey, each_line},
};
use crate::{page_selection::PageSelection, record::Status, shard::Shard};

/// Two journals that were written with different settings.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingsDisagree {
    /// The journals.
    pub journals: [PathBuf; 2],
    /// Name, value in the one and in the other; a setting that one does not have is null.
    pub differing: Vec<(String, Value, Value)>,
}

impl fmt::Display for SettingsDisagree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = self.journals.each_ref().map(|path| path.display());
        writeln!(f, "{one} and {other} were written with different settings:")?;
        for (name, in_one, in_other) in &self.differing {
            writeln!(f, "  {name}: {in_one} in {one}, {in_other} in {other}")?;
        }
        f.write_str("only records that were made alike can be put together")
    }
}

impl std::error::Error for SettingsDisagree {}

/// The journals, and which of their records count.
pub struct Merge {
    inputs: Vec<Input>,
    settings: OutputSettings,
    pages: HashMap<PageKey, Place>,
    documents: HashMap<[u8; 16], Document>,
}

/// A journal that is read.
struct Input {
    path: PathBuf,
    /// Locked against runs that would write to it.
    file: File,
    /// What was written beside it; without the shard.
    meta: Meta,
    shard: Shard,
    /// Bytes of an unfinished line at the end.
    torn: u64,
}

/// Where a record stands.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    length: u64,
    input: u32,
    status: Status,
}

/// What is known of a document.
struct Document {
    path: Box<str>,
    page_count: Option<u32>,
    /// Whether there is more of it than a failure to open it.
    opened: bool,
}

/// What the merged file has, and what it lacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Documents that have a record.
    pub documents: usize,
    /// Pages that have a record.
    pub pages: usize,
    /// How many of them failed.
    pub failed: usize,
    /// Shards that no file is of.
    pub shards: Vec<Shard>,
    /// Files whose last run did not come to the end of its inputs.
    pub unfinished: Vec<PathBuf>,
    /// Documents that lack pages: path, pages there, pages that should be.
    pub incomplete: Vec<(String, u32, u32)>,
}

impl Gaps {
    /// Whether nothing is lacking.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.shards.is_empty() && self.unfinished.is_empty() && self.incomplete.is_empty()
    }
}

impl Merge {
    /// Reads which pages the journals have.
    ///
    /// # Errors
    /// [`SettingsDisagree`], [`Locked`](super::Locked), or a file that can't be read or understood.
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
        let mut merge = Self {
            inputs: Vec::new(),
            settings,
            pages: HashMap::new(),
            documents: HashMap::new(),
        };
        for input in inputs {
            merge.add(input)?;
        }
        Ok(merge)
    }

    fn add(&mut self, mut input: Input) -> Result<()> {
        let number = self.inputs.len() as u32;
        let mut own = HashMap::new();
        let documents = &mut self.documents;
        let scanned = each_line(&mut input.file, |line| {
            note_document(documents, &line);
            let place = Place {
                start: line.place.start,
                length: line.place.end - line.place.start,
                input: number,
                status: line.status,
            };
            own.insert(line.key, place);
        });
        let path = input.path.display();
        (_, input.torn) =
            scanned.with_context(|| format!("{path} is damaged; repair or remove that line"))?;
        for (key, place) in own {
            match self.pages.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(place);
                }
                Entry::Occupied(mut entry) => {
                    let is_worse = place.status == Status::Failed;
                    if !is_worse || entry.get().status == Status::Failed {
                        entry.insert(place);
                    }
                }
            }
        }
        self.inputs.push(input);
        Ok(())
    }

    /// The journals whose last line is not whole, and how many bytes of it there are.
    pub fn torn(&self) -> impl Iterator<Item = (&Path, u64)> {
        let torn = self.inputs.iter().filter(|input| input.torn > 0);
        torn.map(|input| (input.path.as_path(), input.torn))
    }

    /// What there is and what is lacking, where each document should have the pages that are `selected`, or all.
    #[must_use]
    pub fn gaps(&self, selected: Option<&PageSelection>) -> Gaps {
        let mut gaps = Gaps {
            shards: self.missing_shards(),
            ..Gaps::default()
        };
        let cut_off = |input: &&Input| input.meta.run.finished.is_none() || input.torn > 0;
        let cut_off = self.inputs.iter().filter(cut_off);
        gaps.unfinished = cut_off.map(|input| input.path.clone()).collect();
        let is_selected = |page| selected.is_none_or(|selection| selection.contains(page));
        for pages in self
            .in_order()
            .chunk_by(|one, other| one.key.document == other.key.document)
        {
            gaps.documents += 1;
            gaps.pages += pages.len();
            let failed = pages
                .iter()
                .filter(|page| page.place.status == Status::Failed);
            gaps.failed += failed.count();
            let document = pages
                .first()
                .and_then(|page| self.documents.get(&page.key.document));
            let Some((document, all)) = document.and_then(|it| Some((it, it.page_count?))) else {
                continue;
            };
            let wanted = selected.map_or(all, |selection| selection.count(all));
            let there = pages
                .iter()
                .filter(|page| page.key.page > 0 && is_selected(page.key.page));
            let there = there.count() as u32;
            if there < wanted {
                let path = document.path.to_string();
                gaps.incomplete.push((path, there, wanted));
            }
        }
        gaps
    }

    /// The shards that no journal is of, unless one is of everything, or one way of dividing is complete.
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

    /// Writes the records that count, by path and page.
    ///
    /// # Errors
    /// A journal can't be read any more, or `out` can't be written to.
    pub fn write(&mut self, out: &mut dyn Write) -> Result<()> {
        let places: Vec<Place> = self.in_order().iter().map(|page| *page.place).collect();
        let mut line = Vec::new();
        for place in places {
            let input = &mut self.inputs[place.input as usize];
            line.resize(place.length as usize, 0);
            let mut read = || -> io::Result<()> {
                input.file.seek(SeekFrom::Start(place.start))?;
                input.file.read_exact(&mut line)
            };
            read().with_context(|| format!("can't read {}", input.path.display()))?;
            line.push(b'\n');
            out.write_all(&line)?;
        }
        Ok(())
    }

    /// Writes the records to a file at one stroke, and beside it the settings that they were made with, so that a run can
    /// go on with it. `is_complete` says that nothing was lacking.
    ///
    /// # Errors
    /// As [`Merge::write`], [`Locked`](super::Locked), or the folder can't be written to.
    pub fn write_file(&mut self, path: &Path, is_complete: bool) -> Result<()> {
        let mut meta = Meta::new(self.settings.clone());
        if is_complete {
            meta.finish();
        }
        let replaced = path.exists().then(|| keep_runs_away(path));
        let _replaced = replaced.transpose()?;
        put_whole(path, |file| self.write(file))?;
        meta.write(path)
    }

    /// The records that count. What is known of a document that could not be opened, or of a file that could not be read,
    /// is of no interest any more once it has been.
    fn in_order(&self) -> Vec<PageInOrder<'_>> {
        let opened = self.documents.values().filter(|document| document.opened);
        let opened: HashSet<&str> = opened.map(|document| document.path.as_ref()).collect();
        let mut pages: Vec<_> = self
            .pages
            .iter()
            .filter_map(|(key, place)| {
                let document = self.documents.get(&key.document)?;
                let path = document.path.as_ref();
                let was_read = || *key == PageKey::new(None, path, 0) && opened.contains(path);
                let counts = key.page > 0 || !(document.opened || was_read());
                counts.then_some(PageInOrder { path, key, place })
            })
            .collect();
        pages.sort_unstable_by_key(|page| (page.path, page.key));
        pages
    }
}

struct PageInOrder<'a> {
    path: &'a str,
    key: &'a PageKey,
    place: &'a Place,
}

/// A document's path is that of its newest line.
fn note_document(documents: &mut HashMap<[u8; 16], Document>, line: &Line) {
    let document = documents
        .entry(line.key.document)
        .or_insert_with(|| Document {
            path: "".into(),
            page_count: None,
            opened: false,
        });
    if *document.path != *line.path {
        document.path = line.path.as_ref().into();
    }
    document.page_count = line.page_count.or(document.page_count);
    document.opened |= line.key.page > 0;
}

impl Input {
    fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let file = keep_runs_away(path)?;
        let is_file = file.metadata().is_ok_and(|data| data.is_file());
        anyhow::ensure!(is_file, "{shown} is not a regular file");
        let mut meta = Meta::read(path)?.with_context(|| {
            let beside = Meta::path(path);
            format!(
                "{} is not there to tell what the records in {shown} were made with; put it back",
                beside.display()
            )
        })?;
        let shard = match meta.settings.remove(SHARD) {
            None => Shard::WHOLE,
            Some(shard) => shard
                .as_str()
                .and_then(|shard| shard.parse().ok())
                .with_context(|| {
                    format!("{} names no shard: {shard}", Meta::path(path).display())
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

/// The settings of all inputs, but for the shard.
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
