//! What is in a folder, and in the folders that it links to.
//!
//! Each real folder is listed once, however many links lead to it: under its own path if it is in the folder itself, else
//! under the first of the links, sorted bytewise. So sibling folders that link to each other end, and give the same list
//! each time.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    ffi::OsString,
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ignore::{DirEntry, WalkBuilder};

/// Something in a folder that is no folder.
#[derive(Debug)]
pub(super) enum Item {
    /// With what it is, links followed.
    File(PathBuf, Metadata),
    /// What can't be looked at: a folder, or a link to nowhere.
    Unreadable(PathBuf, io::Error),
}

/// The walk through one folder.
pub(super) struct Walk<E> {
    /// Folders that are not entered.
    excluded: E,
    /// The folders that were entered, and where.
    entered: Arc<Mutex<HashMap<FolderId, PathBuf>>>,
    /// Links to folders that are not entered yet, in the order of their bytes.
    links: BTreeSet<OsString>,
    /// Whether there was any link.
    pub(super) has_links: bool,
}

impl<E: Fn(&Path) -> bool + Clone + Send + Sync + 'static> Walk<E> {
    pub(super) fn new(excluded: E) -> Self {
        Self {
            excluded,
            entered: Arc::default(),
            links: BTreeSet::new(),
            has_links: false,
        }
    }

    /// Passes everything in `folder` to `take`, in no particular order.
    pub(super) fn run(&mut self, folder: &Path, take: &mut impl FnMut(Item)) {
        self.enter(folder, take);
        while let Some(link) = self.links.pop_first() {
            let link = PathBuf::from(link);
            if self.is_new(&link) {
                self.enter(&link, take);
            }
        }
    }

    /// Whether a link leads to a folder that was not entered yet.
    fn is_new(&self, link: &Path) -> bool {
        let Ok(metadata) = fs::metadata(link) else {
            return true; // The walk says why.
        };
        let entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(there) = entered.get(&FolderId::of(link, &metadata)) else {
            return true;
        };
        let (shown, there_shown) = (link.display(), there.display());
        if link.starts_with(there) {
            tracing::info!("{shown} links back to {there_shown}; skipped");
        } else {
            tracing::info!("{shown} links to {there_shown}, which is listed; skipped");
        }
        false
    }

    /// Walks through a folder without following links to folders, which are kept for later.
    fn enter(&mut self, folder: &Path, take: &mut impl FnMut(Item)) {
        let (excluded, entered) = (self.excluded.clone(), Arc::clone(&self.entered));
        // The walk does not ask about its start.
        if let Ok(metadata) = fs::metadata(folder) {
            let mut entered = entered.lock().unwrap_or_else(PoisonError::into_inner);
            entered.insert(FolderId::of(folder, &metadata), folder.to_owned());
        }
        let enters = move |entry: &DirEntry| {
            let is_folder = entry.file_type().is_some_and(|it| it.is_dir());
            if !is_folder || entry.depth() == 0 {
                return true;
            }
            let Ok(metadata) = fs::metadata(entry.path()) else {
                return true;
            };
            if excluded(entry.path()) {
                return false;
            }
            let mut entered = entered.lock().unwrap_or_else(PoisonError::into_inner);
            match entered.entry(FolderId::of(entry.path(), &metadata)) {
                Entry::Occupied(_) => false,
                Entry::Vacant(place) => {
                    place.insert(entry.path().to_owned());
                    true
                }
            }
        };
        let walk = WalkBuilder::new(folder)
            .standard_filters(false)
            .hidden(true)
            .follow_links(false)
            .filter_entry(enters)
            .build();
        for entry in walk {
            match entry {
                Ok(entry) => self.take_entry(entry, take),
                Err(error) => {
                    let (path, error) = unreadable(error, folder);
                    take(Item::Unreadable(path, error));
                }
            }
        }
    }

    fn take_entry(&mut self, entry: DirEntry, take: &mut impl FnMut(Item)) {
        let is_link = entry.depth() > 0 && entry.path_is_symlink();
        self.has_links |= is_link;
        if !is_link && entry.file_type().is_none_or(|kind| kind.is_dir()) || entry.depth() == 0 {
            return;
        }
        let path = entry.into_path();
        match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_dir() => take(Item::File(path, metadata)),
            Ok(_) if (self.excluded)(&path) => {}
            Ok(_) => drop(self.links.insert(path.into_os_string())),
            Err(error) => take(Item::Unreadable(path, error)),
        }
    }
}

/// What a folder is known by, whatever path leads to it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FolderId(#[cfg(unix)] (u64, u64), #[cfg(not(unix))] PathBuf);

impl FolderId {
    #[cfg(unix)]
    fn of(_: &Path, metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self((metadata.dev(), metadata.ino()))
    }

    #[cfg(not(unix))]
    fn of(path: &Path, _: &Metadata) -> Self {
        Self(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
    }
}

/// The path and the reason of a walker's error.
fn unreadable(error: ignore::Error, folder: &Path) -> (PathBuf, io::Error) {
    let (mut path, mut inner) = (folder.to_owned(), error);
    loop {
        match inner {
            ignore::Error::WithPath { path: at, err } => (path, inner) = (at, *err),
            ignore::Error::WithDepth { err, .. } => inner = *err,
            other => {
                let text = other.to_string();
                let error = other.into_io_error();
                return (path, error.unwrap_or_else(|| io::Error::other(text)));
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{os::unix::fs::symlink, time::Instant};

    use super::*;

    fn walked(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut walk = Walk::new(|_: &Path| false);
        walk.run(folder, &mut |item| match item {
            Item::File(path, _) => {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
            Item::Unreadable(path, error) => panic!("{}: {error}", path.display()),
        });
        found.sort();
        found
    }

    #[test]
    fn sibling_folders_linked_to_each_other_are_listed_once() {
        let tree = tempfile::tempdir().unwrap();
        let at = |path: String| tree.path().join(path);
        for one in 0..12 {
            fs::create_dir(at(format!("{one}"))).unwrap();
            fs::write(at(format!("{one}/page.pdf")), "").unwrap();
            for other in 0..12 {
                symlink(format!("../{other}"), at(format!("{one}/to-{other}"))).unwrap();
            }
        }
        let started = Instant::now();
        let mut expected: Vec<_> = (0..12).map(|one| format!("{one}/page.pdf")).collect();
        expected.sort();
        assert_eq!(walked(tree.path()), expected);
        assert!(started.elapsed().as_secs() < 5);
    }

    #[test]
    fn folder_outside_is_listed_under_its_first_link() {
        let tree = tempfile::tempdir().unwrap();
        let at = |path: &str| tree.path().join(path);
        for folder in ["in/b", "in/c", "out/deep"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("out/deep/page.pdf"), "").unwrap();
        symlink(at("out"), at("in/z")).unwrap();
        symlink(at("out"), at("in/b/a")).unwrap();
        symlink(at("out/deep"), at("in/c/inner")).unwrap();
        symlink(at("in"), at("out/back")).unwrap();
        assert_eq!(walked(&at("in")), ["b/a/deep/page.pdf"]);
    }
}
