//! Whether a machine is ready, as `omnidocs doctor` says.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

use crate::common::{Ran, Room};

/// `omnidocs doctor ARGS…` with an empty cache and no network.
fn doctor(room: &Room, args: &str) -> Command {
    let mut command = room.omnidocs(&format!("doctor {args}"));
    command
        .env("HF_HOME", room.path("hub"))
        .env("HF_HUB_OFFLINE", "1")
        .env_remove("HF_HUB_CACHE");
    command
}

fn checks(ran: &Ran) -> Vec<Value> {
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["usable"], ran.code == Some(0));
    report["checks"].as_array().unwrap().clone()
}

fn named<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    let check = checks.iter().find(|check| check["name"] == name);
    check.unwrap_or_else(|| panic!("no {name} in {checks:#?}"))
}

#[test]
fn doctor_reads_a_test_page_and_names_what_is_missing() {
    let room = Room::new();
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/reader");
    let args = format!("--model {}", reader.display());
    let ran = Ran::of(&mut doctor(&room, &args)).expect(0);
    for line in [
        format!(
            "version   ok       {}; features: ",
            env!("CARGO_PKG_VERSION")
        ),
        "cpu       ".to_owned(),
        "memory    ".to_owned(),
        "limits    ok       open files: ".to_owned(),
        "pdfium    ok       ".to_owned(),
        "cache     ok       ".to_owned(),
        "text      ok       read the test page in ".to_owned(),
        "fonts     ".to_owned(),
        "tesseract ".to_owned(),
        format!(
            "model     ok       {} q8_0 on cpu: loaded in ",
            reader.display()
        ),
    ] {
        assert!(
            ran.stdout.lines().any(|shown| shown.starts_with(&line)),
            "{line}: {}",
            ran.stdout
        );
    }
    assert!(!ran.stdout.contains('\x1b'));
    assert_eq!(ran.stderr, "");
    let checks = checks(&Ran::of(&mut doctor(&room, "--json")).expect(0));
    let model = named(&checks, "model");
    assert_eq!(model["state"], "warning", "{model}");
    assert!(
        model["todo"].as_str().unwrap().contains("downloads"),
        "{model}"
    );
}

#[cfg(unix)]
#[test]
fn doctor_fails_where_what_is_asked_for_cannot_be_used() {
    let room = Room::new();
    room.put("models/reader/config.json", "{}").put("bin/x", "");
    for (args, name, says) in [
        (
            "--model models/redaer",
            "model",
            "did you mean models/reader?",
        ),
        ("--model models/reader", "model", "models/reader"),
        ("--engine tesseract", "tesseract", "is not installed"),
    ] {
        let mut command = doctor(&room, &format!("{args} --json"));
        // Without Tesseract.
        let ran = Ran::of(command.env("PATH", room.path("bin"))).expect(1);
        let checks = checks(&ran);
        let check = named(&checks, name);
        assert_eq!(check["state"], "broken", "{check}");
        assert!(check["found"].as_str().unwrap().contains(says), "{check}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn doctor_finds_fonts_as_the_pdf_library_does() {
    let room = Room::new();
    room.put("fonts/made", "");
    let mut command = doctor(&room, "--json");
    let ran = Ran::of(command.env("OMNIDOCS_FONTS", room.path("fonts"))).expect(0);
    let checks = checks(&ran);
    let fonts = checks.iter().filter(|check| check["name"] == "fonts");
    let missing: Vec<_> = fonts.filter(|check| check["state"] == "warning").collect();
    let found: String = missing
        .iter()
        .map(|check| check["found"].to_string())
        .collect();
    for script in ["Cyrillic", "Arabic", "Chinese (Han)", "Japanese", "Korean"] {
        assert!(found.contains(script), "{script}: {missing:#?}");
    }
    assert!(
        missing
            .iter()
            .any(|check| check["todo"].to_string().contains("fonts-noto-cjk"))
    );
}

#[cfg(all(target_os = "linux", not(feature = "cuda")))]
#[test]
fn doctor_lists_gpus_and_what_the_build_can_use() {
    let room = Room::new();
    let Some(library) = crate::progress::with_gpu(&room) else {
        return;
    };
    let ran = Ran::of(doctor(&room, "").env("LD_LIBRARY_PATH", library)).expect(0);
    for line in [
        "driver    ok       550.54.15, CUDA up to 12.4\n",
        "gpu       warning  NVIDIA H100 80GB HBM3, compute capability 9.0, 58.7 of 80.0 GB free → this build can't use it: \
         build with cargo build --release --features cuda\n",
    ] {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
}
