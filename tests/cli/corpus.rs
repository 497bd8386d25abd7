//! A folder of real and hostile documents, if there is one: `OMNIDOCS_CORPUS=DIR cargo test --release corpus -- --nocapture`.
//!
//! Collections of PDFs that have broken programs before come with the sources of PDF readers, such as pdf.js.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use omnidocs::{
    page::Warning,
    record::{Record, Timings},
};
use sha2::{Digest, Sha256};

use crate::common::{Ran, Room};

/// The SHA-256 of every PDF below a folder.
fn documents(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(documents(&path));
        } else if path.extension().is_some_and(|extension| extension == "pdf") {
            found.insert(format!("{:x}", Sha256::digest(fs::read(path).unwrap())));
        }
    }
    found
}

/// What a run says of the corpus, without what differs from run to run.
fn read(corpus: &Path, args: &str) -> Vec<Record> {
    let room = Room::new();
    let mut command = room.omnidocs(&format!("extract -o out.jsonl {args}"));
    let ran = Ran::of(command.arg(corpus));
    assert!(matches!(ran.code, Some(0 | 3)), "{ran:#?}");
    let mut records = room.records("out.jsonl");
    for record in &mut records {
        record.timings_ms = Timings::default();
        record
            .warnings
            .retain(|&warning| warning != Warning::SlowPage);
    }
    records
}

#[test]
fn hostile_corpus_reads_the_same_twice() {
    let Some(corpus) = env::var_os("OMNIDOCS_CORPUS").map(PathBuf::from) else {
        println!("skipped: OMNIDOCS_CORPUS names no folder of documents");
        return;
    };
    let all = documents(&corpus);
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reader");
    for args in [
        "--engine text-layer",
        &format!("--pages 1 --max-new-tokens 64 --model {reader}"),
    ] {
        let records = read(&corpus, args);
        let met: BTreeSet<_> = records
            .iter()
            .filter_map(|record| record.doc_id.clone())
            .collect();
        assert_eq!(met, all, "every document has its records");
        let mut tally = BTreeMap::new();
        for record in &records {
            let kind = record.error.as_ref().map(|error| error.kind);
            let what = kind.map_or_else(
                || format!("{:?}", record.status),
                |kind| format!("failed: {kind:?}"),
            );
            *tally.entry(what).or_insert(0) += 1;
        }
        println!("{args}: {} documents, {} pages", all.len(), records.len());
        for (what, pages) in tally {
            println!("  {pages:5} {what}");
        }
        assert!(records == read(&corpus, args), "two runs differ: {args}");
    }
}
