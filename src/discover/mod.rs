//! Inputs → the sorted list of files to read. Unreadable files stay in the list with their error.

mod globs;
mod hints;
mod list;
mod walk;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    fs::{self, File},
    io::{self, ErrorKind as IoErrorKind, Read},
    path::{self, Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, bail};

pub use self::globs::Globs;
use self::walk::{Item, Walk};
use crate::{
    error::{ErrorKind, PageError, Stage},
    formats::{self, Format, is_known_extension},
    page::Source,
};

/// The inputs as the user gave them.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Files and folders, in reading order.
    pub paths: Vec<PathBuf>,
    /// A list of further inputs, read after `paths`; `-` is stdin.
    pub files_from: Option<PathBuf>,
    /// Selects files in folders; all if `None`.
    pub include: Option<Globs>,
    /// Excludes files and folders in folders.
    pub exclude: Option<Globs>,
}

/// What discovery found.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order of the inputs, sorted bytewise by path within a folder, each path once.
    pub sources: Vec<Source>,
    /// Files in folders that are of no known format.
    pub ignored: Ignored,
}

/// Files of other kinds, counted by extension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignored(pub BTreeMap<String, usize>);

impl fmt::Display for Ignored {
    /// `12 other files (.txt 10, .docx 2)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let total: usize = self.0.values().sum();
        let mut kinds: Vec<_> = self.0.iter().collect();
        kinds.sort_by_key(|&(_, count)| std::cmp::Reverse(*count));
        let mut shown: Vec<_> = kinds
            .iter()
            .take(SHOWN)
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        if kinds.len() > SHOWN {
            shown.push("…".to_owned());
        }
        write!(
            f,
            "{total} other {} ({})",
            if total == 1 { "file" } else { "files" },
            shown.join(", ")
        )
    }
}

/// Lists the files to read.
///
/// Files named by the user are always listed. In folders, files with a known extension are listed, and files without
/// one whose first bytes match a known format; hidden files are skipped. A missing path or an unreadable folder is a
/// source with an error; if there is nothing else, the run fails. `found_so_far` counts meanwhile.
pub fn discover(inputs: &Inputs, found_so_far: &AtomicUsize) -> Result<Found> {
    let mut paths = inputs.paths.clone();
    if let Some(list) = &inputs.files_from {
        paths.extend(list::read(list)?);
    }
    let mut listing = Listing {
        inputs,
        found_so_far,
        found: Found::default(),
        seen: HashSet::new(),
        left_out: 0,
    };
    for path in &paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => listing.add_folder(path),
            Ok(metadata) if hints::is_stream(&metadata) => {
                let error = io::Error::new(IoErrorKind::InvalidInput, hints::STREAM);
                listing.add(path.clone(), &identity(path), Err(&error));
            }
            Ok(metadata) => listing.add(path.clone(), &identity(path), Ok(metadata.len())),
            Err(error) => listing.add(path.clone(), &identity(path), Err(&error)),
        }
    }
    if listing
        .found
        .sources
        .iter()
        .all(|source| source.error.is_some())
    {
        bail!(nothing_found(&paths, &listing));
    }
    Ok(listing.found)
}

struct Listing<'a> {
    inputs: &'a Inputs,
    found_so_far: &'a AtomicUsize,
    found: Found,
    /// The [`identity`] of each source.
    seen: HashSet<PathBuf>,
    /// Number of files excluded by globs.
    left_out: usize,
}

