//! Models by name: what is fetched, what is continued, and what is not fetched again.

#[path = "common/hub_server.rs"]
mod hub_server;
#[path = "common/machine.rs"]
mod machine;

use std::{fs, io::BufRead, time::Duration};

use hub_server::{Fault, HubServer};
use machine::*;

#[test]
fn model_is_downloaded_once_into_the_standard_cache() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);

    let first = machine.fetch(MODEL);
    assert_eq!(first.folder(), machine.snapshot(&hub.commit()));
    assert_same_files(first.folder(), &reader());
    assert!(
        first
            .stderr
            .contains("fetching model.safetensors (15.60 MB)"),
        "{}",
        first.stderr
    );
    let main = fs::read_to_string(machine.cached().join("refs/main"));
    assert_eq!(main.expect("a reference"), hub.commit());

    let before = hub.log().len();
    let again = machine.fetch(MODEL);
    assert_eq!(again.folder(), first.folder());
    assert_eq!(
        hub.log().len() - before,
        1,
        "one request, for the list of files"
    );
    assert_eq!(again.stderr, "");
}

#[test]
fn revisions_are_branches_tags_and_commits() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);
    let commit = hub.commit();
    for revision in ["v1", commit.as_str()] {
        let outcome = machine.fetch(&format!("{MODEL}@{revision}"));
        assert_eq!(outcome.folder(), machine.snapshot(&commit));
    }
    machine
        .fetch("org/reader@v9")
        .error_with(&["127.0.0.1", "org/reader@v9", "404", "revision"]);
}

#[test]
fn weights_in_several_files_come_with_their_index() {
    let folder = model_in_parts();
    let hub = HubServer::new(MODEL, folder.path());
    let machine = Machine::new(&hub);
    let outcome = machine.fetch(MODEL);
    assert_same_files(outcome.folder(), folder.path());

    let index = r#"{"weight_map":{"a":"../../../../escape.safetensors"}}"#;
    write(folder.path(), "model.safetensors.index.json", index);
    hub.push_commit('2');
    machine
        .fetch(MODEL)
        .error_with(&["names an invalid file", "escape.safetensors"]);

    fs::remove_file(folder.path().join("tokenizer.json")).expect("it was there");
    machine
        .fetch(MODEL)
        .error_with(&["org/reader", "has no tokenizer.json"]);
}

#[test]
fn weights_in_other_formats_are_refused_by_name() {
    for (file, words) in [
        ("ocr-Q4_K_M.gguf", "its weights are GGUF files"),
        (
            "pytorch_model-00001-of-00002.bin",
            "convert them to safetensors",
        ),
        ("adapter_model.safetensors", "merge it into its base model"),
    ] {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        for name in ["config.json", "tokenizer.json", file] {
            write(folder.path(), name, "{}");
        }
        let hub = HubServer::new(MODEL, folder.path());
        let outcome = Machine::new(&hub).fetch(MODEL);
        outcome.error_with(&["has no model.safetensors", words]);
        assert_eq!(hub.log().len(), 1, "the list of files");
    }
}

#[test]
fn broken_connection_resumes_the_download() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);
    hub.break_with(Fault::Cut {
        file: WEIGHTS,
        after: 5_000_000,
    });
    let outcome = machine.fetch(MODEL);
    assert_same_files(outcome.folder(), &reader());
    assert!(
        outcome.stderr.contains("continuing in 1 s"),
        "{}",
        outcome.stderr
    );
    let ranges: Vec<_> = hub
        .fetches_of(WEIGHTS)
        .into_iter()
        .filter_map(|get| get.range)
        .collect();
    assert_eq!(ranges, ["bytes=0-", "bytes=5000000-"]);
}

#[test]
fn killed_download_continues_in_the_next_run() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);
    hub.break_with(Fault::Stall {
        file: WEIGHTS,
        after: 4_000_000,
    });
    let mut killed = machine.start(MODEL);
    hub.wait_for_bytes(WEIGHTS, 4_000_000);
    let part = || {
        let blobs = fs::read_dir(machine.cached().join("blobs")).expect("blobs");
        let mut parts = blobs
            .flatten()
            .filter(|blob| blob.path().extension() == Some("part".as_ref()));
        parts
            .next()
            .and_then(|part| part.metadata().ok())
            .map_or(0, |part| part.len())
    };
    while part() < 4_000_000 {
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.kill().expect("it is running");
    killed.wait().expect("it is dead");
    hub.heal();

    let outcome = machine.fetch(MODEL);
    assert_same_files(outcome.folder(), &reader());
    assert_eq!(
        hub.fetches_of(WEIGHTS)[1].range.as_deref(),
        Some("bytes=4000000-")
    );
    assert!(
        outcome.stderr.contains("(15.60 MB, continuing at 4.00 MB)"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn download_killed_at_its_end_is_not_repeated() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);
    let weights = machine.fetch(MODEL).folder().join(WEIGHTS);
    let blob = weights.canonicalize().expect("the blob");
    fs::rename(&blob, blob.with_extension("part")).expect("as it was a moment before");
    // The snapshot's link leads nowhere now.
    let outcome = machine.fetch(MODEL);
    assert_same_files(outcome.folder(), &reader());
    assert_eq!(hub.fetches_of(WEIGHTS).len(), 1);
}

#[test]
fn damaged_part_of_a_download_is_fetched_anew() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);
    let weights = machine.fetch(MODEL).folder().join(WEIGHTS);
    let blob = weights.canonicalize().expect("the blob");
    let whole = fs::read(&blob).expect("the blob's bytes");
    // What a power cut may leave: the right length, and zeros.
    for length in [4_000_000, whole.len()] {
        let mut part = whole[..length].to_vec();
        part[1_000_000..2_000_000].fill(0);
        fs::remove_file(&blob).expect("it was there");
        fs::write(blob.with_extension("part"), part).expect("a part");
        assert_same_files(machine.fetch(MODEL).folder(), &reader());
    }
}

