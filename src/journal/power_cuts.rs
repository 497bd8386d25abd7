//! Power cuts: what was not synced is dropped, reordered or filled with zeros.

use std::{cell::RefCell, collections::BTreeSet, fs, rc::Rc};

use proptest::prelude::*;

use super::{tests::record, *};

/// A disk without power loss protection: only what was synced is sure to be there afterwards.
#[derive(Default)]
struct Disk {
    bytes: Vec<u8>,
    synced: usize,
}

impl Disk {
    /// What is there after a power cut: at least `synced` bytes, of the others some blocks, and zeros for those that did
    /// not arrive before later ones.
    fn after_power_cut(&self, block: usize, length: usize, arrived: &[bool]) -> Vec<u8> {
        let unsynced = self.bytes.len() - self.synced;
        let mut left = self.bytes[..self.synced + length % (unsynced + 1)].to_vec();
        for (place, byte) in left.iter_mut().enumerate().skip(self.synced) {
            if !arrived[place / block % arrived.len()] {
                *byte = 0;
            }
        }
        left
    }
}

struct Handle(Rc<RefCell<Disk>>);

impl Storage for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().bytes.extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.synced = disk.bytes.len();
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.borrow_mut().bytes.truncate(length as usize);
        Ok(())
    }
}

/// One run: how many pages it reads, after how many it syncs, and what the power cut that ends it leaves.
#[derive(Debug, Clone)]
struct Cut {
    pages: usize,
    sync_every: usize,
    block: usize,
    length: usize,
    arrived: Vec<bool>,
}

fn cuts() -> impl Strategy<Value = Cut> {
    let block = prop::sample::select(vec![1, 7, 64, 512, 4096]);
    let arrived = prop::collection::vec(any::<bool>(), 1..9);
    (0_usize..12, 1_usize..6, block, any::<usize>(), arrived).prop_map(
        |(pages, sync_every, block, length, arrived)| Cut {
            pages,
            sync_every,
            block,
            length,
            arrived,
        },
    )
}

fn pages_of(index: &Index) -> BTreeSet<u32> {
    index.records().map(|entry| entry.key().page).collect()
}

/// Reads the missing ones of `pages`, as far as the power lasts. Returns the pages that were reported as synced.
fn run_until_power_cut(path: &Path, pages: u32, cut: &Cut) -> BTreeSet<u32> {
    let target = Target::File(path.to_owned());
    let (journal, opened) =
        Journal::open(&target, OutputSettings::new(), Opening::default()).unwrap();
    let done = pages_of(&opened.index);
    drop(journal);
    let bytes = fs::read(path).unwrap();
    let synced = bytes.len();
    let disk = Rc::new(RefCell::new(Disk { bytes, synced }));
    let handle = Box::new(Handle(Rc::clone(&disk)));
    let mut journal = Journal::new(&target, None, handle, synced as u64);
    let (mut sure, mut unsynced) = (done.clone(), Vec::new());
    let missing = (1..=pages).filter(|page| !done.contains(page));
    for (place, page) in missing.take(cut.pages).enumerate() {
        journal.next_sync = Instant::now() + Duration::from_secs(600);
        journal.append(&record(page)).unwrap();
        unsynced.push(page);
        if (place + 1) % cut.sync_every == 0 {
            journal.sync().unwrap();
            sure.extend(unsynced.drain(..));
        }
    }
    let left = disk
        .borrow()
        .after_power_cut(cut.block, cut.length, &cut.arrived);
    fs::write(path, left).unwrap();
    sure
}

