//! What people see of an output: `omnidocs status`, `show` and `export`.

#![cfg(unix)]

use std::{fs, os::unix::fs::MetadataExt};

use crate::common::{Ran, Room, pdf};

/// Two good documents, one with a broken relative, in an output that was read from text layers.
fn room() -> Room {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["First page", "Second page"]));
    room.put("in/sub/b.pdf", pdf(&["Only page"]));
    room.put("in/bad.pdf", "This is no PDF.");
    room.put("in/\u{1b}[2Jred.pdf", "Nor is this.");
    Ran::of(&mut room.text_layer("in -o r.jsonl")).expect(3);
    room
}

/// As if a model had written the records.
fn in_markdown(room: &Room) {
    let text = room.read("r.jsonl");
    let text = text.replace(r#""output_format":"text""#, r#""output_format":"markdown""#);
    room.put("r.jsonl", text);
}

fn run(room: &Room, args: &str) -> Ran {
    Ran::of(&mut room.omnidocs(args))
}

#[test]
fn status_tells_pages_failures_and_what_to_do() {
    let room = room();
    let ran = run(&room, "status r.jsonl").expect(0);
    for part in [
        "output    r.jsonl\n",
        "run       finished; the last run recorded 5 pages in ",
        "documents 4: 2 complete, 2 with failures\n",
        "pages     3 ok, 2 failed\n",
        "content   6 words\n",
        "failed    2 pages as unsupported: convert the file",
        "in/bad.pdf: ",
        "\\u{1b}[2Jred.pdf: ",
        "engine text-layer\n",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in {}", ran.stdout);
    }
    assert_eq!(ran.stderr, "");
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
}

#[test]
fn status_json_is_one_object_with_prices_and_pending_pages() {
    let room = room();
    let text = fs::read_to_string(room.path("r.jsonl")).unwrap();
    let kept: String = text
        .split_inclusive('\n')
        .filter(|line| !line.contains("Second page"))
        .collect();
    room.put("r.jsonl", kept);
    let ran = run(&room, "status r.jsonl --json --price-per-hour 2.5").expect(0);
    let status: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(status["pages"]["pending"], 1, "{status:#}");
    assert_eq!(status["documents"]["unfinished"], 1, "{status:#}");
    assert_eq!(status["failures"][0]["kind"], "unsupported", "{status:#}");
    assert_eq!(status["settings"]["engine"], "text-layer", "{status:#}");
}

#[test]
fn status_reads_the_output_of_a_run_that_is_killed() {
    let room = room();
    let text = fs::read_to_string(room.path("r.jsonl")).unwrap();
    room.put("r.jsonl", &text[..text.len() - 5]);
    let ran = run(&room, "status r.jsonl").expect(0);
    assert!(
        ran.stdout.contains("run       interrupted"),
        "{}",
        ran.stdout
    );
}

#[test]
fn failed_documents_are_listed_and_piped_into_extract() {
    let room = room();
    let listed = run(&room, "status r.jsonl --failed").expect(0).stdout;
    let line = listed.lines().find(|line| line.starts_with("in/bad.pdf"));
    let fields: Vec<_> = line.unwrap().split('\t').collect();
    assert_eq!(fields[..3], ["in/bad.pdf", "0", "unsupported"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let paths = run(&room, "status r.jsonl --failed --print0")
        .expect(0)
        .stdout;
    assert_eq!(paths, "in/\u{1b}[2Jred.pdf\0in/bad.pdf\0");
    room.put("list", paths);
    room.put("in/bad.pdf", pdf(&["Mended"]));
    let ran = Ran::of(&mut room.text_layer("--files-from list -o again.jsonl")).expect(3);
    assert!(ran.stderr.contains("1 ok, 1 failed"), "{}", ran.stderr);
    let usage = run(&room, "status r.jsonl --print0").expect(2);
    assert!(usage.stderr.contains("--print0 needs"), "{}", usage.stderr);
}

#[test]
fn views_refuse_a_file_that_is_no_output() {
    let room = room();
    room.put("notes.txt", "some notes\n");
    for command in ["status", "show", "export"] {
        let rest = match command {
            "show" => " a.pdf",
            "export" => " --to out",
            _ => "",
        };
        let ran = run(&room, &format!("{command} notes.txt{rest}")).expect(1);
        let expected = "error: notes.txt is not an omnidocs output\n";
        assert_eq!(ran.stderr, expected, "{command}");
        let ran = run(&room, &format!("{command} none.jsonl{rest}")).expect(1);
        assert!(
            ran.stderr.contains("cannot read none.jsonl"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn output_named_like_markdown_is_warned_about() {
    let room = room();
    let ran = Ran::of(&mut room.text_layer("in/a.pdf -o notes.md")).expect(0);
    let warning = "notes.md holds JSON lines, not Markdown: write Markdown files from it with omnidocs export notes.md";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
}

#[test]
fn show_prints_one_page_by_path_or_its_end() {
    let room = room();
    for document in ["in/a.pdf:2", "a.pdf:2"] {
        let ran = run(&room, &format!("show r.jsonl {document}")).expect(0);
        assert_eq!(ran.stdout, "Second page\n");
        assert!(
            ran.stderr
                .starts_with("in/a.pdf p.2 of 2 · ok · 2 words · text-layer"),
            "{}",
            ran.stderr
        );
    }
    let whole = run(&room, "show r.jsonl a.pdf").expect(0).stdout;
    assert_eq!(whole, "First page\nSecond page\n");
    let failed = run(&room, "show r.jsonl bad.pdf").expect(3);
    assert!(failed.stderr.contains("unsupported: "), "{}", failed.stderr);
}

#[test]
fn show_says_which_documents_and_pages_there_are() {
    let room = room();
    let says = |document: &str| {
        run(&room, &format!("show r.jsonl {document}"))
            .expect(1)
            .stderr
    };
    assert!(says("in/a.pfd").contains("did you mean in/a.pdf?"));
    assert!(says("a.pdf:7").contains("in/a.pdf has 2 pages, no page 7"));
    room.put("in/sub/a.pdf", pdf(&["Another"]));
    Ran::of(&mut room.text_layer("in -o r.jsonl")).expect(3);
    assert!(says("a.pdf").contains("2 documents are called a.pdf"));
}

#[test]
fn export_writes_a_file_per_document_with_marks_and_placeholders() {
    let room = room();
    in_markdown(&room);
    let ran = run(&room, "export r.jsonl --to out").expect(3);
    assert!(
        ran.stderr
            .contains("exported  4 documents to out: 4 files written, 0 unchanged"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        room.read("out/in/a.pdf.md"),
        "<!-- page 1 -->\n\nFirst page\n\n<!-- page 2 -->\n\nSecond page\n"
    );
    assert_eq!(
        room.read("out/in/sub/b.pdf.md"),
        "<!-- page 1 -->\n\nOnly page\n"
    );
    let bad = room.read("out/in/bad.pdf.md");
    assert!(
        bad.starts_with("<!-- document failed as unsupported: "),
        "{bad}"
    );
    assert_eq!(bad.matches("-->").count(), 1, "{bad}");
    // What is there already is left alone.
    let inode = |file: &str| fs::metadata(room.path(file)).unwrap().ino();
    let before = inode("out/in/a.pdf.md");
    let again = run(&room, "export r.jsonl --to out").expect(3);
    assert!(
        again.stderr.contains("0 files written, 4 unchanged"),
        "{}",
        again.stderr
    );
    assert_eq!(inode("out/in/a.pdf.md"), before);
    assert_eq!(fs::read_dir(room.path("out/in")).unwrap().count(), 4);
}

#[test]
fn export_writes_pages_or_breaks_in_the_format_of_the_records() {
    let room = room();
    fs::remove_file(room.path("in/bad.pdf")).unwrap();
    Ran::of(&mut room.text_layer("in/a.pdf in/sub --format text -o t.jsonl")).expect(0);
    run(&room, "export t.jsonl --to pages --per-page").expect(0);
    assert_eq!(room.read("pages/in/a.pdf.p0002.txt"), "Second page\n");
    run(&room, "export t.jsonl --to whole").expect(0);
    assert_eq!(
        room.read("whole/in/a.pdf.txt"),
        "First page\n\u{c}Second page\n"
    );
    run(
        &room,
        "export t.jsonl --to breaks --page-break ---{page}---",
    )
    .expect(0);
    assert_eq!(
        room.read("breaks/in/a.pdf.txt"),
        "First page\n---2---\nSecond page\n"
    );
}

#[test]
fn export_keeps_paths_inside_its_folder_and_the_newest_of_an_edited_file() {
    let room = room();
    room.put("deep/down/x", "");
    let mut command = room.text_layer("../../in/a.pdf -o ../../up.jsonl");
    command.current_dir(room.path("deep/down"));
    Ran::of(&mut command).expect(0);
    run(&room, "export up.jsonl --to out").expect(0);
    assert!(room.path("out/_/_/in/a.pdf.txt").exists());
    room.put("in/a.pdf", pdf(&["Edited"]));
    Ran::of(&mut room.text_layer("in -o r.jsonl")).expect(3);
    run(&room, "export r.jsonl --to new").expect(3);
    assert_eq!(room.read("new/in/a.pdf.txt"), "Edited\n");
}

#[test]
fn status_counts_the_newest_record_of_a_page_alone() {
    let room = room();
    let status = || -> serde_json::Value {
        let ran = run(&room, "status r.jsonl --json").expect(0);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let before = status();
    let text = room.read("r.jsonl");
    // As if each page had been read before, by another engine and with other numbers.
    let older: String = text
        .lines()
        .map(|line| {
            let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
            if record["status"] == "ok" {
                record["engine"] = "tesseract".into();
                record["word_count"] = 1000.into();
                record["completion_tokens"] = 7.into();
                record["warnings"] = serde_json::json!(["truncated"]);
                record["timings_ms"]["prepare"] = 9000.into();
                record["timings_ms"]["total"] = 9000.into();
            }
            format!("{record}\n")
        })
        .collect();
    room.put("r.jsonl", older.clone() + &text);
    assert_eq!(status()["words"], 6);
    for field in [
        "pages",
        "documents",
        "words",
        "tokens",
        "warnings",
        "engines",
        "seconds_per_page",
        "seconds_by_stage",
        "failures",
    ] {
        assert_eq!(status()[field], before[field], "{field}");
    }
    room.put("r.jsonl", older);
    let older = status();
    assert_eq!(older["words"], 3000, "{older:#}");
    assert_eq!(older["tokens"], 21, "{older:#}");
    assert_eq!(older["warnings"]["truncated"], 3, "{older:#}");
    assert_eq!(older["engines"]["tesseract"], 3, "{older:#}");
    assert_eq!(older["seconds_per_page"]["median"], 9.0, "{older:#}");
}

#[test]
fn export_writes_training_data_as_olmocr_does() {
    let room = room();
    room.put("in/a-copy.pdf", pdf(&["First page", "Second page"]));
    Ran::of(&mut room.text_layer("in -o r.jsonl")).expect(3);
    let text = room
        .read("r.jsonl")
        .replace("First page", "F\u{fc}rst page");
    room.put("r.jsonl", text);
    let ran = run(&room, "export r.jsonl --to out --as dolma").expect(3);
    let said = "exported  2 documents to out/documents.jsonl; left out 2 without text, 1 copy";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    let written = room.read("out/documents.jsonl");
    let lines: Vec<serde_json::Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [first, second] = &lines[..] else {
        panic!("{written}");
    };
    assert_eq!(first["text"], "F\u{fc}rst page\nSecond page");
    // In characters, as Python counts them.
    let spans = serde_json::json!([[0, 11, 1], [11, 22, 2]]);
    assert_eq!(first["attributes"]["pdf_page_numbers"], spans);
    assert_eq!(first["source"], "omnidocs");
    assert_eq!(first["id"].as_str().unwrap().len(), 64);
    assert_eq!(first["metadata"]["pdf-total-pages"], 2);
    assert_eq!(second["metadata"]["Source-File"], "in/sub/b.pdf");
    let day = first["added"].as_str().unwrap();
    assert_eq!((day.len(), &first["created"]), (10, &first["added"]));
    let again = run(&room, "export r.jsonl --to again --as dolma").expect(3);
    assert!(
        again.stderr.contains("none of them has text"),
        "{}",
        again.stderr
    );
    assert_eq!(room.read("again/documents.jsonl"), written);
    let mixed = run(&room, "export r.jsonl --to x --as dolma --per-page").expect(2);
    assert!(
        mixed.stderr.contains("leave out --per-page"),
        "{}",
        mixed.stderr
    );
}

/// Runs SQL with DuckDB's program or its Python package; `None` where there is neither.
fn duckdb(room: &Room, sql: &str) -> Option<String> {
    let python = "import duckdb, sys; found = duckdb.sql(sys.argv[1]); print(found.fetchall() if found else '')";
    let commands = [
        vec!["duckdb", "-c", sql],
        vec!["python3", "-c", python, sql],
    ];
    commands.iter().find_map(|command| {
        let mut program = std::process::Command::new(command[0]);
        let ran = program
            .args(&command[1..])
            .current_dir(room.path(""))
            .output()
            .ok()?;
        ran.status
            .success()
            .then(|| String::from_utf8(ran.stdout).unwrap())
    })
}

#[test]
fn parquet_line_of_the_help_works_with_duckdb() {
    let room = room();
    if duckdb(&room, "SELECT 1").is_none() {
        return;
    }
    let help = run(&room, "export --help").expect(0).stdout;
    let line = help.lines().find(|line| line.contains("duckdb -c"));
    let sql = line.and_then(|line| line.split('"').nth(1)).unwrap();
    room.put("results.jsonl", room.read("r.jsonl"));
    duckdb(&room, sql).expect("the line of the help runs");
    let sql = "SELECT count(*) + 100, max(content) FROM 'results.parquet' WHERE status = 'ok'";
    let counted = duckdb(&room, sql).unwrap();
    assert!(
        counted.contains("103") && counted.contains("Second page"),
        "{counted}"
    );
}
