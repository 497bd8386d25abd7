//! Where records and messages go.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::common::{Ran, Room, image, pdf};
use image::ImageFormat;

fn room_with_a_good_and_a_bad_file() -> Room {
    let room = Room::new();
    room.put("good.pdf", pdf(&["all is well"]))
        .put("bad.pdf", "not a PDF");
    room
}

#[test]
fn records_go_to_the_output_and_the_summary_to_stderr() {
    let room = room_with_a_good_and_a_bad_file();
    room.put("picture.png", image(ImageFormat::Png));
    let ran = room
        .extract("good.pdf bad.pdf picture.png -o out.jsonl")
        .expect(3);
    assert_eq!(ran.stdout, "");
    let records = room.records("out.jsonl");
    assert_eq!(
        records
            .iter()
            .filter(|record| record.error.is_some())
            .count(),
        2
    );
    let mut lines = ran.stderr.lines();
    let (_, first) = lines.next().unwrap().split_once(' ').unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        first,
        format!("omnidocs {version} · text-layer · 3 documents → out.jsonl")
    );
    for start in [
        "read      3 documents → out.jsonl",
        "pages     1 ok, 2 failed; 3 words",
        "pace      ",
        "time      ",
        "failed    bad.pdf: the content is neither a PDF nor an image",
        "failed    picture.png, page 1: an image has no text layer; ",
    ] {
        let line = lines.next().unwrap_or_default();
        assert!(line.starts_with(start), "{start}: {}", ran.stderr);
    }
    let program = env!("CARGO_BIN_EXE_omnidocs");
    assert_eq!(
        lines.next().unwrap(),
        format!(
            "again     {program} extract --engine text-layer good.pdf bad.pdf picture.png -o out.jsonl --retry-failed"
        )
    );
    assert_eq!(lines.next(), None);
}

#[test]
fn unwritable_output_fails_before_reading() {
    let room = room_with_a_good_and_a_bad_file();
    room.put("folder/file", "");
    for (output, message) in [
        (
            "gone/out.jsonl",
            "--output gone/out.jsonl: the folder gone does not exist; create it first",
        ),
        (
            "folder",
            "--output folder is a folder; name a file in it, like folder/results.jsonl",
        ),
        ("good.pdf/out.jsonl", "the folder good.pdf does not exist"),
    ] {
        // The model is not there either, and is not what the message is about.
        let ran =
            Ran::of(&mut room.omnidocs(&format!("extract good.pdf --model gone -o {output}")))
                .expect(1);
        assert!(ran.stderr.contains(message), "{output}: {}", ran.stderr);
    }
}

#[test]
fn dash_output_is_stdout() {
    let room = room_with_a_good_and_a_bad_file();
    assert_eq!(
        room.extract("good.pdf -o -").expect(0).pages(),
        ["good.pdf:1"]
    );
    assert!(!room.path("-").exists());
}

#[test]
fn closed_stdout_ends_the_run_quietly() {
    let room = Room::new();
    let page = "a line of text that fills the pipe\n".repeat(20);
    room.put("long.pdf", pdf(&vec![page.as_str(); 200]));
    let mut program = Command::new(env!("CARGO_BIN_EXE_omnidocs"))
        .args(["extract", "long.pdf", "--engine", "text-layer"])
        .current_dir(room.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(line.contains(r#""page":1,"#), "{line}");
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.lines().count() == 1 && stderr.contains("· 1 document → the standard output"),
        "only the first line of the run: {stderr}"
    );
}

#[test]
fn quiet_shows_only_errors_and_failures() {
    let room = room_with_a_good_and_a_bad_file();
    let ran = room.extract("good.pdf bad.pdf -q").expect(3);
    assert_eq!(ran.records().len(), 2);
    assert!(
        ran.stderr.starts_with("failed    bad.pdf: ") && ran.stderr.lines().count() == 1,
        "{}",
        ran.stderr
    );
    let ran = Ran::of(room.text_layer("good.pdf").env("OMNIDOCS_QUIET", "1")).expect(0);
    assert_eq!(ran.stderr, "");
    let ran = Ran::of(room.text_layer("good.pdf").env("OMNIDOCS_QUIET", "0")).expect(0);
    assert!(ran.stderr.contains("1 document"), "{}", ran.stderr);
    let ran = room.extract("gone.pdf -q").expect(1);
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
}

#[test]
fn verbose_shows_each_page() {
    let room = room_with_a_good_and_a_bad_file();
    for verbose in [
        &mut room.text_layer("good.pdf bad.pdf -v"),
        room.text_layer("good.pdf bad.pdf")
            .env("OMNIDOCS_VERBOSE", "1"),
    ] {
        let ran = Ran::of(verbose).expect(3);
        assert!(
            ran.stderr.contains("[1/1+] good.pdf p.1 ✓ 3 words "),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("[2/2] bad.pdf ✗ unsupported: ")
                && ran.stderr.contains("\nfailed    bad.pdf: "),
            "the page and the summary: {}",
            ran.stderr
        );
    }
    assert!(!room.extract("good.pdf").stderr.contains("p.1"));
}

#[test]
fn progress_off_keeps_the_summary() {
    let room = room_with_a_good_and_a_bad_file();
    for progress in ["auto", "bar", "plain", "off"] {
        let ran = room
            .extract(&format!("good.pdf --progress {progress}"))
            .expect(0);
        assert!(
            ran.stderr.contains("\nread      1 document\n"),
            "{progress}: {}",
            ran.stderr
        );
        assert!(!ran.stderr.contains('\x1b'), "{progress}: {}", ran.stderr);
    }
}

#[test]
fn log_lines_have_times_unless_on_a_terminal() {
    let room = room_with_a_good_and_a_bad_file();
    let ran = room.extract("good.pdf bad.pdf -v -o out.jsonl").expect(3);
    let lines: Vec<_> = ran.stderr.lines().collect();
    for line in &lines[..3] {
        let (time, _) = line.split_once(' ').unwrap();
        let shape: String = time
            .chars()
            .map(|character| {
                if character.is_ascii_digit() {
                    '9'
                } else {
                    character
                }
            })
            .collect();
        assert_eq!(shape, "9999-99-99T99:99:99Z", "{line}");
    }
    assert!(lines[3].starts_with("read      "), "{}", ran.stderr);
}
