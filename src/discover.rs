//! Inputs → the sorted list of files to read. What can't be read stays in the list with its reason.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fmt,
    fs::{self, File},
    io::{self, ErrorKind as IoErrorKind, Read},
    path::{self, Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ignore::{DirEntry, WalkBuilder};

use crate::{
    document::{Format, Source},
    error::{ErrorKind, PageError, Stage},
};

/// The extensions that are taken from folders, in lower case.
const EXTENSIONS: [&str; 10] = [
    "pdf", "png", "jpg", "jpeg", "jfif", "webp", "bmp", "gif", "tif", "tiff",
];
const LOOKED_FOR: &str = "PDF, PNG, JPEG, WebP, BMP, GIF or TIFF";

/// What the user wants read.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Files and folders, in the order in which they are read.
    pub paths: Vec<PathBuf>,
    /// A list of more of them, read after `paths`; `-` is standard input.
    pub files_from: Option<PathBuf>,
    /// What to take from folders; everything if none.
    pub include: Option<Globs>,
    /// What to leave out of folders.
    pub exclude: Option<Globs>,
}

/// What discovery found.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order of the inputs, sorted bytewise by path within a folder, each path once.
    pub sources: Vec<Source>,
    /// What stood in the folders and is nothing that can be read.
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

/// Globs, of which one must match: with a `/` against the path below the folder given, else against the name.
#[derive(Debug, Clone)]
pub struct Globs {
    names: GlobSet,
    paths: GlobSet,
}

impl Globs {
    /// Compiles globs in which `*` stops at `/`, `**` does not, and `{a,b}` is either.
    pub fn new<S: AsRef<str>>(globs: &[S]) -> Result<Self, globset::Error> {
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for glob in globs.iter().map(AsRef::as_ref) {
            let set = if glob.contains('/') {
                &mut paths
            } else {
                &mut names
            };
            set.add(
                GlobBuilder::new(glob.trim_start_matches("./"))
                    .literal_separator(true)
                    .build()?,
            );
        }
        Ok(Self {
            names: names.build()?,
            paths: paths.build()?,
        })
    }

    fn match_below(&self, folder: &Path, path: &Path) -> bool {
        self.paths
            .is_match(path.strip_prefix(folder).unwrap_or(path))
            || path
                .file_name()
                .is_some_and(|name| self.names.is_match(name))
    }
}

/// Lists every file that the inputs stand for.
///
/// Files named by the user are taken whatever they are called; from folders, what has a known extension, or no
/// extension and the first bytes of a known format. Hidden files in folders are skipped. A missing path or a folder
/// that can't be listed is a source with an error; it is an error of the run if there is nothing else.
pub fn discover(inputs: &Inputs) -> Result<Found> {
    let mut paths = inputs.paths.clone();
    if let Some(list) = &inputs.files_from {
        paths.extend(read_list(list)?);
    }
    let mut listing = Listing {
        inputs,
        found: Found::default(),
        seen: HashSet::new(),
        left_out: 0,
    };
    for path in &paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => listing.add_folder(path),
            Ok(metadata) => listing.add(path.clone(), Ok(metadata.len())),
            Err(error) => listing.add(path.clone(), Err(&error)),
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
    found: Found,
    /// Absolute paths of all sources.
    seen: HashSet<PathBuf>,
    /// Files that a glob left out.
    left_out: usize,
}

