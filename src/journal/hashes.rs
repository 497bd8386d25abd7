//! `results.jsonl.hashes`: a cache of file checksums, so that a resume over a large archive need not hash every file
//! again.
//!
//! One entry per path. An entry is valid while the file at its path keeps its device, inode, size, mtime and ctime
//! (which no program can set). An entry only spares hashing documents whose pages are all done: a document with pages
//! left to read is hashed regardless. The file may be deleted at any time. The end of a run rewrites it without
//! outdated lines.

use std::{
    collections::HashMap,
    fs::{File, Metadata, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::place::{beside, put_whole};
use crate::stamp::Stamp;

/// Maximum length of a line; longer ones are not ours.
const MAX_LINE: u64 = 1 << 16;

/// The part of a stamp that is kept in memory.
fn digest(stamp: Stamp) -> [u8; 16] {
    let [(a, b), (c, d)] = stamp.changed;
    let mut hash = Sha256::new();
    for part in [stamp.device, stamp.inode, stamp.size] {
        hash.update(part.to_le_bytes());
    }
    for part in [a, b, c, d] {
        hash.update(part.to_le_bytes());
    }
    half(hash)
}

fn half(hash: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Entry {
    path: String,
    file: Stamp,
    sha256: String,
}

/// The part of a line that is kept in memory.
#[derive(Debug, Clone, Copy)]
struct Known {
    path: [u8; 16],
    stamp: [u8; 16],
    sha256: [u8; 32],
    /// Byte offset of the line in the file.
    start: u64,
}

/// The cache of checksums. Errors in reading or writing it are ignored: they only cost time.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    /// Entries of earlier runs, by path.
    known: Vec<Known>,
    /// Entries of this run: stamp and checksum by path.
    added: HashMap<[u8; 16], ([u8; 16], [u8; 32])>,
    kept: Option<Kept>,
}

/// The cache file.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: File,
    /// Outdated or invalid lines.
    stale: usize,
}

impl Hashes {
    fn path(journal: &Path) -> PathBuf {
        beside(journal, ".hashes")
    }

    /// Opens the cache beside `journal` for reading and appending.
    pub(super) fn open(journal: &Path) -> Self {
        let path = Self::path(journal);
        let mut options = OpenOptions::new();
        let Ok(mut file) = options.create(true).read(true).append(true).open(&path) else {
            return Self::default();
        };
        let found = read(&mut file);
        // A line that was never finished must not spoil the next one.
        if found.is_torn {
            let _ = file.write_all(b"\n");
        }
        let stale = found.lines - found.known.len();
        Self {
            known: found.known,
            added: HashMap::new(),
            kept: Some(Kept { path, file, stale }),
        }
    }

    /// Opens the cache beside `journal` read-only.
    pub(super) fn read_only(journal: &Path) -> Self {
        let file = File::open(Self::path(journal));
        Self {
            known: file.map_or_else(|_| Vec::new(), |mut file| read(&mut file).known),
            ..Self::default()
        }
    }

    /// The cached checksum of the file at `path`; `None` if the file has changed since.
    pub(super) fn get(&self, path: &Path, file: &Metadata) -> Option<String> {
        let stamp = digest(Stamp::of(file)?);
        let path = key_of(path.to_str()?);
        let (known, sha256) = self.added.get(&path).copied().or_else(|| {
            let place = self.known.binary_search_by_key(&path, |known| known.path);
            let known = self.known.get(place.ok()?)?;
            Some((known.stamp, known.sha256))
        })?;
        (known == stamp).then(|| sha256.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Caches the checksum of the file at `path`; `at` is the file's state when reading it began.
    pub(super) fn add(&mut self, path: &Path, file: &Metadata, at: SystemTime, sha256: &str) {
        let stamp = Stamp::of(file).filter(|stamp| stamp.is_settled(at));
        // Others are read each time.
        let (Some(stamp), Some(path)) = (stamp, path.to_str()) else {
            return;
        };
        let (Some(bytes), None) = (bytes_of(sha256), self.get(Path::new(path), file)) else {
            return;
        };
        let Some(kept) = &mut self.kept else { return };
        let entry = Entry {
            path: path.to_owned(),
            file: stamp,
            sha256: sha256.to_owned(),
        };
        let Ok(line) = serde_json::to_string(&entry) else {
            return;
        };
        // In one write, since the program may end at any moment.
        if kept.file.write_all((line + "\n").as_bytes()).is_err() {
            return;
        }
        let key = key_of(path);
        let replaces = self.added.insert(key, (digest(stamp), bytes)).is_some();
        let known = self.known.binary_search_by_key(&key, |known| known.path);
        kept.stale += usize::from(replaces || known.is_ok());
    }

    /// Rewrites the file if it has outdated lines.
    pub(super) fn tidy(&mut self) {
        let Some(kept) = self.kept.take().filter(|kept| kept.stale > 0) else {
            return;
        };
        // What this run added stands in the file by now.
        let (mut file, path) = (kept.file, kept.path);
        drop(std::mem::take(&mut self.added));
        let known = read(&mut file).known;
        let mut places: Vec<u64> = known.iter().map(|known| known.start).collect();
        drop(known);
        places.sort_unstable();
        let _ = put_whole(&path, |out| {
            file.seek(SeekFrom::Start(0))?;
            let mut lines = BufReader::new(&file);
            let (mut at, mut line) = (0, Vec::new());
            for place in places {
                lines.seek_relative((place - at) as i64)?;
                line.clear();
                at = place + lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
                out.write_all(&line)?;
            }
            Ok(())
        });
    }
}

fn key_of(path: &str) -> [u8; 16] {
    half(Sha256::new_with_prefix(path))
}

fn bytes_of(sha256: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if sha256.len() != 64 || !sha256.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&sha256[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The content of a cache file.
#[derive(Default)]
struct Found {
    /// The last complete line of each path, by path.
    known: Vec<Known>,
    lines: usize,
    is_torn: bool,
}

fn read(file: &mut File) -> Found {
    let mut found = Found::default();
    if file.seek(SeekFrom::Start(0)).is_err() {
        return found;
    }
    let mut lines = BufReader::with_capacity(1 << 18, file);
    let (mut start, mut line, mut enough) = (0, Vec::new(), 1 << 16);
    loop {
        line.clear();
        let length = match lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(length) => length as u64,
        };
        found.lines += 1;
        found.is_torn = !line.ends_with(b"\n");
        let entry = serde_json::from_slice::<Entry>(&line)
            .ok()
            .filter(|_| !found.is_torn);
        if let Some((entry, sha256)) =
            entry.and_then(|it| bytes_of(&it.sha256).map(|sha| (it, sha)))
        {
            found.known.push(Known {
                path: key_of(&entry.path),
                stamp: digest(entry.file),
                sha256,
                start,
            });
        }
        start += length;
        if found.known.len() >= enough {
            dedup_paths(&mut found.known);
            enough = found.known.len() * 2 + (1 << 16);
        }
    }
    dedup_paths(&mut found.known);
    found
}

/// Keeps the last entry of each path.
fn dedup_paths(known: &mut Vec<Known>) {
    known.sort_unstable_by_key(|known| (known.path, known.start));
    known.dedup_by(|later, kept| {
        let is_same = later.path == kept.path;
        if is_same {
            *kept = *later;
        }
        is_same
    });
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    fn in_seconds(seconds: u64) -> SystemTime {
        SystemTime::now() + Duration::from_secs(seconds)
    }

    fn sha(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    #[test]
    fn cached_checksum_is_valid_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, document) = (folder.path().join("out.jsonl"), folder.path().join("a.pdf"));
        fs::write(&document, "one").unwrap();
        let file = || fs::metadata(&document).unwrap();
        let time = file().modified().unwrap();
        let kept = || Hashes::open(&journal).get(&document, &file());

        let mut hashes = Hashes::open(&journal);
        hashes.add(&document, &file(), in_seconds(0), &sha('f'));
        hashes.add(&document, &file(), in_seconds(10), &sha('c'));
        drop(hashes);
        // A kill in the middle of a line.
        let path = Hashes::path(&journal);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.clone() + &text[..20]).unwrap();
        assert_eq!(kept(), Some(sha('c')));

        // The same size, and a time that was set back.
        fs::write(&document, "two").unwrap();
        let changed = OpenOptions::new().write(true).open(&document).unwrap();
        changed.set_modified(time).unwrap();
        let mut hashes = Hashes::open(&journal);
        assert_eq!(hashes.get(&document, &file()), None);
        hashes.add(&document, &file(), in_seconds(10), &sha('b'));
        assert_eq!(hashes.get(&document, &file()), Some(sha('b')));
        drop(hashes);
        assert_eq!(kept(), Some(sha('b')));
    }

    #[test]
    fn checksum_cache_keeps_one_line_per_path() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("out.jsonl");
        let document = |number: u32| folder.path().join(format!("{number}.pdf"));
        let mut lines = String::new();
        for device in 0..3_000 {
            for number in 0..50 {
                let entry = Entry {
                    path: document(number).to_str().unwrap().to_owned(),
                    file: Stamp {
                        device,
                        inode: 1,
                        size: 1,
                        changed: [(0, 0); 2],
                    },
                    sha256: sha('a'),
                };
                lines += &(serde_json::to_string(&entry).unwrap() + "\n");
            }
            // One of an earlier version, which kept no path.
            lines += "{\"file\":{\"device\":1,\"inode\":1,\"size\":1,\"changed\":[[0,0],[0,0]]},\"sha256\":\"aa\"}\n";
        }
        let path = Hashes::path(&journal);
        fs::write(&path, lines).unwrap();
        let mut hashes = Hashes::open(&journal);
        fs::write(document(7), "seven").unwrap();
        let seven = fs::metadata(document(7)).unwrap();
        hashes.add(&document(7), &seven, in_seconds(10), &sha('7'));
        hashes.tidy();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 50);
        let mut again = Hashes::open(&journal);
        assert_eq!(again.get(&document(7), &seven), Some(sha('7')));
        again.tidy();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn unwritable_checksum_cache_is_ignored() {
        let mut hashes = Hashes::open(Path::new("/nowhere/at/all.jsonl"));
        let here = fs::metadata(".").unwrap();
        hashes.add(Path::new("."), &here, in_seconds(10), &sha('c'));
        hashes.tidy();
        assert_eq!(hashes.get(Path::new("."), &here), None);
    }
}