#[test]
fn two_processes_fetch_once() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);
    hub.break_with(Fault::Stall {
        file: WEIGHTS,
        after: 1_000_000,
    });
    let first = machine.start(MODEL);
    hub.wait_for_bytes(WEIGHTS, 1_000_000);
    let mut second = machine.start(MODEL);
    let mut stderr = expect_waiting(&mut second);
    hub.heal();

    let (first, second) = (Outcome::of(first), Outcome::of(second));
    assert_eq!(first.folder(), second.folder());
    assert_same_files(second.folder(), &reader());
    let mut said = String::new();
    stderr.read_line(&mut said).expect("the end");
    assert_eq!(said, "", "it has said so once, and fetched nothing");
    assert_eq!(hub.fetches_of(WEIGHTS).len(), 1);
}

#[test]
fn download_waits_for_another_program() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);
    let weights = machine.fetch(MODEL).folder().join(WEIGHTS);
    let blob = weights.canonicalize().expect("the blob");
    let away = blob.with_extension("away");
    fs::rename(&blob, &away).expect("it was there");
    let lock = fs::File::create(blob.with_extension("lock")).expect("the lock that hf-hub uses");
    lock.lock().expect("nobody else has it");

    let mut waiting = machine.start(MODEL);
    expect_waiting(&mut waiting);
    fs::rename(&away, &blob).expect("the other program is done");
    drop(lock);
    assert_same_files(Outcome::of(waiting).folder(), &reader());
    assert_eq!(hub.fetches_of(WEIGHTS).len(), 1);
}

#[test]
fn new_commit_downloads_only_changed_files() {
    let folder = model_in_parts();
    let hub = HubServer::new(MODEL, folder.path());
    let machine = Machine::new(&hub);
    machine.fetch(MODEL).folder();
    hub.push_commit('2');
    write(folder.path(), "config.json", "{\"changed\":true}");
    let before = hub.log().len();
    let outcome = machine.fetch(MODEL);
    assert_eq!(outcome.folder(), machine.snapshot(&"2".repeat(40)));
    assert_same_files(outcome.folder(), folder.path());
    let asked: Vec<_> = hub
        .log()
        .split_off(before)
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert!(
        asked
            .iter()
            .skip(1)
            .all(|path| path.ends_with("config.json")),
        "{asked:?}"
    );
}

#[test]
fn cached_snapshot_works_without_network() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);
    let host = hub.url().replace("http://", "");
    let commit = hub.commit();
    let folder = machine.fetch(MODEL).folder().to_owned();
    drop(hub);

    for model in [MODEL.to_owned(), format!("{MODEL}@{commit}")] {
        let outcome = machine.fetch(&model);
        assert_eq!(outcome.folder(), folder);
        assert!(outcome.stderr.contains("WARN"), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("using the cached"),
            "{}",
            outcome.stderr
        );
    }
    let advice = ["could not reach", &host, "--model DIR", "HF_HUB_OFFLINE=1"];
    machine.fetch("org/other").error_with(&advice);
    fs::remove_file(folder.join(WEIGHTS)).expect("it was there");
    machine.fetch(MODEL).error_with(&advice);
}

#[test]
fn offline_sends_no_request() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);
    let folder = machine.fetch(MODEL).folder().to_owned();
    let before = hub.log().len();
    let machine = machine.with("HF_HUB_OFFLINE", "Yes");
    let outcome = machine.fetch(MODEL);
    assert_eq!(
        (outcome.folder(), outcome.stderr.as_str()),
        (folder.as_path(), "")
    );

    fs::remove_file(folder.join(WEIGHTS)).expect("it was there");
    machine.fetch(MODEL).error_with(&[
        "HF_HUB_OFFLINE is set",
        "--model DIR",
        "lacks model.safetensors",
    ]);
    machine
        .fetch("org/reader@v1")
        .error_with(&["has no revision v1 of org/reader"]);
    assert_eq!(hub.log().len(), before);
}

#[test]
fn progress_off_is_silent() {
    let hub = serve_reader();
    let machine = Machine::new(&hub).with("TEST_PROGRESS", "off");
    let outcome = machine.fetch(MODEL);
    assert_same_files(outcome.folder(), &reader());
    assert_eq!(outcome.stderr, "");
}
