use std::{cell::RefCell, io::Write, rc::Rc};

use super::*;
use crate::{
    options::OutputFormat,
    page::{Document, EngineInfo, PageAnswer, PageId, PageOutcome, PageRef},
    record::PageFacts,
};

/// A disk that fails at one of its calls, half way through a write.
struct Failing {
    bytes: Rc<RefCell<Vec<u8>>>,
    calls_left: usize,
    error: ErrorKind,
    /// Whether half a line can still be cut off.
    cuts: bool,
}

impl Failing {
    fn call(&mut self) -> io::Result<()> {
        self.calls_left = self.calls_left.checked_sub(1).ok_or(self.error)?;
        Ok(())
    }
}

impl Storage for Failing {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fails = self.call();
        let written = if fails.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        self.bytes.borrow_mut().extend(&bytes[..written]);
        fails
    }

    fn sync(&mut self) -> io::Result<()> {
        self.call()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        if self.cuts {
            self.bytes.borrow_mut().truncate(length as usize);
            return Ok(());
        }
        Err(self.error.into())
    }
}

pub(super) fn record(page: u32) -> Record {
    let document = Document {
        path: "a.pdf".into(),
        size_bytes: Some(1),
        doc_id: Some("ab".repeat(32)),
        format: None,
        page_count: Some(9),
        stamp: None,
    };
    let facts = PageFacts {
        page: PageRef {
            document: document.into(),
            number: page,
            last_number: None,
        },
        size: None,
        original: None,
        rotation: crate::page::Rotation::None,
        in_parts: false,
        warnings: Vec::new(),
        prepare: Duration::ZERO,
        attempts: 1,
        page_size: None,
    };
    let outcome = PageOutcome {
        id: PageId(0),
        result: Ok(PageAnswer {
            content: "text".repeat(page as usize),
            ..PageAnswer::default()
        }),
        by: EngineInfo {
            engine: "qwen",
            model: None,
            output_format: OutputFormat::Markdown,
            device: None,
            dtype: None,
        },
        attempts: 1,
        size: None,
        warnings: Vec::new(),
        elapsed: Duration::ZERO,
    };
    Record::read(&facts, outcome)
}

/// Writes records, syncing after every second one, until the disk fails. Returns how many were accepted, the error message
/// and the bytes on the disk.
fn write_until_it_fails(
    calls_left: usize,
    error: ErrorKind,
    cuts: bool,
) -> (usize, String, Vec<u8>) {
    let bytes = Rc::default();
    let disk = Failing {
        bytes: Rc::clone(&bytes),
        calls_left,
        error,
        cuts,
    };
    let mut journal = Journal::new(&Target::File("out.jsonl".into()), None, Box::new(disk), 0);
    let mut written = 0;
    let failure = loop {
        journal.next_sync =
            Instant::now() + Duration::from_secs(if written % 2 == 0 { 60 } else { 0 });
        match journal.append(&record(written + 1)) {
            Ok(()) => written += 1,
            Err(failure) => break format!("{failure:#}"),
        }
    };
    let content = bytes.borrow().clone();
    (written as usize, failure, content)
}

#[test]
fn disk_errors_are_reported_and_keep_complete_lines() {
    // A full disk, an input/output error, and a system that gives no reason.
    let io_error = io::Error::from_raw_os_error(5).kind();
    for error in [ErrorKind::StorageFull, io_error, ErrorKind::WriteZero] {
        for (calls_left, cuts) in (0..12).flat_map(|calls| [(calls, true), (calls, false)]) {
            let (written, failure, content) = write_until_it_fails(calls_left, error, cuts);
            assert!(
                failure.contains("out.jsonl") && failure.contains("run the same command again"),
                "{failure}"
            );
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&content).unwrap();
            let (index, found) = Index::read(&file).unwrap();
            assert!(!cuts || found.torn == 0, "half a line was left");
            // A sync that fails leaves its record in the file.
            assert!((written..=written + 1).contains(&index.len()));
            for line in content[..found.end as usize].split_inclusive(|&byte| byte == b'\n') {
                serde_json::from_slice::<Record>(line).unwrap();
            }
        }
    }
}

#[test]
fn writing_stops_after_a_torn_record_that_cannot_be_cut() {
    for cuts in [true, false] {
        let bytes = Rc::default();
        let disk = Failing {
            bytes: Rc::clone(&bytes),
            calls_left: 1,
            error: ErrorKind::StorageFull,
            cuts,
        };
        let mut journal = Journal::new(&Target::File("out.jsonl".into()), None, Box::new(disk), 0);
        journal.next_sync = Instant::now() + Duration::from_secs(60);
        journal.append(&record(1)).unwrap();
        journal.append(&record(2)).unwrap_err();
        let left = bytes.borrow().clone();
        assert_eq!(left.ends_with(b"\n"), cuts);
        let message = format!("{:#}", journal.append(&record(3)).unwrap_err());
        assert_eq!(message.contains("writing has stopped"), !cuts, "{message}");
        assert_eq!(*bytes.borrow(), left);
        assert!(journal.finish().is_err());
    }
}

#[cfg(unix)]
#[test]
fn sync_detects_changed_output_and_keeps_settings() {
    use std::fs;

    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("was removed", |path| fs::remove_file(path).unwrap()),
        ("was replaced", |path| {
            fs::rename(path, path.with_extension("1")).unwrap();
            fs::write(path, "").unwrap();
        }),
        ("has 0 bytes instead of", |path| {
            fs::write(path, "").unwrap();
        }),
        ("bytes instead of", |path| {
            let text = fs::read_to_string(path).unwrap();
            fs::write(path, text.clone() + &text).unwrap();
        }),
    ];
    for (message, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let target = Target::File(path.clone());
        let (mut journal, _) =
            Journal::open(&target, OutputSettings::new(), Opening::default()).unwrap();
        journal.append(&record(1)).unwrap();
        journal.sync().unwrap();
        change(&path);
        fs::write(Meta::path(&path), "of another run").unwrap();
        for _ in 0..2 {
            let error = format!("{:#}", journal.sync().unwrap_err());
            assert!(error.contains(message), "{error}");
        }
        journal.append(&record(2)).unwrap_err();
        journal.finish().unwrap_err();
        let meta = fs::read_to_string(Meta::path(&path)).unwrap();
        assert_eq!(meta, "of another run");
    }
}

#[test]
fn syncs_cost_less_than_one_percent() {
    for cost in [0, 3, 20, 400].map(Duration::from_millis) {
        assert!(pause_after(cost) >= cost * 100 && pause_after(cost) >= Duration::from_secs(1));
    }
}
