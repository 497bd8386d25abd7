//! What the options and their environment variables do, and how wrong ones are answered.

use image::ImageFormat;
use omnidocs::{
    error::{ErrorKind, Stage},
    options::OutputFormat,
    record::Status,
};

use crate::common::{Ran, Room, image, pdf};

fn room_with_three_pages() -> Room {
    let room = Room::new();
    room.put("a.pdf", pdf(&["one", "two", "three"]));
    room
}

#[test]
fn pages_option_selects_from_each_document() {
    let room = room_with_three_pages();
    room.put("b.pdf", pdf(&["only"]));
    for (pages, expected) in [
        ("2", "a.pdf:2"),
        ("1,3", "a.pdf:1 a.pdf:3 b.pdf:1"),
        ("-2", "a.pdf:1 a.pdf:2 b.pdf:1"),
        ("2-", "a.pdf:2 a.pdf:3"),
        ("3,1-2", "a.pdf:1 a.pdf:2 a.pdf:3 b.pdf:1"),
        ("7", ""),
    ] {
        let ran = room
            .extract(&format!("a.pdf b.pdf --pages {pages}"))
            .expect(0);
        assert_eq!(ran.pages().join(" "), expected, "--pages {pages}");
    }
    let ran = room.extract("a.pdf b.pdf --pages 2").expect(0);
    assert!(
        ran.stderr
            .contains("2 documents, 1 without any of the requested pages"),
        "{}",
        ran.stderr
    );
}

#[test]
fn environment_sets_every_option_and_flags_win() {
    let room = room_with_three_pages();
    room.put("in/b.pdf", pdf(&["b"]))
        .put("in/c.pdf", pdf(&["c"]))
        .put("in/d.pdf", pdf(&["d"]));
    room.put("list", "a.pdf\n");
    for (variable, value, args, expected) in [
        ("OMNIDOCS_PAGES", "2-", "a.pdf", "a.pdf:2 a.pdf:3"),
        ("OMNIDOCS_PAGES", "2-", "a.pdf --pages 1", "a.pdf:1"),
        (
            "OMNIDOCS_INCLUDE",
            "b.pdf, d.*",
            "in",
            "in/b.pdf:1 in/d.pdf:1",
        ),
        (
            "OMNIDOCS_INCLUDE",
            "{b,d}.pdf",
            "in",
            "in/b.pdf:1 in/d.pdf:1",
        ),
        (
            "OMNIDOCS_INCLUDE",
            "b.pdf,d.pdf",
            "in --include c.pdf",
            "in/c.pdf:1",
        ),
        ("OMNIDOCS_EXCLUDE", "b.pdf", "in", "in/c.pdf:1 in/d.pdf:1"),
        ("OMNIDOCS_FILES_FROM", "list", "--pages 1", "a.pdf:1"),
        ("OMNIDOCS_ENGINE", "qwen", "a.pdf --pages 1", "a.pdf:1"), // text-layer is typed
    ] {
        let ran = Ran::of(room.text_layer(args).env(variable, value)).expect(0);
        assert_eq!(ran.pages().join(" "), expected, "{variable}={value} {args}");
    }
    let ran = Ran::of(
        room.omnidocs("extract a.pdf")
            .env("OMNIDOCS_ENGINE", "text-layer")
            .env("OMNIDOCS_OUTPUT", "out.jsonl"),
    );
    assert_eq!(ran.expect(0).stdout, "");
    assert_eq!(room.records("out.jsonl").len(), 3);
}

#[test]
fn repeated_option_has_its_last_value() {
    let room = room_with_three_pages();
    let ran = room.extract("a.pdf --pages 1 --pages 2").expect(0);
    assert_eq!(ran.pages(), ["a.pdf:2"]);
}

#[test]
fn text_layer_engine_reads_pdfs_and_fails_on_images() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["Dear reader,\nall is well.", ""]))
        .put("b.png", image(ImageFormat::Png));
    let records = room
        .extract("a.pdf b.png --format text")
        .expect(3)
        .records();
    let first = &records[0];
    assert_eq!(
        first.content.as_deref().map(str::trim_end),
        Some("Dear reader,\nall is well.")
    );
    assert_eq!(
        (first.schema, first.status, first.word_count),
        (2, Status::Ok, 5)
    );
    assert_eq!(
        first.content_length,
        first.content.as_ref().unwrap().chars().count()
    );
    assert_eq!(
        (
            first.engine.as_str(),
            first.model.as_ref(),
            first.output_format
        ),
        ("text-layer", None, OutputFormat::Text)
    );
    assert_eq!(
        (first.page, first.page_count, first.width, first.height),
        (1, Some(2), None, None)
    );
    assert_eq!(
        first.size_bytes,
        Some(std::fs::metadata(room.path("a.pdf")).unwrap().len())
    );
    assert_eq!(first.doc_id.as_ref().map(String::len), Some(64));
    // As on a scan: a fallback is to read it.
    let error = records[1].error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("text layer is empty"), "{error}");
    let error = records[2].error.as_ref().unwrap();
    assert_eq!(
        (error.kind, error.stage),
        (ErrorKind::Unsupported, Stage::Engine)
    );
    assert_eq!(
        error.message,
        "an image has no text layer; use --engine qwen to read it from its pixels"
    );
    assert_eq!((records[2].page, records[2].page_count), (1, Some(1)));
}

