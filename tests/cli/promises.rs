//! The promises that the documentation makes about a run, each with the tests that are named after it:
//!
//! 1. The output is the checkpoint: what is in it is done, and nothing that is not.
//! 2. The same command again goes on.
//! 3. A page is known by the bytes of its document and its number.
//! 4. A kill at any instant costs at most the pages in flight.
//! 5. Settings that change the output are kept beside it, and others are refused.
//! 6. Two runs on one output: the second is refused.
//! 7. One bad input never ends the batch; one bad page never fails its document.
//! 8. A signal ends the run after the page in hand; a second one ends it at once.

use std::{collections::BTreeSet, fs, fs::OpenOptions, process::Stdio, thread, time::Duration};

use omnidocs::record::{Record, Status, Timings};

use crate::common::{Ran, Room, pdf};

const OUT: &str = "out.jsonl";

/// Three documents of four pages in all, and one that is no document.
fn room() -> Room {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one", "two"]))
        .put("in/b.pdf", pdf(&["three"]))
        .put("in/bad.pdf", "This is no PDF.")
        .put("in/c.pdf", pdf(&["four"]));
    room
}

/// The records without their times, in one order whatever order they were written in.
fn sorted(room: &Room) -> Vec<Record> {
    let mut records = room.records(OUT);
    for record in &mut records {
        record.timings_ms = Timings::default();
    }
    records.sort_by(|a, b| (&a.path, a.page).cmp(&(&b.path, b.page)));
    records
}

#[test]
fn promise_2_resume_skips_done_pages() {
    let room = room();
    room.extract("in -o out.jsonl").expect(3);
    let first = room.read(OUT);
    assert_eq!(first.lines().count(), 5);
    // One document is none, which an earlier run has found out.
    let again = room.extract("in -o out.jsonl").expect(3);
    assert_eq!(room.read(OUT), first);
    for words in [
        "resuming out.jsonl, which has 5 pages",
        "before    5 pages: 4 ok, 1 failed\n",
        "failed    in/bad.pdf: the content is neither a PDF",
    ] {
        assert!(again.stderr.contains(words), "{}", again.stderr);
    }
}

#[test]
fn promise_3_resume_reads_new_and_edited_not_renamed_files() {
    let room = room();
    room.extract("in -o out.jsonl").expect(3);
    fs::rename(room.path("in/b.pdf"), room.path("in/renamed.pdf")).unwrap();
    room.put("in/c.pdf", pdf(&["edited"]))
        .put("in/new.pdf", pdf(&["new"]));
    let before = room.records(OUT).len();
    room.extract("in -o out.jsonl").expect(3);
    let added: Vec<_> = room
        .records(OUT)
        .drain(before..)
        .map(|record| record.filename)
        .collect();
    assert_eq!(added, ["c.pdf", "new.pdf", "renamed.pdf"]);
}

#[test]
fn promise_3_copies_are_read_once() {
    let room = room();
    room.put("in/copy of a.pdf", pdf(&["one", "two"]));
    let ran = room.extract("in -o out.jsonl").expect(3);
    let names: BTreeSet<_> = room
        .records(OUT)
        .into_iter()
        .map(|record| record.filename)
        .collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(
        ran.stderr
            .contains("read      5 documents, 1 of them a copy of another"),
        "{}",
        ran.stderr
    );
}

#[cfg(unix)]
#[test]
fn promise_3_cached_checksum_is_valid_until_the_file_changes() {
    let room = room();
    let hashes = |room: &Room| {
        let text = fs::read_to_string(room.path("out.jsonl.hashes")).unwrap_or_default();
        text.lines().count()
    };
    // Files that have just been written may change once more within the same tick of the clock.
    room.extract("in -o out.jsonl").expect(3);
    assert_eq!(hashes(&room), 0);
    thread::sleep(Duration::from_millis(3100));
    let again = room.extract("in -o out.jsonl").expect(3);
    assert_eq!(hashes(&room), 4);
    // From now on they are not even read, which changes nothing.
    let known = room.extract("in -o out.jsonl").expect(3);
    let summary = |ran: &Ran| {
        let (_, summary) = ran.stderr.split_once("\nread ").unwrap();
        summary.to_owned()
    };
    assert_eq!((hashes(&room), summary(&known)), (4, summary(&again)));
    // Neither the size nor the time of a file that is edited need change.
    let path = room.path("in/c.pdf");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    room.put("in/c.pdf", pdf(&["hour"]));
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    room.extract("in -o out.jsonl").expect(3);
    assert_eq!(hashes(&room), 4, "one line for each file");
    let last = room.records(OUT).pop().unwrap();
    assert_eq!(last.content.as_deref(), Some("hour"));
}

#[test]
fn promise_2_resume_reads_newly_selected_pages() {
    let room = room();
    room.extract("in/a.pdf --pages 1 -o out.jsonl").expect(0);
    room.extract("in/a.pdf -o out.jsonl").expect(0);
    let pages: Vec<_> = room.records(OUT).iter().map(|record| record.page).collect();
    assert_eq!(pages, [1, 2]);
}

#[test]
fn promise_2_retry_failed_reads_again_and_newer_record_wins() {
    let room = room();
    room.put("list", "in/a.pdf\ngone.pdf\n");
    room.extract("--files-from list -o out.jsonl").expect(3);
    room.extract("--files-from list -o out.jsonl").expect(3);
    assert_eq!(room.records(OUT).len(), 3);
    room.extract("--files-from list -o out.jsonl --retry-failed")
        .expect(3);
    assert_eq!(room.records(OUT).len(), 4, "it failed again, and says so");
    room.put("gone.pdf", pdf(&["found"]));
    room.extract("--files-from list -o out.jsonl").expect(0);
    let last = room.records(OUT).pop().unwrap();
    assert_eq!(
        (last.filename.as_str(), last.status),
        ("gone.pdf", Status::Ok)
    );
}

