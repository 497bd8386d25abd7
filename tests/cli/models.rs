//! Models by name: what is listed, what short names stand for, and that each family reads pages.

use std::path::Path;

use assert_cmd::Command;

use crate::common::{Ran, Room};

fn of_repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    path.to_str().unwrap().to_owned()
}

/// `omnidocs ARGS…` with an empty cache and no network.
fn offline(room: &Room, args: &str) -> Command {
    let mut command = room.omnidocs(args);
    command
        .env("HF_HOME", room.path("hub"))
        .env("HF_HUB_OFFLINE", "1")
        .env_remove("HF_HUB_CACHE");
    command
}

#[test]
fn models_lists_short_names_memory_licences_and_sources() {
    let room = Room::new();
    let listed = Ran::of(&mut offline(&room, "models")).expect(0).stdout;
    for words in [
        "olmocr2  allenai/olmOCR-2-7B-1025",
        "8.3 billion parameters: 16.6 GB bf16, 8.8 GB q8_0, 4.7 GB q4_k",
        "modified OpenRAIL-M",
        "olmOCR-bench 82.4 (its authors, github.com/allenai/olmocr)",
        "github.com/FireRedTeam/FireRed-OCR",
    ] {
        assert!(listed.contains(words), "{words:?} is not in {listed}");
    }
    assert!(!listed.contains("cached"), "{listed}");

    let snapshot = "hub/hub/models--allenai--olmOCR-2-7B-1025";
    room.put(&format!("{snapshot}/refs/main"), "c0ffee");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        room.put(&format!("{snapshot}/snapshots/c0ffee/{name}"), "{}");
    }
    let listed = Ran::of(&mut offline(&room, "models")).expect(0).stdout;
    assert!(
        listed.contains("cached    allenai/olmOCR-2-7B-1025\n"),
        "{listed}"
    );
}

#[test]
fn short_names_stand_for_names_on_the_hub() {
    let room = Room::new();
    let page = of_repository("examples/pages/label.png");
    for (short, name) in [
        ("olmocr2", "allenai/olmOCR-2-7B-1025"),
        ("chandra", "datalab-to/chandra"),
        ("firered", "FireRedTeam/FireRed-OCR"),
        ("lighton3", "lightonai/LightOnOCR-3-0.8B"),
        ("chandra2", "datalab-to/chandra-ocr-2"),
        ("infinity-parser", "infly/Infinity-Parser-7B"),
        ("nanonets-s", "nanonets/Nanonets-OCR-s"),
    ] {
        let ran = Ran::of(&mut offline(
            &room,
            &format!("extract {page} --model {short}"),
        ));
        let error = ran.expect(1).stderr;
        assert!(
            error.contains(&format!("the cache lacks {name}")),
            "{error}"
        );
    }
}

#[test]
fn each_family_reads_pages() {
    let room = Room::new();
    let pages = of_repository("examples/pages");
    for family in ["qwen2_5_vl", "qwen2_vl"] {
        for (kind, options) in [("tied", "--dtype f32 --batch-size 3"), ("untied", "")] {
            let model = of_repository(&format!("tests/golden/tiny-{family}-{kind}"));
            let args = format!(
                "extract {pages} --model {model} --max-new-tokens 12 --retries 0 {options}"
            );
            let records = Ran::of(&mut offline(&room, &args)).expect(0).records();
            assert_eq!(records.len(), 7, "{family} {kind}");
            for record in records {
                let (width, height) = (record.width.unwrap(), record.height.unwrap());
                let factor = if kind == "tied" { [16, 28] } else { [12, 20] };
                let factor = factor[usize::from(family == "qwen2_vl")];
                assert_eq!((width % factor, height % factor), (0, 0), "{family} {kind}");
                assert!(record.completion_tokens.unwrap() > 0);
            }
        }
    }
}