#[test]
fn preparation_options_change_no_text() {
    let room = room_with_three_pages();
    let contents = |args: &str| {
        let records = room.extract(&format!("a.pdf {args}")).expect(0).records();
        records
            .into_iter()
            .map(|record| record.content.unwrap())
            .collect::<Vec<_>>()
    };
    let usual = contents("");
    assert_eq!(usual.len(), 3);
    for args in [
        "--workers 1 --prefetch 1",
        "--workers 3",
        "--prefetch 50",
        "--dpi 72.5",
        "--min-pixels 4096 --max-pixels 1048576",
    ] {
        assert_eq!(contents(args), usual, "{args}");
    }
}

#[test]
fn huge_numbers_are_usage_errors() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["one"]));
    for (args, message) in [
        (
            "a.pdf --prefetch 18446744073709551615",
            "--prefetch 18446744073709551615 is too large",
        ),
        (
            "a.pdf --workers 1025",
            "--workers 1025 is not between 1 and 1024",
        ),
        (
            "a.pdf --batch-size 257",
            "--batch-size 257 is not between 1 and 256",
        ),
        (
            "a.pdf --server-url http://a --concurrency 4097",
            "--concurrency 4097 is not between 1 and 4096",
        ),
    ] {
        let ran = room.extract(args).expect(2);
        assert!(ran.stderr.contains(message), "{args}: {}", ran.stderr);
    }
}

#[test]
fn usage_errors_name_the_flag_and_a_valid_value() {
    let room = room_with_three_pages();
    room.put("empty", "\n").put("list", "a.pdf\n");
    for (args, message) in [
        ("", "<INPUT>..."),
        ("a.pdf --nonsense", "unexpected argument '--nonsense'"),
        (
            "a.pdf --pages 3-1",
            "'--pages <PAGES>': the range 3-1 is reversed; use 1-3",
        ),
        ("a.pdf --pages 0", "'--pages <PAGES>': pages count from 1"),
        ("a.pdf --pages all", "use pages and ranges like 1-3,7"),
        (
            "a.pdf --engine magic",
            "[possible values: qwen, server, tesseract, text-layer]",
        ),
        (
            "a.pdf --format docx",
            "[possible values: markdown, html, text, json]",
        ),
        (
            "a.pdf --device tpu",
            "'--device <DEVICE>': use auto, cpu, cpu:N for N instances, cuda, or cuda:N",
        ),
        ("a.pdf --device cuda:x", "use auto, cpu, cpu:N"),
        ("a.pdf --device cuda:", "use auto, cpu, cpu:N"),
        ("a.pdf --device cuda:0,,1", "use auto, cpu, cpu:N"),
        ("a.pdf --device cuda:0,1,", "use auto, cpu, cpu:N"),
        ("a.pdf --device cpu:two", "use auto, cpu, cpu:N"),
        (
            "a.pdf --device cuda:0,1,0",
            "'--device <DEVICE>': device 0 is listed twice",
        ),
        ("a.pdf --device cpu:0", "cpu:N takes 1 to 1024 instances"),
        (
            "a.pdf --dtype int3",
            "[possible values: auto, f32, bf16, f16, q8_0, q4_k]",
        ),
        (
            "a.pdf --progress fancy",
            "[possible values: auto, bar, plain, json, off]",
        ),
        (
            "a.pdf --max-new-tokens 0",
            "--max-new-tokens 0 allows no answer; use 1 or more",
        ),
        (
            "a.pdf --temperature -0.5",
            "--temperature -0.5 is out of range; use 0 or more",
        ),
        (
            "a.pdf --temperature NaN",
            "--temperature NaN is out of range; use 0 or more",
        ),
        ("a.pdf --seed -1", "invalid value '-1' for '--seed <N>'"),
        ("a.pdf --dpi 0", "--dpi 0 is not between 1 and 2400"),
        ("a.pdf --dpi -72", "--dpi -72 is not between 1 and 2400"),
        ("a.pdf --dpi inf", "--dpi inf is not between 1 and 2400"),
        (
            "a.pdf --min-pixels 90000 --max-pixels 80000",
            "--max-pixels 80000 is below --min-pixels 90000",
        ),
        (
            "a.pdf --max-pixels 1023",
            "--max-pixels 1023 is too small for this model; use 1024 (32 × 32) or more",
        ),
        (
            "a.pdf --min-pixels 999999999999",
            "--min-pixels 999999999999 is too large for any model",
        ),
        ("a.pdf --workers 0", "--workers 0 is not between 1 and 1024"),
        (
            "a.pdf --prefetch 0",
            "--prefetch 0 prepares nothing; use 1 or more",
        ),
        ("a.pdf --include [", "--include: error parsing glob '['"),
        ("a.pdf --exclude {a", "--exclude: error parsing glob '{a'"),
        (
            "a.pdf --prompt Hi --prompt-file list",
            "--prompt and --prompt-file are both given; use one of them",
        ),
        (
            "a.pdf --prompt-file empty",
            "--prompt-file empty is empty; leave it out to ask for Markdown",
        ),
        ("a.pdf --prompt-file gone", "cannot read --prompt-file gone"),
        ("a.pdf --model=", "--model is empty"),
        ("a.pdf -q -v", "--quiet and --verbose exclude each other"),
    ] {
        assert_usage_error(&room, args, message);
    }
}

