//! `omnidocs fetch`: a model is there before a run, in the cache or in a folder that can be carried.

use std::{fs, path::PathBuf};

use assert_cmd::Command;

use crate::{
    common::{Ran, Room},
    hub_server::{Fault, HubServer},
};

fn example(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(path)
}

/// `omnidocs ARGS…` with a cache in the room and this hub.
fn with_hub(room: &Room, args: &str, url: &str) -> Command {
    let mut command = room.omnidocs(args);
    command
        .env("HF_HOME", room.path("hub"))
        .env("XDG_CACHE_HOME", room.path("caches"))
        .env("HF_ENDPOINT", url);
    for variable in ["HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"] {
        command.env_remove(variable);
    }
    command
}

/// Reads the label with a model, without network.
#[track_caller]
fn read_offline(room: &Room, model: &str) {
    let label = example("pages/label.png");
    let args = format!("extract {} --model {model}", label.display());
    let mut command = with_hub(room, &args, "http://127.0.0.1:9");
    let ran = Ran::of(command.env("HF_HUB_OFFLINE", "1")).expect(0);
    let content = ran.records().remove(0).content.unwrap();
    assert!(content.contains("This way up"), "{content}");
}

#[test]
fn model_is_fetched_into_the_cache_and_read_offline() {
    let room = Room::new();
    let hub = HubServer::new("org/reader", &example("reader"));
    let ran = Ran::of(&mut with_hub(&room, "fetch org/reader", &hub.url())).expect(0);
    let folder = ran.stdout.strip_suffix('\n').unwrap();
    assert!(PathBuf::from(folder).join("model.safetensors").exists());
    assert!(
        ran.stderr.contains("fetching model.safetensors"),
        "{}",
        ran.stderr
    );
    let quiet = Ran::of(&mut with_hub(&room, "fetch org/reader -q", &hub.url())).expect(0);
    assert_eq!((quiet.stdout, quiet.stderr.as_str()), (ran.stdout, ""));
    assert_eq!(hub.fetches_of("model.safetensors").len(), 1);
    drop(hub);
    read_offline(&room, "org/reader");
}

#[test]
fn model_is_fetched_into_a_folder_to_carry() {
    let room = Room::new();
    let hub = HubServer::new("org/reader", &example("reader"));
    let ran = Ran::of(&mut with_hub(
        &room,
        "fetch org/reader --to usb/reader",
        &hub.url(),
    ));
    assert_eq!(ran.expect(0).stdout, "usb/reader\n");
    let weights = fs::read(example("reader/model.safetensors")).unwrap();
    let carried = room.path("usb/reader/model.safetensors");
    assert!(fs::symlink_metadata(&carried).unwrap().is_file());
    assert_eq!(fs::read(&carried).unwrap(), weights);
    // The cache has no second copy, and no trace is left of the download.
    assert!(!room.path("hub/hub").exists());
    assert!(!room.path("usb/reader/.fetching").exists());
    let again = Ran::of(&mut with_hub(
        &room,
        "fetch org/reader --to usb/reader",
        &hub.url(),
    ));
    assert!(again.expect(1).stderr.contains("usb/reader is not empty"));
    // From the cache, without the hub.
    Ran::of(&mut with_hub(&room, "fetch org/reader", &hub.url())).expect(0);
    drop(hub);
    let mut copied = with_hub(&room, "fetch org/reader --to copy", "http://127.0.0.1:9");
    Ran::of(copied.env("HF_HUB_OFFLINE", "1")).expect(0);
    assert_eq!(
        fs::read(room.path("copy/model.safetensors")).unwrap(),
        weights
    );
    fs::rename(room.path("usb"), room.path("elsewhere")).unwrap();
    read_offline(&room, "elsewhere/reader");
}

#[test]
fn interrupted_fetch_into_a_folder_continues() {
    let room = Room::new();
    let hub = HubServer::new("org/reader", &example("reader"));
    hub.break_with(Fault::Stall {
        file: "model.safetensors",
        after: 100_000,
    });
    let mut stalled = with_hub(&room, "fetch org/reader --to usb", &hub.url());
    let ran = Ran::of(stalled.env("HF_HUB_DOWNLOAD_TIMEOUT", "1")).expect(1);
    assert!(
        ran.stderr.contains("to continue the download"),
        "{}",
        ran.stderr
    );
    hub.heal();
    Ran::of(&mut with_hub(
        &room,
        "fetch org/reader --to usb",
        &hub.url(),
    ))
    .expect(0);
    let fetches = hub.fetches_of("model.safetensors");
    let last = fetches.last().unwrap();
    assert!(
        last.range
            .as_deref()
            .is_some_and(|range| !range.starts_with("bytes=0-")),
        "{fetches:?}"
    );
    read_offline(&room, "usb");
}

#[test]
fn what_cannot_be_run_is_refused_before_its_weights() {
    let room = Room::new();
    for entry in fs::read_dir(example("reader")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        room.put(&format!("model/{name}"), fs::read(&path).unwrap());
    }
    let config = room.read("model/config.json");
    room.put(
        "model/config.json",
        config.replace("\"qwen3_vl\"", "\"qwen2_5_omni\""),
    );
    let hub = HubServer::new("org/omni", &room.path("model"));
    for args in ["fetch org/omni", "fetch org/omni --to usb"] {
        let ran = Ran::of(&mut with_hub(&room, args, &hub.url())).expect(1);
        assert!(ran.stderr.contains("org/omni is a "), "{}", ran.stderr);
    }
    assert!(hub.fetches_of("model.safetensors").is_empty());
    assert!(!room.path("usb").exists());
    let unknown = Ran::of(&mut with_hub(&room, "fetch org/none --to new", &hub.url())).expect(1);
    assert!(
        unknown.stderr.contains("check the name"),
        "{}",
        unknown.stderr
    );
    assert!(!room.path("new").exists());
    let folder = Ran::of(&mut with_hub(&room, "fetch model", &hub.url())).expect(2);
    assert!(
        folder.stderr.contains("model is a folder"),
        "{}",
        folder.stderr
    );
}

#[test]
fn mistyped_path_is_never_taken_for_a_name_on_the_hub() {
    let room = Room::new();
    room.put("examples/reader/config.json", "{}");
    for name in ["examples/redaer", "examples/other", "./examples/redaer"] {
        let hub = HubServer::new(name, &example("reader"));
        let label = example("pages/label.png");
        for args in [
            format!("extract {} --model {name}", label.display()),
            format!("fetch {name}"),
        ] {
            let ran = Ran::of(&mut with_hub(&room, &args, &hub.url())).expect(1);
            let missing = format!("the model folder {name} does not exist");
            assert!(ran.stderr.contains(&missing), "{}", ran.stderr);
            let guess = ran.stderr.contains("did you mean");
            assert_eq!(guess, name.ends_with("redaer"), "{}", ran.stderr);
            assert_eq!(
                guess,
                ran.stderr.contains("examples/reader?"),
                "{}",
                ran.stderr
            );
        }
        assert!(hub.log().is_empty(), "{name}: {:?}", hub.log());
    }
}