/// As many cases as proptest has, or many times that.
fn cases() -> ProptestConfig {
    let long = std::env::var_os("OMNIDOCS_LONG_TESTS").is_some();
    ProptestConfig::with_cases(if long { 20_000 } else { 200 })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn synced_pages_survive_power_cuts_and_the_file_resumes_whole(cuts in prop::collection::vec(cuts(), 1..5)) {
        const PAGES: u32 = 40;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        for cut in &cuts {
            let sure = run_until_power_cut(&path, PAGES, cut);
            let file = File::open(&path).unwrap();
            let there = pages_of(&Index::read(&file).unwrap().0);
            prop_assert!(sure.is_subset(&there), "{sure:?} were synced, {there:?} are there");
        }
        let target = Target::File(path.clone());
        let (mut journal, opened) =
            Journal::open(&target, OutputSettings::new(), Opening::default()).unwrap();
        let done = pages_of(&opened.index);
        for page in (1..=PAGES).filter(|page| !done.contains(page)) {
            journal.append(&record(page)).unwrap();
        }
        journal.finish().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let pages: BTreeSet<_> = lines.iter().map(|record| record.page).collect();
        prop_assert_eq!(lines.len(), PAGES as usize, "a page is there twice");
        prop_assert_eq!(pages.len(), PAGES as usize);
        prop_assert!(text.ends_with('\n'));
    }
}

#[test]
fn zeros_far_from_the_end_are_an_error_that_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let target = Target::File(path.clone());
    let open = || Journal::open(&target, OutputSettings::new(), Opening::default());
    let (mut journal, _) = open().unwrap();
    journal.append(&record(1)).unwrap();
    drop(journal);
    let mut bytes = fs::read(&path).unwrap();
    let line = bytes.clone();
    bytes.extend(b"\0\0\0\n");
    while bytes.len() as u64 <= MAX_UNSYNCED + 10_000 {
        bytes.extend(&line);
    }
    fs::write(&path, &bytes).unwrap();
    let error = format!("{:#}", open().err().unwrap());
    assert!(error.contains("line 2 has zeros"), "{error}");
    assert_eq!(fs::read(&path).unwrap().len(), bytes.len());
}

/// Whatever is in the file: it is refused and not changed, or it is resumed and whole.
#[test]
fn damaged_journals_are_refused_unchanged_or_resume_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let target = Target::File(path.clone());
    let open = || Journal::open(&target, OutputSettings::new(), Opening::default());
    let (mut journal, _) = open().unwrap();
    for page in 1..4 {
        journal.append(&record(page)).unwrap();
    }
    journal.finish().unwrap();
    let whole = fs::read(&path).unwrap();
    let holed = [
        &whole[..whole.len() / 2],
        &[0; 600],
        &whole[whole.len() / 2..],
    ]
    .concat();
    crate::fuzz::feed("journals", &[whole, holed], |bytes| {
        fs::write(&path, bytes).unwrap();
        match open() {
            Err(_) => assert_eq!(fs::read(&path).unwrap(), bytes),
            Ok((mut journal, opened)) => {
                journal.append(&record(9)).unwrap();
                drop(journal);
                let (index, extent) = Index::read(&File::open(&path).unwrap()).unwrap();
                assert_eq!((extent.torn, extent.holes.len()), (0, 0));
                assert!(index.len() >= opened.index.len());
            }
        }
    });
}

#[test]
fn damaged_settings_and_checksums_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let target = Target::File(path.clone());
    let settings: OutputSettings = [("engine".to_owned(), "text-layer".into())].into();
    Journal::open(&target, settings, Opening::default()).unwrap();
    let meta = fs::read(Meta::path(&path)).unwrap();
    crate::fuzz::feed("settings files", &[meta], |bytes| {
        fs::write(Meta::path(&path), bytes).unwrap();
        let _ = Meta::read(&path);
    });
    let line = format!(
        "{{\"path\":\"a.pdf\",\"file\":{{\"device\":1,\"inode\":2,\"size\":3,\"changed\":[[4,5],[6,7]]}},\"sha256\":\"{:064x}\"}}\n",
        7
    );
    let beside = folder.path().join("out.jsonl.hashes");
    crate::fuzz::feed("checksum files", &[line.repeat(3).into_bytes()], |bytes| {
        fs::write(&beside, bytes).unwrap();
        let mut hashes = hashes::Hashes::open(&path);
        hashes.tidy();
    });
}
