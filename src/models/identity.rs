//! Which model it is: a checksum of the whole content of its folder, weights and all small files that change an answer.
//!
//! Files in the hub's cache are links to blobs that are named by their SHA-256, so nothing is read of those. Other weights
//! are read once; their checksums are kept in the user's cache folder until the files change.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use crossbeam_channel::bounded;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    cancel::{Cancel, NotReceived},
    model_files::{OPTIONAL, REQUIRED, weight_files},
    stamp::Stamp,
};

/// The checksums of smaller files are not worth keeping.
const MIN_REMEMBERED: u64 = 16 << 20;
/// What takes longer is said.
const PATIENCE: Duration = Duration::from_secs(2);

/// The identity of the model in `folder`, in 64 hexadecimal digits: another one wherever any byte differs of the weights,
/// the configuration, the tokenizer, the processor or the chat template. `say` is told once if it takes long.
///
/// # Errors
/// There are no weights, or a file can't be read.
pub fn identity(folder: &Path, say: impl Fn(&str)) -> Result<String> {
    let mut memory = Memory::of_user();
    Ok(identify(folder, &mut memory, SystemTime::now(), say)?.0)
}

/// The identity, and how many bytes of weights were read for it, which began at the time `at`.
fn identify(
    folder: &Path,
    memory: &mut Memory,
    at: SystemTime,
    say: impl Fn(&str),
) -> Result<(String, u64)> {
    let small = REQUIRED.into_iter().chain(OPTIONAL);
    let small = small.map(|name| folder.join(name)).filter(|it| it.exists());
    let mut checksums: Vec<(PathBuf, String)> = Vec::new();
    for path in small {
        let checksum = match blob_name(&path) {
            Some(name) => name,
            None => checksum(&path)?.sha256,
        };
        checksums.push((path, checksum));
    }
    let mut unknown = Vec::new();
    for path in weight_files(folder)? {
        match blob_name(&path).or_else(|| memory.get(&path)) {
            Some(checksum) => checksums.push((path, checksum)),
            None => unknown.push(path),
        }
    }
    let mut read = 0;
    for (path, found) in checksums_of(&unknown, folder, say)? {
        read += found.size;
        memory.add(&found, at);
        checksums.push((path, found.sha256));
    }
    checksums.sort();
    let mut hash = Sha256::new();
    for (path, checksum) in checksums {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        hash.update(format!("{name}\0{checksum}\n"));
    }
    Ok((format!("{:x}", hash.finalize()), read))
}

/// The SHA-256 of a file in the hub's cache: `snapshots/COMMIT/FILE` is a link to `blobs/SHA-256` where the file is large.
/// (The blobs of small ones are named by a checksum of another kind.)
fn blob_name(path: &Path) -> Option<String> {
    let blob = fs::read_link(path).ok()?;
    let name = blob.file_name()?.to_str()?;
    let is_sha256 = name.len() == 64 && name.chars().all(|c| c.is_ascii_hexdigit());
    let in_cache = blob.parent()?.file_name()? == "blobs";
    (is_sha256 && in_cache && path.exists()).then(|| name.to_ascii_lowercase())
}

/// The checksum of a file that was read.
#[derive(Debug)]
struct Checksum {
    sha256: String,
    /// In bytes.
    size: u64,
    /// What the file is known by; none if that changed while it was read.
    stamp: Option<Stamp>,
}

/// Reads several files at a time.
fn checksums_of(
    paths: &[PathBuf],
    folder: &Path,
    say: impl Fn(&str),
) -> Result<Vec<(PathBuf, Checksum)>> {
    thread::scope(|scope| {
        let (done, waiting) = bounded(1);
        let read = move || {
            let found = paths
                .par_iter()
                .map(|path| Ok((path.clone(), checksum(path)?)))
                .collect();
            drop(done);
            found
        };
        let reading = thread::Builder::new()
            .spawn_scoped(scope, read)
            .context("cannot start the thread that reads the weights")?;
        let ended = Cancel::default().within(PATIENCE).recv::<()>(&waiting);
        if matches!(ended, Err(NotReceived::Cancelled(_))) {
            say(&format!(
                "checking the model's files in {} (once, until they change)",
                folder.display()
            ));
        }
        let found = reading.join();
        found.unwrap_or_else(|_| bail!("the thread that reads the weights failed; this is a bug"))
    })
}

