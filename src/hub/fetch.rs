//! Downloads one snapshot into the cache: lists its files once, then fetches the missing ones.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, Result};
use hf_hub::CacheRepo;
use serde::Deserialize;

use super::{
    failure::Failure,
    name::ModelName,
    origin::Hub,
    progress::FetchProgress,
    request::Follow,
    transfer::{Transfer, is_whole},
};
use crate::{
    cancel::Cancel,
    model_files::{INDEX, OPTIONAL, REQUIRED, WEIGHTS, describe_instead, is_plain, weight_names},
};

/// Timeout of listing a model's files.
const LISTING_TIMEOUT: Duration = Duration::from_secs(30);

/// A model's files at one commit, from the hub's `/api/models/…/revision/…?blobs=true`.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

/// One file; mirrors may omit everything but its name.
#[derive(Debug, Deserialize)]
struct Sibling {
    #[serde(rename = "rfilename")]
    name: String,
    /// In bytes.
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    sha256: String,
}

impl Listing {
    /// Asks the hub for the commit and the files of `model`'s revision.
    pub(super) fn ask(hub: &Hub, model: &ModelName) -> Result<Self, Failure> {
        let path = model.repo(&model.revision).api_url();
        let url = format!("{}/api/{path}?blobs=true", hub.endpoint);
        let requests = hub.requests();
        let mut response = requests.get(&url, None, Follow::All, Some(LISTING_TIMEOUT))?;
        let body = response.body_mut().read_json();
        let listing: Self = body.map_err(|error| {
            Failure::of_request(&error, ureq::Error::to_string, requests.patience)
        })?;
        if is_plain(&listing.sha) {
            Ok(listing)
        } else {
            Err(Failure::Answer(format!("commit {:?}", listing.sha)))
        }
    }

    fn file(&self, name: &str) -> Option<&Sibling> {
        self.siblings.iter().find(|file| file.name == name)
    }
}

impl Sibling {
    /// The name of this file's blob in the cache: the hub's `ETag`.
    fn blob(&self) -> Option<&str> {
        let lfs = self.lfs.as_ref().map(|lfs| lfs.sha256.as_str());
        lfs.or(self.blob_id.as_deref())
            .filter(|name| is_plain(name))
    }

    /// Whether `path` has this file's size.
    fn is_at(&self, path: &Path) -> bool {
        length(path).is_some_and(|length| self.size.is_none_or(|size| size == length))
    }
}

/// The download of one snapshot.
#[derive(Debug)]
pub(super) struct Fetch {
    hub: Hub,
    model: ModelName,
    listing: Rc<Listing>,
    progress: FetchProgress,
    /// The model at the listing's commit, so that a push in the middle can't mix two versions.
    cache: CacheRepo,
    transfer: Transfer,
    /// The snapshot.
    folder: PathBuf,
    /// Held from the first missing file on; a complete snapshot in a read-only cache needs no lock.
    lock: Option<File>,
    /// Whether waiting for another process has been reported.
    reported: bool,
}

impl Fetch {
    pub(super) fn new(
        hub: Hub,
        model: ModelName,
        listing: Listing,
        progress: FetchProgress,
        cancel: &Cancel,
    ) -> Self {
        let repo = model.repo(&listing.sha);
        let cache = hub.cache.repo(repo.clone());
        let transfer = Transfer {
            requests: hub.requests(),
            endpoint: hub.endpoint.clone(),
            cache: hub.cache.repo(repo.clone()),
            repo,
            progress,
            cancel: cancel.clone(),
        };
        Self {
            folder: cache.pointer_path(&listing.sha),
            hub,
            model,
            listing: Rc::new(listing),
            progress,
            cache,
            transfer,
            lock: None,
            reported: false,
        }
    }

    /// The snapshot's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fetches the missing small files, of a model that is complete on the hub.
    pub(super) fn small_files(&mut self) -> Result<()> {
        let listing = Rc::clone(&self.listing);
        for name in REQUIRED {
            self.known(&listing, name)?;
        }
        if listing.file(INDEX).is_none() {
            self.known(&listing, WEIGHTS)?;
        }
        for name in REQUIRED.into_iter().chain(OPTIONAL) {
            if let Some(file) = listing.file(name) {
                self.bring(file)?;
            }
        }
        Ok(())
    }

    /// Fetches the missing weights, after the small files.
    pub(super) fn weights(&mut self) -> Result<()> {
        let listing = Rc::clone(&self.listing);
        if listing.file(INDEX).is_some() {
            let index = self.bring(self.known(&listing, INDEX)?)?;
            for name in weight_names(index.parent().unwrap_or(&index))? {
                self.bring(self.known(&listing, &name)?)?;
            }
        } else {
            self.bring(self.known(&listing, WEIGHTS)?)?;
        }
        self.point_revision_here()
    }

