//! Reading with the installed Tesseract, as an engine and as a fallback; a script stands in for it where that says more.

use std::{fs, path::Path};

use assert_cmd::Command;
use image::{ImageFormat, Rgb, RgbImage};
use omnidocs::{
    error::ErrorKind,
    options::OutputFormat,
    page::Warning,
    record::{Record, Status},
    secrets::WITHHELD,
};

use crate::common::{Ran, Room, pdf};

/// A page with a black bar on it, for programs that need not be able to read.
fn bar() -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    RgbImage::from_fn(320, 320, |_, y| Rgb([if y < 40 { 0 } else { 255 }; 3]))
        .write_to(&mut file, ImageFormat::Png)
        .unwrap();
    file.into_inner()
}

/// A room whose `tesseract` knows English and German and otherwise does as `script` says.
#[cfg(unix)]
pub fn room_with(script: &str) -> Room {
    use std::os::unix::fs::PermissionsExt;
    let room = Room::new();
    room.put("a.png", bar()).put(
        "bin/tesseract",
        format!(
            "#!/bin/sh\ncase $1 in\n--version) echo 'tesseract 5.9.9';;\n\
             --list-langs) printf 'List of available languages (2):\\ndeu\\neng\\n';;\n*)\n{script}\n;; esac\n"
        ),
    );
    let program = room.path("bin/tesseract");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    room
}

/// `omnidocs extract ARGS…`, where programs are looked for in the room first.
pub fn extract(room: &Room, args: &str) -> Command {
    let mut command = room.omnidocs(&format!("extract {args}"));
    let system = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{system}", room.path("bin").display()));
    command
}

#[track_caller]
fn error(record: &Record) -> (ErrorKind, &str) {
    let error = record.error.as_ref().expect("a failed page");
    (error.kind, &error.message)
}

#[cfg(unix)]
#[test]
fn tesseract_gets_pixels_and_languages() {
    let room = room_with(r#"echo "$@"; head -c 15 | tr '\n' ' '; cat > /dev/null; printf '\f'"#);
    let args = "a.png --engine tesseract --tesseract-lang deu+eng -o out.jsonl";
    Ran::of(&mut extract(&room, args)).expect(0);
    let record = room.records("out.jsonl").remove(0);
    assert_eq!(
        record.content.as_deref(),
        Some("stdin stdout -l deu+eng\nP6 320 320 255")
    );
    assert_eq!(
        (record.engine.as_str(), record.output_format, record.model),
        ("tesseract", OutputFormat::Text, None)
    );
    assert_eq!((record.width, record.height), (Some(320), Some(320)));
    // Another version or other languages may read something else.
    let ran = Ran::of(&mut extract(&room, "a.png --engine tesseract -o out.jsonl")).expect(10);
    assert!(
        ran.stderr.contains(
            r#"program: "tesseract 5.9.9, deu+eng" recorded, "tesseract 5.9.9, eng" now"#
        ),
        "{}",
        ran.stderr
    );
}

#[test]
fn missing_tesseract_fails_before_reading() {
    let room = Room::new();
    room.put("a.png", bar());
    for flag in [
        "--engine tesseract",
        "--engine text-layer --fallback tesseract",
        "--model nowhere --draft tesseract",
    ] {
        let mut command = room.omnidocs(&format!("extract a.png {flag}"));
        let ran = Ran::of(command.env("PATH", room.path("nothing"))).expect(1);
        for words in [
            "tesseract: the program `tesseract` is not installed",
            "apt install tesseract-ocr",
        ] {
            assert!(ran.stderr.contains(words), "{}", ran.stderr);
        }
        assert_eq!(ran.stdout, "");
    }
}

#[cfg(unix)]
#[test]
fn missing_tesseract_language_lists_installed_ones() {
    let room = room_with("cat > /dev/null");
    for flag in ["--engine tesseract", "--model nowhere --draft tesseract"] {
        let args = format!("a.png {flag} --tesseract-lang eng+fra");
        let ran = Ran::of(&mut extract(&room, &args)).expect(1);
        for words in ["the language fra is not installed", "there are deu, eng"] {
            assert!(ran.stderr.contains(words), "{}", ran.stderr);
        }
    }
}

#[cfg(unix)]
#[test]
fn failing_tesseract_costs_one_page() {
    let cases = [
        (
            "echo 'Error in pixRead' >&2; exit 1",
            ErrorKind::Engine,
            "Error in pixRead",
            1,
        ),
        ("kill -9 $$", ErrorKind::Crashed, "signal: 9", 2),
        ("exec sleep 60", ErrorKind::Timeout, "--page-timeout", 1),
    ];
    for (script, kind, words, attempts) in cases {
        let room = room_with(script);
        let args = "a.png --engine tesseract --retries 1 --page-timeout 1.5";
        let record = Ran::of(&mut extract(&room, args))
            .expect(3)
            .records()
            .remove(0);
        let (failed, message) = error(&record);
        assert_eq!(failed, kind, "{message}");
        assert!(message.contains(words), "{message}");
        assert_eq!(record.attempts, attempts);
    }
}

#[cfg(unix)]
#[test]
fn fallback_can_be_added_later_with_retry_failed() {
    let room = room_with("cat > /dev/null; echo read by tesseract");
    room.put("b.pdf", pdf(&["a text layer"]));
    let args = "a.png b.pdf --engine text-layer -o out.jsonl";
    Ran::of(&mut extract(&room, args)).expect(3);
    let morning = format!("{args} --retry-failed --fallback tesseract");
    Ran::of(&mut extract(&room, &morning)).expect(0);
    let records = room.records("out.jsonl");
    assert_eq!(records.len(), 3);
    let last = records.last().unwrap();
    assert_eq!(
        (last.filename.as_str(), last.status, last.content.as_deref()),
        ("a.png", Status::Ok, Some("read by tesseract"))
    );
    assert_eq!((last.engine.as_str(), last.attempts), ("tesseract", 2));
    assert!(last.warnings.contains(&Warning::FallbackUsed));
}

#[cfg(target_os = "linux")]
#[test]
fn tesseract_inherits_no_secrets() {
    let room = room_with("cat > /dev/null; tr '\\0' '\\n' < /proc/self/environ");
    // The password file has this name.
    room.put("a secret", "password");
    let mut command = extract(&room, "a.png --engine tesseract");
    for name in WITHHELD {
        command.env(name, "a secret");
    }
    let record = Ran::of(&mut command).expect(0).records().remove(0);
    let environment = record.content.unwrap();
    assert!(environment.contains("PATH="), "{environment}");
    assert!(!environment.contains("a secret"), "{environment}");
}

#[test]
fn installed_tesseract_reads_print() {
    if Command::new("tesseract").arg("--version").output().is_err() {
        println!("skipped: tesseract is not installed");
        return;
    }
    let room = Room::new();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pages/receipts.pdf");
    let mut command = room.omnidocs("extract --engine tesseract --pages 1");
    let records = Ran::of(command.arg(page)).expect(0).records();
    let text = records[0].content.as_deref().unwrap_or_default();
    assert!(text.contains("Order 12"), "{text}");
}