fn checksum(path: &Path) -> Result<Checksum> {
    let read = || -> std::io::Result<Checksum> {
        let mut file = File::open(path)?;
        let before = Stamp::of(&file.metadata()?);
        let (mut hash, mut buffer, mut size) = (Sha256::new(), vec![0; 1 << 20], 0);
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            size += count as u64;
        }
        let after = Stamp::of(&file.metadata()?);
        Ok(Checksum {
            sha256: format!("{:x}", hash.finalize()),
            size,
            stamp: before.filter(|_| before == after),
        })
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// Checksums from earlier runs. All failures to keep them are ignored: they only cost time.
#[derive(Debug, Default)]
struct Memory {
    known: HashMap<Stamp, String>,
    /// Where others are added; none to forget them.
    path: Option<PathBuf>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Entry {
    file: Stamp,
    sha256: String,
}

impl Memory {
    /// That in the user's cache folder.
    fn of_user() -> Self {
        let folder = dirs::cache_dir().map(|caches| caches.join("omnidocs"));
        folder.map_or_else(Self::default, |folder| {
            Self::open(folder.join("model-checksums.jsonl"))
        })
    }

    fn open(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let entries = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        Self {
            known: entries
                .map(|Entry { file, sha256 }| (file, sha256))
                .collect(),
            path: Some(path),
        }
    }

    /// The checksum of a file that has not changed since.
    fn get(&self, path: &Path) -> Option<String> {
        let stamp = Stamp::of(&fs::metadata(path).ok()?)?;
        self.known.get(&stamp).cloned()
    }

    /// Keeps a checksum that was taken from the time `at` on.
    fn add(&mut self, found: &Checksum, at: SystemTime) {
        let settled = found.stamp.filter(|stamp| stamp.is_settled(at));
        let (Some(path), Some(stamp)) = (&self.path, settled) else {
            return;
        };
        if found.size < MIN_REMEMBERED {
            return;
        }
        self.known.insert(stamp, found.sha256.clone());
        let entry = Entry {
            file: stamp,
            sha256: found.sha256.clone(),
        };
        let (Ok(line), Some(folder)) = (serde_json::to_string(&entry), path.parent()) else {
            return;
        };
        let _ = fs::create_dir_all(folder);
        if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
            // In one write, since others may add lines too; the break before it ends a line that was never finished.
            let _ = file.write_all(format!("\n{line}\n").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};

    use tempfile::TempDir;

    use super::*;

    /// A model folder with 24 MB of weights.
    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in REQUIRED.into_iter().chain(OPTIONAL) {
            fs::write(folder.path().join(name), format!("{{\"of\":\"{name}\"}}")).unwrap();
        }
        let weights: Vec<u8> = (0..24 << 20).map(|i: u32| (i % 251) as u8 | 1).collect();
        fs::write(folder.path().join("model.safetensors"), weights).unwrap();
        folder
    }

    fn of(folder: &Path) -> String {
        let mut forgetful = Memory::default();
        let silent = |line: &str| panic!("{line}");
        identify(folder, &mut forgetful, SystemTime::now(), silent)
            .unwrap()
            .0
    }

    #[test]
    fn zeroed_weights_change_the_identity() {
        let folder = folder();
        let before = of(folder.path());
        assert_eq!(before.len(), 64);
        assert_eq!(of(folder.path()), before);
        for start in [0, 9_999_999, 23 << 20] {
            let path = folder.path().join("model.safetensors");
            let whole = fs::read(&path).unwrap();
            let mut file = OpenOptions::new().write(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(start)).unwrap();
            file.write_all(&vec![0; 1 << 20]).unwrap();
            assert_ne!(of(folder.path()), before, "from {start} on");
            fs::write(&path, whole).unwrap();
        }
        assert_eq!(of(folder.path()), before);
    }

    #[test]
    fn small_files_that_change_answers_change_the_identity() {
        let folder = folder();
        let before = of(folder.path());
        for name in REQUIRED.into_iter().chain(OPTIONAL) {
            let path = folder.path().join(name);
            let content = fs::read(&path).unwrap();
            fs::write(&path, "{}").unwrap();
            assert_ne!(of(folder.path()), before, "{name}");
            fs::remove_file(&path).unwrap();
            assert_ne!(of(folder.path()), before, "no {name}");
            fs::write(&path, content).unwrap();
        }
        fs::write(folder.path().join("README.md"), "not part of it").unwrap();
        assert_eq!(of(folder.path()), before);
    }

    #[cfg(unix)]
    #[test]
    fn weights_are_hashed_again_only_when_changed() {
        let (folder, cache) = (folder(), tempfile::tempdir().unwrap());
        let path = cache.path().join("omnidocs/checksums.jsonl");
        let identify_in = |seconds| {
            let at = SystemTime::now() + Duration::from_secs(seconds);
            let mut memory = Memory::open(path.clone());
            identify(folder.path(), &mut memory, at, |line| panic!("{line}")).unwrap()
        };
        let (identity, read) = identify_in(0);
        assert_eq!(read, 24 << 20);
        assert_eq!(identify_in(10), (identity.clone(), 24 << 20), "too young");
        // A run that was killed in the middle of a line.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"file\":{\"dev").unwrap();
        assert_eq!(identify_in(10), (identity.clone(), 0));

        // The same size, and a time that was set back.
        let weights = folder.path().join("model.safetensors");
        let file = OpenOptions::new().write(true).open(&weights).unwrap();
        let time = file.metadata().unwrap().modified().unwrap();
        (&file).write_all(b"changed").unwrap();
        file.set_modified(time).unwrap();
        let (changed, read) = identify_in(10);
        assert_eq!(read, 24 << 20);
        assert_ne!(changed, identity);
        assert_eq!(identify_in(10), (changed, 0));
    }

    #[cfg(unix)]
    #[test]
    fn hub_blobs_and_a_copy_have_the_same_identity() {
        let (folder, cache) = (folder(), tempfile::tempdir().unwrap());
        let (snapshot, blobs) = (cache.path().join("snapshots/1"), cache.path().join("blobs"));
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(&blobs).unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            let name = if entry.file_name() == "model.safetensors" {
                checksum(&entry.path()).unwrap().sha256
            } else {
                entry.file_name().to_string_lossy().into_owned()
            };
            fs::copy(entry.path(), blobs.join(&name)).unwrap();
            let link = Path::new("../../blobs").join(name);
            std::os::unix::fs::symlink(link, snapshot.join(entry.file_name())).unwrap();
        }
        let mut memory = Memory::default();
        let of_snapshot = identify(&snapshot, &mut memory, SystemTime::now(), |_| ()).unwrap();
        assert_eq!(of_snapshot, (of(folder.path()), 0));
    }
}