impl Listing<'_> {
    fn add(&mut self, path: PathBuf, size: Result<u64, &io::Error>) {
        // `./a.pdf` and `a.pdf` are the same; `x/../a.pdf` may not be, where x is a link.
        if self
            .seen
            .insert(path::absolute(&path).unwrap_or_else(|_| path.clone()))
        {
            let error = size
                .err()
                .map(|error| PageError::new(ErrorKind::Unreadable, Stage::Open, reason(error)));
            self.found.sources.push(Source {
                path,
                size_bytes: size.ok(),
                error,
            });
        }
    }

    fn add_folder(&mut self, folder: &Path) {
        let (exclude, root) = (self.inputs.exclude.clone(), folder.to_owned());
        let walk = WalkBuilder::new(folder)
            .standard_filters(false)
            .hidden(true)
            .follow_links(true)
            .filter_entry(move |entry| {
                // A folder left out is not entered; files are counted in `keep`.
                !is_folder(entry)
                    || !exclude
                        .as_ref()
                        .is_some_and(|globs| globs.match_below(&root, entry.path()))
            })
            .build();
        let mut files = Vec::new();
        for entry in walk {
            match entry {
                Ok(entry) if is_folder(&entry) => {}
                Ok(entry)
                    if self.keep(
                        folder,
                        entry.path(),
                        entry.file_type().is_some_and(|kind| kind.is_file()),
                    ) =>
                {
                    let size = entry.metadata().map(|metadata| metadata.len());
                    files.push((entry.into_path(), size.map_err(into_io)));
                }
                Ok(_) => {}
                Err(error) => {
                    let Some((path, error)) = failure(error, folder) else {
                        continue;
                    };
                    // A link to nowhere counts as what it is called; anything else is a folder that can't be listed.
                    if !path.is_symlink() || self.keep(folder, &path, true) {
                        files.push((path, Err(error)));
                    }
                }
            }
        }
        files.sort_by(|(a, _), (b, _)| {
            a.as_os_str()
                .as_encoded_bytes()
                .cmp(b.as_os_str().as_encoded_bytes())
        });
        for (path, size) in files {
            self.add(path, size.as_ref().copied());
        }
    }

    /// Whether a file met in a folder is one to read.
    fn keep(&mut self, folder: &Path, path: &Path, is_regular: bool) -> bool {
        let Inputs {
            include, exclude, ..
        } = self.inputs;
        let included = include
            .as_ref()
            .is_none_or(|globs| globs.match_below(folder, path));
        let excluded = exclude
            .as_ref()
            .is_some_and(|globs| globs.match_below(folder, path));
        if !included || excluded {
            self.left_out += 1;
            return false;
        }
        let extension = path
            .extension()
            .map(|extension| extension.to_string_lossy().to_lowercase());
        let known = match &extension {
            Some(extension) => EXTENSIONS.contains(&extension.as_str()),
            None => is_regular && shows_known_format(path),
        };
        if known && is_regular {
            return true;
        }
        let kind = extension.map_or_else(
            || "no extension".to_owned(),
            |extension| format!(".{extension}"),
        );
        *self.found.ignored.0.entry(kind).or_default() += 1;
        false
    }
}

fn is_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_dir())
}

fn shows_known_format(path: &Path) -> bool {
    let mut head = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(Format::HEAD as u64).read_to_end(&mut head));
    read.is_ok() && Format::of(&head).is_some()
}

/// The path and the reason of what the walker ran into; none for a link back into its own folders, since everything
/// there is met on the direct way.
fn failure(error: ignore::Error, folder: &Path) -> Option<(PathBuf, io::Error)> {
    let (mut path, mut inner) = (folder.to_owned(), error);
    loop {
        match inner {
            ignore::Error::WithPath { path: at, err } => (path, inner) = (at, *err),
            ignore::Error::WithDepth { err, .. } => inner = *err,
            ignore::Error::Loop { child, ancestor } => {
                tracing::info!(
                    "{} leads back to {}; not entered again",
                    child.display(),
                    ancestor.display()
                );
                return None;
            }
            other => return Some((path, into_io(other))),
        }
    }
}

fn into_io(error: ignore::Error) -> io::Error {
    let text = error.to_string();
    error
        .into_io_error()
        .unwrap_or_else(|| io::Error::other(text))
}

/// A reason that names no path, since the record does.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        IoErrorKind::NotFound => "there is no such file or folder".to_owned(),
        IoErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        _ => format!("it can't be read: {error}"),
    }
}

/// The paths of a `--files-from` list: one a line, or separated by NUL if there is one.
fn read_list(list: &Path) -> Result<Vec<PathBuf>> {
    let mut content = Vec::new();
    if list == Path::new("-") {
        io::stdin()
            .lock()
            .read_to_end(&mut content)
            .context("can't read the list of --files-from from the standard input")?;
    } else {
        content = fs::read(list)
            .with_context(|| format!("can't read the list of --files-from: {}", list.display()))?;
    }
    let separator = if content.contains(&0) { 0 } else { b'\n' };
    let paths = content.split(|&byte| byte == separator);
    let paths = paths.map(|path| {
        if separator == 0 {
            path
        } else {
            path.strip_suffix(b"\r").unwrap_or(path)
        }
    });
    paths
        .filter(|path| !path.trim_ascii().is_empty())
        .map(path_of_bytes)
        .collect()
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // elsewhere paths are not bytes
fn path_of_bytes(bytes: &[u8]) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Ok(PathBuf::from(OsStr::from_bytes(bytes)))
}

#[cfg(not(unix))]
fn path_of_bytes(bytes: &[u8]) -> Result<PathBuf> {
    let path = std::str::from_utf8(bytes).context("the list of --files-from is not UTF-8")?;
    Ok(PathBuf::from(OsStr::new(path)))
}

/// One sentence: what was looked for, where, and what else was there.
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
            "found no {LOOKED_FOR} file in {}",
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
            "--include and --exclude left out {}",
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
        parts.push(format!(
            "not readable: {}",
            shortened(&failed.iter().map(named).collect::<Vec<_>>())
        ));
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
