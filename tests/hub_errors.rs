//! Models by name: what a person is told when there is no model to be had.

#[path = "common/hub_server.rs"]
mod hub_server;
#[path = "common/machine.rs"]
mod machine;

use std::fs;

use hub_server::{Fault, HubServer};
use machine::*;
use omnidocs::{
    cancel::Cancel,
    hub::{FetchProgress, model_folder},
};

#[test]
fn missing_model_folder_is_explained() {
    let folder = reader().display().to_string();
    let found = model_folder(&folder, FetchProgress::Off, &Cancel::default()).expect("the folder");
    assert_eq!(found, reader());

    let error = |model: &str| {
        let error = model_folder(model, FetchProgress::Off, &Cancel::default())
            .expect_err("there is no such model");
        error.to_string()
    };
    for path in [
        "./reader",
        "/no/reader",
        "~/reader",
        "models/small/reader",
        "reader",
        "C:\\reader",
    ] {
        let error = error(path);
        assert!(
            error.contains(&format!("the model folder {path} does not exist")),
            "{error}"
        );
        assert!(error.contains("config.json"), "{error}");
    }
    let file = format!("{folder}/config.json");
    assert!(error(&file).contains("is a file: set --model to its folder"));
    for odd in [
        "org/rea der",
        "org/..",
        "org/reader@",
        "org/reader@../x",
        "/@main",
        "org/reader@a?b",
    ] {
        let error = error(odd);
        assert!(
            error.contains("neither a folder nor") || error.contains("does not exist"),
            "{error}"
        );
    }
}

#[test]
fn gated_model_asks_for_a_token() {
    let hub = serve_reader();
    hub.require_token("hf_good");
    let licence = format!("accept its licence on {}/org/reader", hub.url());
    let machine = Machine::new(&hub);
    machine
        .fetch(MODEL)
        .error_with(&["401", &licence, "set HF_TOKEN"]);
    let machine = machine.with("HF_TOKEN", "hf_bad");
    machine
        .fetch(MODEL)
        .error_with(&["403", &licence, "the token that was sent may not read it"]);
    machine.with("HF_TOKEN", "hf_good").fetch(MODEL).folder();

    let machine = Machine::new(&hub);
    write(machine.home.path(), "token", "hf_good\n");
    let elsewhere = machine.home.path().join("elsewhere").display().to_string();
    let machine = machine.with("HF_HUB_CACHE", &elsewhere);
    let outcome = machine.fetch(MODEL);
    assert!(
        outcome.folder().starts_with(&elsewhere),
        "{}",
        outcome.folder().display()
    );
}

#[test]
fn missing_model_or_revision_is_reported() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);
    machine
        .fetch("org/raeder")
        .error_with(&["org/raeder", "401", "check the name", "HF_TOKEN"]);
    let machine = machine.with("HF_TOKEN", "hf_any");
    machine
        .fetch("org/raeder")
        .error_with(&["has no org/raeder", "404", "check the model's name"]);

    hub.break_with(Fault::Status {
        path_end: "/revision/main",
        code: 503,
    });
    machine
        .fetch(MODEL)
        .error_with(&["503", "try again later", "--model DIR"]);
}

#[test]
fn invalid_hub_answers_are_errors_and_leave_no_file() {
    let hub = serve_reader();
    let machine = Machine::new(&hub);
    hub.break_with(Fault::ListedSize {
        file: WEIGHTS,
        size: 20_000_000,
    });
    machine.fetch(MODEL).error_with(&[
        "model.safetensors of org/reader",
        "received 15604864 bytes of 20000000",
    ]);
    hub.heal();
    hub.break_with(Fault::RedirectToNowhere { file: WEIGHTS });
    let outcome = machine.fetch(MODEL);
    let error = outcome.result.expect_err("no bytes can come");
    assert!(error.contains("check HF_ENDPOINT"), "{error}");
    hub.heal();
    assert_same_files(machine.fetch(MODEL).folder(), &reader());
    assert_eq!(hub.fetches_of(WEIGHTS).len(), 2);
}

#[test]
fn silent_hub_times_out() {
    let hub = serve_reader();
    let machine = Machine::new(&hub).with("HF_HUB_DOWNLOAD_TIMEOUT", "2");
    hub.break_with(Fault::Stall {
        file: WEIGHTS,
        after: 1_000_000,
    });
    machine.fetch(MODEL).error_with(&[
        "sent no data of model.safetensors of org/reader for 2 s",
        "continue the download",
    ]);
    hub.heal();
    assert_same_files(machine.fetch(MODEL).folder(), &reader());
    assert_eq!(
        hub.fetches_of(WEIGHTS)[1].range.as_deref(),
        Some("bytes=1000000-")
    );
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_and_read_only_cache_are_reported() {
    let folder = model_in_parts();
    let hub = HubServer::new(MODEL, folder.path());
    let machine = Machine::new(&hub);
    // Learns the blob's name, then puts a disk without room in the place of its download.
    let part = machine
        .fetch(MODEL)
        .folder()
        .join("model-1-of-2.safetensors");
    let blob = part.canonicalize().expect("the blob");
    fs::remove_file(&blob).expect("it was there");
    std::os::unix::fs::symlink("/dev/full", blob.with_extension("part")).expect("a link");
    machine.fetch(MODEL).error_with(&[
        "no space for model-1-of-2.safetensors",
        "HF_HOME",
        "continues",
    ]);

    let file = machine.home.path().join("file");
    write(machine.home.path(), "file", "not a folder");
    let machine = machine.with("HF_HUB_CACHE", &file.join("hub").display().to_string());
    machine
        .fetch(MODEL)
        .error_with(&["could not keep", "set HF_HOME to a writable folder"]);
}