    /// The required file `name`.
    fn known<'a>(&self, listing: &'a Listing, name: &str) -> Result<&'a Sibling> {
        listing.file(name).with_context(|| {
            let names = listing.siblings.iter().map(|file| file.name.as_str());
            let instead =
                describe_instead(names).map_or_else(String::new, |what| format!(" ({what})"));
            format!(
                "{} on {} has no {name}: omnidocs cannot run this model{instead}",
                self.model,
                self.hub.host()
            )
        })
    }

    /// Fetches one file into the snapshot, unless it is there.
    fn bring(&mut self, file: &Sibling) -> Result<PathBuf> {
        let pointer = self.folder.join(&file.name);
        while !file.is_at(&pointer) {
            if self.lock.is_none() {
                self.lock = Some(self.wait_for(&self.lock_path())?);
                continue;
            }
            let blob = file.blob().map(|name| self.cache.blob_path(name));
            if let Some(blob) = &blob {
                // The hub's tools in another program: their lock, so that what it brings is not brought again.
                self.wait_for(&blob.with_extension("lock"))?;
            }
            let adopted = self.adopt(file, blob.as_deref(), &pointer);
            if adopted.map_err(|error| self.explain(file, Failure::Disk(error)))? {
                continue;
            }
            match self.transfer.download(&file.name) {
                Ok(blob) => {
                    let linked = self.link(&blob, &pointer);
                    linked.map_err(|error| self.explain(file, Failure::Disk(error)))?;
                    if !file.is_at(&pointer) {
                        return Err(self.discard(file, &pointer));
                    }
                }
                Err(Failure::Busy(lock)) => drop(self.wait_for(&lock)?),
                Err(failure) => return Err(self.explain(file, failure)),
            }
        }
        Ok(pointer)
    }

    /// Links the file into the snapshot if its blob is in the cache already, from another revision or a download killed
    /// at its end. Removes leftovers that would block a download.
    fn adopt(&self, file: &Sibling, blob: Option<&Path>, pointer: &Path) -> io::Result<bool> {
        // A link whose blob is gone, or a file that was cut short.
        if pointer.symlink_metadata().is_ok() {
            fs::remove_file(pointer)?;
        }
        let Some(blob) = blob else {
            return Ok(false);
        };
        let part = blob.with_extension("part");
        if file.size.is_some() && file.is_at(&part) {
            if is_whole(
                &part,
                blob.file_name().and_then(OsStr::to_str).unwrap_or_default(),
            )? {
                fs::rename(&part, blob)?;
            } else {
                fs::remove_file(&part)?;
            }
        } else if let (Some(size), Some(here)) = (file.size, length(&part))
            && here > size
        {
            fs::remove_file(&part)?;
        }
        if !file.is_at(blob) {
            return Ok(false);
        }
        self.link(blob, pointer)?;
        Ok(true)
    }

    fn link(&self, blob: &Path, pointer: &Path) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        link(blob, pointer)
    }

    /// Removes a download of the wrong size from the cache.
    fn discard(&self, file: &Sibling, pointer: &Path) -> anyhow::Error {
        let length = length(pointer).unwrap_or_default();
        // The error below is the one to tell.
        let _ = fs::canonicalize(pointer).and_then(fs::remove_file);
        let _ = fs::remove_file(pointer);
        let cause = format!(
            "received {length} bytes of {}",
            file.size.unwrap_or_default()
        );
        self.explain(file, Failure::Answer(cause))
    }

    /// Takes the lock of this model, so that only one process fetches it.
    fn lock_path(&self) -> PathBuf {
        let name = format!("{}.omnidocs.lock", self.transfer.repo.folder_name());
        self.hub.cache.path().join(".locks").join(name)
    }

    /// Takes the lock at `path`, however long that takes. Dropping the file releases it.
    fn wait_for(&mut self, path: &Path) -> Result<File> {
        let mut lock = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = File::create(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => {
                    self.say_waiting();
                    file.lock()?;
                }
            }
            Ok(file)
        };
        lock().map_err(|error| {
            let what = path.display().to_string();
            self.hub.explain(&self.model, &what, Failure::Disk(error))
        })
    }

    /// Reports once that it waits for another process.
    fn say_waiting(&mut self) {
        if !std::mem::replace(&mut self.reported, true) {
            self.progress.say(&format!(
                "another process is fetching {}: waiting for it",
                self.model
            ));
        }
    }

    /// Records the commit of a branch or tag once the snapshot is complete, for runs without network.
    fn point_revision_here(&self) -> Result<()> {
        let named = self.hub.cache.repo(self.model.repo(&self.model.revision));
        if named.get(REQUIRED[0]) == Some(self.folder.join(REQUIRED[0])) {
            return Ok(());
        }
        named.create_ref(&self.listing.sha).map_err(|error| {
            self.hub
                .explain(&self.model, &self.model.to_string(), Failure::Disk(error))
        })
    }

    fn explain(&self, file: &Sibling, failure: Failure) -> anyhow::Error {
        let what = format!("{} of {}", file.name, self.model);
        self.hub.explain(&self.model, &what, failure)
    }
}

/// The size in bytes of the file at `path`, links followed.
fn length(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.len())
}

/// A relative link, as the cache has it, from a snapshot to a blob; a hard link on systems without links.
fn link(blob: &Path, pointer: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let name = blob.file_name().unwrap_or_default();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(name), pointer)
    }
    #[cfg(not(unix))]
    fs::hard_link(blob, pointer)
}
