//! Guesses from what Tesseract reads, for pages without a text layer; scripts stand in for it.

#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use omnidocs::record::{Record, Status};

use crate::{
    common::{Ran, Room, image_of, pdf, spawn},
    tesseract::{extract, room_with},
};

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(path)
}

/// A room whose `tesseract` notes that it was started, then does as `script` says; with two scans and a PDF of four pages that
/// have nothing but a number each.
fn scans(script: &str) -> Room {
    let room = room_with(&format!("echo >> runs; {script}"));
    for scan in ["scan.jpg", "notice.png"] {
        room.put(scan, fs::read(example("pages").join(scan)).unwrap());
    }
    room.put("numbers.pdf", pdf(&["1", "2", "3", "4"]));
    room
}

/// `omnidocs extract --model examples/reader ARGS…`.
fn reading(room: &Room, args: &str) -> assert_cmd::Command {
    let mut command = extract(room, args);
    command.arg("--model").arg(example("reader"));
    command
}

fn read(room: &Room, args: &str) -> Vec<Record> {
    Ran::of(&mut reading(room, args)).expect(0).records()
}

fn contents(records: &[Record]) -> Vec<Option<&str>> {
    let contents = records.iter().map(|record| record.content.as_deref());
    contents.collect()
}

/// How often `tesseract` was asked to read.
fn runs(room: &Room) -> usize {
    fs::read(room.path("runs")).map_or(0, |runs| runs.len())
}

#[test]
fn tesseract_drafts_change_only_forward_passes() {
    let text = "The water will be off from\\n9:00 to 12:00 on Monday.\\nPlease call if you need any\\nhelp: 555 0134\\n\\f";
    let room = scans(&format!(
        "echo $OMP_THREAD_LIMIT > threads; cat > /dev/null; printf '{text}'"
    ));
    let plain = read(&room, "scan.jpg --draft off");
    assert_eq!(runs(&room), 0);
    let drafted = read(&room, "scan.jpg --draft tesseract");
    // It runs beside the model.
    assert_eq!((runs(&room), room.read("threads").as_str()), (1, "1\n"));
    assert_eq!(contents(&drafted), contents(&plain));
    let (plain, drafted) = (&plain[0], &drafted[0]);
    assert!(
        drafted.forward_passes.unwrap() * 2 < plain.forward_passes.unwrap(),
        "{drafted:?}"
    );
    assert_eq!(
        drafted.forward_passes.unwrap() + drafted.draft_accepted.unwrap(),
        plain.forward_passes.unwrap()
    );
    assert_eq!(
        (drafted.engine.as_str(), &drafted.warnings),
        ("qwen", &plain.warnings)
    );
}

#[test]
fn resume_accepts_another_draft_source() {
    let room = scans("cat > /dev/null");
    let run = |draft: &str| {
        let args = format!("scan.jpg -o out.jsonl --draft {draft}");
        Ran::of(&mut reading(&room, &args)).expect(0)
    };
    run("tesseract");
    run("off");
    run("tesseract");
    assert_eq!((room.records("out.jsonl").len(), runs(&room)), (1, 1));
}

#[test]
fn tesseract_drafts_skip_pages_with_text_or_sampling() {
    let room = scans("cat > /dev/null");
    let note = fs::read(example("pages/note.pdf")).unwrap();
    room.put("note.pdf", note)
        .put("blank.png", image_of(256, 64, image::ImageFormat::Png));
    for args in [
        "note.pdf blank.png",
        "scan.jpg --temperature 0.7",
        "note.pdf --engine text-layer",
        "scan.jpg --dry-run",
    ] {
        Ran::of(&mut reading(&room, &format!("{args} --draft tesseract"))).expect(0);
        assert_eq!(runs(&room), 0, "{args}");
    }
    // A number is not what a page says.
    read(&room, "numbers.pdf --pages 1-2 --draft tesseract");
    assert_eq!(runs(&room), 2);
}

#[test]
fn failing_tesseract_costs_only_its_draft() {
    let plain = read(&scans(""), "notice.png scan.jpg --draft off");
    for (script, words) in [
        ("echo 'Error in pixRead' >&2; exit 1", "Error in pixRead"),
        ("kill -9 $$", "signal: 9"),
        // What a script has started ends with it.
        ("sleep 60", "tesseract took too long"),
    ] {
        let room = scans(script);
        let begin = Instant::now();
        let args = "notice.png scan.jpg --draft tesseract --page-timeout 12 --workers 1";
        let ran = Ran::of(&mut reading(&room, args)).expect(0);
        assert_eq!(contents(&ran.records()), contents(&plain), "{script}");
        assert!(begin.elapsed() < Duration::from_secs(50), "{script}");
        assert_eq!(runs(&room), 2);
        // Once for both pages.
        assert_eq!(ran.stderr.matches(words).count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn three_tesseract_failures_stop_its_drafts() {
    let room = scans("exit 1");
    let args = "numbers.pdf scan.jpg --draft tesseract --workers 1";
    let ran = Ran::of(&mut reading(&room, args)).expect(0);
    let records = ran.records();
    assert_eq!(records.len(), 5);
    assert!(records.iter().all(|record| record.status == Status::Ok));
    assert_eq!(runs(&room), 3);
    assert!(ran.stderr.contains("3 times in a row"), "{}", ran.stderr);
}

#[test]
fn signal_ends_running_tesseract_drafts() {
    let room = scans("[ -e seen ] || exec touch seen; echo $$ > new; mv new id; exec sleep 600");
    let args = "scan.jpg notice.png -o out.jsonl --draft tesseract --workers 1";
    let run = spawn(&mut reading(&room, args));
    let waiting =
        || fs::read_to_string(room.path("out.jsonl")).is_ok_and(|out| out.ends_with('\n'));
    let begin = Instant::now();
    while !(waiting() && room.path("id").exists()) {
        assert!(begin.elapsed() < Duration::from_secs(60), "no page is done");
        thread::sleep(Duration::from_millis(5));
    }
    let kill = |args: &[&str]| Command::new("kill").args(args).output().unwrap().status;
    assert!(kill(&["-TERM", &run.id().to_string()]).success());
    Ran::end_of(run).expect(143);
    assert_eq!(room.records("out.jsonl").len(), 1);
    let tesseract = room.read("id");
    assert!(!kill(&["-0", tesseract.trim()]).success(), "it runs still");
}