impl Listing<'_> {
    fn add(&mut self, path: PathBuf, identity: &Path, size: Result<u64, &io::Error>) {
        if !self.seen.insert(identity.to_owned()) {
            tracing::info!("{} is listed twice; it is read once", path.display());
            return;
        }
        self.found_so_far
            .fetch_max(self.found.sources.len() + 1, Ordering::Relaxed);
        let failed =
            |error| PageError::new(ErrorKind::Unreadable, Stage::Open, reason(&path, error));
        let (size_bytes, error) = (size.ok(), size.err().map(failed));
        self.found.sources.push(Source {
            path,
            size_bytes,
            error,
        });
    }

    fn add_folder(&mut self, folder: &Path) {
        let (exclude, root) = (self.inputs.exclude.clone(), folder.to_owned());
        let mut walk = Walk::new(move |path: &Path| matches(exclude.as_ref(), &root, path));
        let mut files: Vec<(PathBuf, Result<u64, io::Error>)> = Vec::new();
        walk.run(folder, &mut |item| {
            match item {
                Item::File(path, metadata) => {
                    if self.selects(folder, &path, metadata.is_file()) {
                        files.push((path, Ok(metadata.len())));
                    }
                }
                Item::Unreadable(path, error) => {
                    // A link to nowhere is what it is called; anything else is a folder that can't be listed.
                    if !path.is_symlink() || self.selects(folder, &path, true) {
                        files.push((path, Err(error)));
                    }
                }
            }
            self.found_so_far
                .store(self.found.sources.len() + files.len(), Ordering::Relaxed);
        });
        files.sort_by(|(a, _), (b, _)| bytes(a).cmp(bytes(b)));
        let root = identity(folder);
        for (path, size) in files {
            let identity = match path.strip_prefix(folder) {
                Ok(below) if !walk.has_links => root.join(below),
                _ => identity(&path),
            };
            self.add(path, &identity, size.as_ref().copied());
        }
    }

    /// Whether to read this file, found in a folder.
    fn selects(&mut self, folder: &Path, path: &Path, is_regular: bool) -> bool {
        let Inputs {
            include, exclude, ..
        } = self.inputs;
        let included = include.is_none() || matches(include.as_ref(), folder, path);
        if !included || matches(exclude.as_ref(), folder, path) {
            self.left_out += 1;
            return false;
        }
        let extension = path
            .extension()
            .map(|extension| extension.to_string_lossy().to_lowercase());
        let known = match &extension {
            Some(extension) => is_known_extension(extension),
            None => is_regular && shows_known_format(path),
        };
        if !(known && is_regular) {
            let kind = extension.map_or_else(
                || "no extension".to_owned(),
                |extension| format!(".{extension}"),
            );
            *self.found.ignored.0.entry(kind).or_default() += 1;
        }
        known && is_regular
    }
}

/// The identity of a file: equal for two paths of the same file; for a missing file its absolute path.
fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path)
        .or_else(|_| path::absolute(path))
        .unwrap_or_else(|_| path.to_owned())
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

fn matches(globs: Option<&Globs>, folder: &Path, path: &Path) -> bool {
    globs.is_some_and(|globs| globs.match_below(folder, path))
}

fn shows_known_format(path: &Path) -> bool {
    let mut head = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(Format::HEAD as u64).read_to_end(&mut head));
    read.is_ok() && Format::of(&head).is_some()
}

/// The reason without the path, which the record has.
fn reason(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        IoErrorKind::NotFound => {
            let hint = hints::for_missing(path).map(|hint| format!("; {hint}"));
            format!(
                "there is no such file or folder{}",
                hint.unwrap_or_default()
            )
        }
        IoErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}

/// The error for no documents: what was looked for, where, and what else was there.
fn nothing_found(paths: &[PathBuf], listing: &Listing) -> String {
    let failed = &listing.found.sources;
    let searched: Vec<_> = paths
        .iter()
        .filter(|path| path.is_dir())
        .map(|path| path.display().to_string())
        .collect();
    let mut parts = Vec::new();
    if !searched.is_empty() {
        parts.push(format!(
            "found no {} file in {}",
            formats::alternatives(),
            shortened(&searched)
        ));
    } else if failed.is_empty() {
        parts.push("the list of --files-from is empty".to_owned());
    }
    if !listing.found.ignored.0.is_empty() {
        parts.push(format!("ignored {}", listing.found.ignored));
    }
    if listing.left_out > 0 {
        parts.push(format!(
            "--include and --exclude excluded {}",
            listing.left_out
        ));
    }
    if !failed.is_empty() {
        let named = |source: &Source| {
            source
                .error
                .as_ref()
                .map(|error| format!("{} ({error})", source.path.display()))
                .unwrap_or_default()
        };
        parts.push(shortened(&failed.iter().map(named).collect::<Vec<_>>()));
    }
    format!("nothing to read: {}", parts.join("; "))
}

fn shortened(items: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = items
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Set `OMNIDOCS_LONG_TESTS` for this one: it makes 100,000 files.
    #[test]
    fn discover_lists_100_000_files_in_two_seconds() {
        if std::env::var_os("OMNIDOCS_LONG_TESTS").is_none() {
            return;
        }
        let tree = tempfile::tempdir().unwrap();
        for folder in 0..100 {
            let folder = tree.path().join(format!("{:02}/{folder:02}", folder % 10));
            fs::create_dir_all(&folder).unwrap();
            for file in 0..1000 {
                fs::write(folder.join(format!("{file:03}.pdf")), "%PDF-").unwrap();
            }
        }
        let inputs = Inputs {
            paths: vec![tree.path().to_owned()],
            ..Inputs::default()
        };
        let started = Instant::now();
        let sources = discover(&inputs, &AtomicUsize::new(0)).unwrap().sources;
        let took = started.elapsed();
        println!("100,000 files listed in {took:.2?}");
        assert_eq!(sources.len(), 100_000);
        assert!(sources.is_sorted_by(|a, b| bytes(&a.path) < bytes(&b.path)));
        assert!(took.as_secs_f64() < 2.0, "{took:?}");
    }
}
