//! Drafts of the model's own head, `--draft mtp`.

use std::path::{Path, PathBuf};

use crate::common::{Ran, Room};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// `omnidocs extract label.png ARGS…` with a model of this project.
fn label(room: &Room, model: &str, args: &str) -> Ran {
    let mut command = room.omnidocs("extract");
    command
        .arg(file("examples/pages/label.png"))
        .arg("--model")
        .arg(file(model))
        .args(args.split_whitespace())
        .env("XDG_CACHE_HOME", room.path("caches"));
    Ran::of(&mut command)
}

#[test]
fn draft_mtp_changes_no_record_but_its_passes() {
    const MODEL: &str = "tests/golden/tiny-qwen3_5-untied";
    for dtype in ["f32", "q8_0"] {
        let room = Room::new();
        let read = |draft: &str| {
            let args = format!("--draft {draft} --dtype {dtype} --max-new-tokens 24 --retries 0");
            let records = label(&room, MODEL, &args).expect(0).records();
            records[0].content.clone().unwrap()
        };
        let plain = read("off");
        assert!(!plain.is_empty());
        assert_eq!(read("mtp"), plain, "{dtype}");
    }
}

#[test]
fn draft_mtp_without_a_head_is_a_usage_error_before_anything_is_read() {
    for (model, words) in [
        ("tests/golden/tiny-qwen3_5-tied", "no draft head (mtp.*)"),
        ("examples/reader", "of a family without a draft head"),
    ] {
        let room = Room::new();
        let ran = label(&room, model, "--draft mtp -o out.jsonl").expect(2);
        assert!(ran.stderr.contains("--draft mtp"), "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert!(ran.stderr.contains("--draft auto"), "{}", ran.stderr);
        assert!(!room.path("out.jsonl").exists());
    }
    let other = Room::new();
    let args = "--draft mtp --engine text-layer";
    label(&other, "examples/reader", args).expect(3);
}