#[test]
fn invalid_retries_timeouts_and_fallbacks_are_usage_errors() {
    let room = room_with_three_pages();
    for (args, message) in [
        ("a.pdf --retries -1", "--retries"),
        ("a.pdf --retries 1000", "--retries 1000 is too large"),
        ("a.pdf --page-timeout 0", "--page-timeout 0 is out of range"),
        (
            "a.pdf --page-timeout -5",
            "--page-timeout -5 is out of range",
        ),
        (
            "a.pdf --fallback abbyy",
            "invalid value 'abbyy' for '--fallback",
        ),
        (
            "a.pdf --fallback text-layer",
            "--fallback and --engine name the same engine",
        ),
        (
            "a.pdf --tesseract-lang eng++deu",
            "--tesseract-lang \"eng++deu\" is not a list",
        ),
    ] {
        assert_usage_error(&room, args, message);
    }
}

#[track_caller]
fn assert_usage_error(room: &Room, args: &str, message: &str) {
    let ran = room.extract(args).expect(2);
    assert!(
        ran.stderr.starts_with("error: ") && ran.stderr.contains(message),
        "{args}: {}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("try '--help'"),
        "{args}: {}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "", "{args}");
}

#[test]
fn invalid_environment_value_is_a_usage_error() {
    let room = room_with_three_pages();
    for (variable, value, message) in [
        ("OMNIDOCS_DPI", "0", "--dpi 0 is not between 1 and 2400"),
        ("OMNIDOCS_WORKERS", "many", "'--workers <N>'"),
        (
            "OMNIDOCS_EXCLUDE",
            "*.pdf,[",
            "OMNIDOCS_EXCLUDE: error parsing glob '['",
        ),
    ] {
        let ran = Ran::of(room.text_layer("a.pdf").env(variable, value)).expect(2);
        assert!(
            ran.stderr.contains(message),
            "{variable}={value}: {}",
            ran.stderr
        );
    }
}

#[test]
fn dry_run_lists_documents_and_changes_nothing() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one", "two", "three"]))
        .put("in/b.pdf", pdf(&["one", "four"]))
        .put("in/c.pdf", "no PDF");
    let dry = |args: &str| {
        let ran = room.extract(&format!("in -o out.jsonl --dry-run {args}"));
        ran.expect(0)
    };
    let ran = dry("");
    assert_eq!(
        ran.stdout.lines().take(2).collect::<Vec<_>>(),
        ["in/a.pdf: 3 of 3 pages", "in/b.pdf: 2 of 2 pages"]
    );
    assert!(
        ran.stdout
            .contains("in/c.pdf: cannot be read: the content is neither"),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.stderr, "would read 5 pages of 3 documents\n");
    assert!(!room.path("out.jsonl").exists() && !room.path("out.jsonl.meta.json").exists());

    room.extract("in -o out.jsonl --pages 2").expect(3);
    let before = room.read("out.jsonl");
    std::fs::remove_file(room.path("out.jsonl.hashes")).unwrap();
    assert_eq!(
        dry("").stdout,
        "in/a.pdf: 2 of 3 pages\nin/b.pdf: 1 of 2 pages\n"
    );
    assert_eq!(dry("--retry-failed").stdout.lines().count(), 3);
    assert_eq!(
        dry("--restart").stderr,
        "would read 5 pages of 3 documents\n"
    );
    room.extract("in -o out.jsonl --dry-run --format html")
        .expect(10);
    assert_eq!(room.read("out.jsonl"), before);
    assert!(!room.path("out.jsonl.hashes").exists());
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["one"]));
    for name in [
        "DPI", "PAGES", "ENGINE", "WORKERS", "QUIET", "OUTPUT", "PROMPT",
    ] {
        let ran = Ran::of(room.text_layer("a.pdf").env(format!("OMNIDOCS_{name}"), "")).expect(0);
        assert_eq!(ran.pages(), ["a.pdf:1"], "{name}");
    }
}

#[test]
fn unknown_variable_warns_with_the_nearest_option() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["one"]));
    let misspelt =
        |args: &str| Ran::of(room.text_layer(args).env("OMNIDOCS_MAX_TOKENS", "5")).expect(0);
    let warning = "warning: OMNIDOCS_MAX_TOKENS is not an option and is ignored; did you mean OMNIDOCS_MAX_NEW_TOKENS?\n";
    let ran = misspelt("a.pdf");
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    assert_eq!(misspelt("a.pdf -q").stderr, "");
}