#[test]
fn promise_1_output_cut_at_any_byte_is_completed() {
    let room = room();
    room.extract("in -o out.jsonl").expect(3);
    let whole = room.read(OUT).into_bytes();
    let complete = sorted(&room);
    // Every byte of a whole line and its surroundings; OMNIDOCS_LONG_TESTS tries them all.
    let step = if std::env::var_os("OMNIDOCS_LONG_TESTS").is_some() {
        1
    } else {
        97
    };
    for length in (0..whole.len()).step_by(step) {
        room.put(OUT, &whole[..length]);
        let ran = room.extract("in -o out.jsonl");
        assert_eq!(ran.code, Some(3), "{length}: {ran:#?}");
        assert_eq!(sorted(&room), complete, "cut at byte {length}");
        let torn = length > 0 && whole[length - 1] != b'\n';
        assert_eq!(
            ran.stderr.contains("an unfinished line"),
            torn,
            "{length}: {}",
            ran.stderr
        );
    }
}

#[test]
fn promise_4_broken_line_is_named_and_nothing_changes() {
    let room = room();
    room.extract("in -o out.jsonl").expect(3);
    let mut lines: Vec<_> = room.read(OUT).lines().map(str::to_owned).collect();
    lines[1].truncate(40);
    let broken = lines.join("\n") + "\n";
    room.put(OUT, &broken);
    let ran = room.extract("in -o out.jsonl").expect(1);
    assert!(
        ran.stderr.contains("out.jsonl is damaged") && ran.stderr.contains("line 2"),
        "{}",
        ran.stderr
    );
    assert_eq!(room.read(OUT), broken);
}

#[test]
fn promise_5_different_settings_are_refused_by_name() {
    let room = room();
    room.extract("in -o out.jsonl").expect(3);
    let before = room.read(OUT);
    let ran = room.extract("in -o out.jsonl --format html").expect(10);
    assert!(
        ran.stderr
            .contains(r#"format: "markdown" recorded, "html" now"#),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("--restart"), "{}", ran.stderr);
    assert_eq!(room.read(OUT), before);
    fs::remove_file(room.path("out.jsonl.meta.json")).unwrap();
    let ran = room.extract("in -o out.jsonl").expect(1);
    assert!(
        ran.stderr.contains("out.jsonl.meta.json") && ran.stderr.contains("is missing"),
        "{}",
        ran.stderr
    );
}

#[test]
fn promise_1_foreign_file_is_never_written() {
    let room = room();
    room.put(OUT, "something dear\n");
    room.extract("in -o out.jsonl").expect(1);
    assert_eq!(room.read(OUT), "something dear\n");
    assert!(!room.path("out.jsonl.meta.json").exists());
}

#[test]
fn promise_5_restart_backs_up_every_old_output() {
    let room = room();
    room.extract("in -o out.jsonl").expect(3);
    let first = room.read(OUT);
    for (format, kept) in [("html", "out.jsonl.bak"), ("text", "out.jsonl.bak2")] {
        let ran = room
            .extract(&format!("in -o out.jsonl --restart --format {format}"))
            .expect(3);
        assert!(
            ran.stderr.contains(&format!("kept as {kept}")),
            "{}",
            ran.stderr
        );
        assert_eq!(room.records(OUT).len(), 5);
        assert!(room.path(format!("{kept}.meta.json")).exists());
    }
    assert_eq!(room.read("out.jsonl.bak"), first);
}

#[test]
fn promise_6_second_run_is_refused_and_locks_die_with_runs() {
    let room = room();
    room.extract("in -o out.jsonl").expect(3);
    let holder = OpenOptions::new()
        .append(true)
        .open(room.path(OUT))
        .unwrap();
    holder.lock().unwrap();
    let ran = room.extract("in -o out.jsonl").expect(11);
    for words in ["another omnidocs is writing to out.jsonl", "process "] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    drop(holder);
    room.extract("in -o out.jsonl").expect(3);
}

#[cfg(unix)]
#[test]
fn promise_8_signal_finishes_the_page_and_resume_completes() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let room = Room::new();
        let texts: Vec<String> = (0..60).map(|page| format!("page {page}")).collect();
        room.put(
            "in.pdf",
            pdf(&texts.iter().map(String::as_str).collect::<Vec<_>>()),
        );
        let args = "extract in.pdf -o out.jsonl --max-pixels 16384 --model";
        let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reader");
        let assert = room.omnidocs(args);
        let mut command = std::process::Command::new(assert.get_program());
        command
            .args(assert.get_args())
            .arg(reader)
            .current_dir(room.path(""));
        let child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pages = || {
            fs::read_to_string(room.path(OUT))
                .unwrap_or_default()
                .lines()
                .count()
        };
        while pages() < 3 {
            thread::sleep(Duration::from_millis(10));
        }
        let kill = format!("kill -{signal} {}", child.id());
        assert!(
            std::process::Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            stderr.contains("run the same command again to resume"),
            "{stderr}"
        );
        let done = room.records(OUT).len();
        assert!((3..60).contains(&done));

        Ran::of(
            room.omnidocs(&format!("{args} {reader} --max-new-tokens 1"))
                .arg("--quiet"),
        )
        .expect(10);
        Ran::of(room.omnidocs(args).arg(reader)).expect(0);
        let pages: BTreeSet<u32> = room.records(OUT).iter().map(|record| record.page).collect();
        assert_eq!((room.records(OUT).len(), pages.len()), (60, 60));
    }
}
