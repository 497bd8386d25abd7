//! What `omnidocs merge` makes of several outputs.

use std::{collections::BTreeSet, fs, fs::OpenOptions};

use omnidocs::record::{Record, Status, Timings};

use crate::common::{Ran, Room, image_of, pdf};

const MERGED: &str = "all.jsonl";

/// Documents of one to four pages, and one that is no document.
fn room() -> Room {
    let room = Room::new();
    for document in 0..12 {
        let texts: Vec<String> = (0..=document % 4)
            .map(|page| format!("page {page} of {document}"))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        room.put(&format!("in/{document:02}.pdf"), pdf(&texts));
    }
    room.put("in/bad.pdf", "This is no PDF.");
    room
}

/// Runs the shards of three of the room, but for those left out.
fn run_shards(room: &Room, but: &[u32]) {
    for shard in (1..=3).filter(|shard| !but.contains(shard)) {
        let ran = room.extract(&format!("in -o shard-{{shard}}.jsonl --shard {shard}/3"));
        assert!(matches!(ran.code, Some(0 | 3)), "{ran:#?}");
    }
}

const SHARDS: &str = "shard-1-of-3.jsonl shard-2-of-3.jsonl shard-3-of-3.jsonl";

fn merge(room: &Room, args: &str) -> Ran {
    Ran::of(&mut room.omnidocs(&format!("merge {args}")))
}

/// The records of a file, without their times.
fn untimed(room: &Room, file: &str) -> Vec<Record> {
    let mut records = room.records(file);
    for record in &mut records {
        record.timings_ms = Timings::default();
    }
    records
}

#[test]
fn merged_shards_equal_one_run_in_any_order() {
    let room = room();
    room.extract("in -o one.jsonl").expect(3);
    run_shards(&room, &[]);
    let ran = merge(&room, &format!("{SHARDS} -o {MERGED}")).expect(0);
    assert_eq!(
        ran.stderr,
        "merged    31 pages of 13 documents into all.jsonl; 1 of them failed\n"
    );
    assert_eq!(untimed(&room, MERGED), untimed(&room, "one.jsonl"));
    let mut backwards: Vec<&str> = SHARDS.split(' ').collect();
    backwards.reverse();
    let again = merge(&room, &backwards.join(" ")).expect(0);
    assert_eq!(again.stdout, room.read(MERGED));
    // A run goes on with it: nothing is left to do.
    let ran = room.extract(&format!("in -o {MERGED}")).expect(3);
    assert!(
        ran.stderr.contains("before    31 pages: 30 ok, 1 failed\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn merge_reports_missing_shards_pages_and_unfinished_runs() {
    let room = room();
    run_shards(&room, &[2]);
    let ran = merge(&room, "shard-1-of-3.jsonl shard-3-of-3.jsonl").expect(3);
    assert!(
        ran.stderr.contains("missing   shard 2/3\n"),
        "{}",
        ran.stderr
    );
    run_shards(&room, &[1, 3]);
    // Of each document only its second page, which those of one page lack.
    let pages = room.extract("in --include 0[0-4].pdf --pages 2 -o pages.jsonl");
    pages.expect(0);
    let ran = merge(&room, "pages.jsonl").expect(3);
    let lines: Vec<&str> = ran.stderr.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "missing   in/01.pdf: 1 of its 2 pages",
            "missing   in/02.pdf: 2 of its 3 pages",
            "missing   in/03.pdf: 3 of its 4 pages",
        ]
    );
    merge(&room, "pages.jsonl --pages 2").expect(0);
    // What a killed run leaves: half a line, and settings that tell of no end.
    let file = "shard-2-of-3.jsonl";
    let whole = room.read(file);
    room.put(file, &whole[..whole.len() - 10]);
    let ran = merge(&room, SHARDS).expect(3);
    let bytes = whole.lines().last().unwrap().len() - 9;
    for words in [
        format!("{file} ends in an unfinished line of {bytes} bytes"),
        format!("missing   the rest of the interrupted run of {file}"),
    ] {
        assert!(ran.stderr.contains(&words), "{}", ran.stderr);
    }
    run_shards(&room, &[1, 3]);
    merge(&room, SHARDS).expect(0);
}

#[test]
fn merge_keeps_newest_and_prefers_read_over_failed() {
    let room = Room::new();
    let record = |page: u32, status: &str, content: &str| {
        format!(
            r#"{{"schema":1,"path":"a.pdf","filename":"a.pdf","doc_id":"{:064x}","format":"pdf","size_bytes":1,"page":{page},"page_count":3,"width":null,"height":null,"status":"{status}","content":"{content}","output_format":"text","content_length":1,"word_count":1,"finish_reason":null,"engine":"text-layer","model":null,"attempts":1,"prompt_tokens":null,"image_tokens":null,"completion_tokens":null,"forward_passes":null,"draft_accepted":null,"timings_ms":{{"prepare":0,"prefill":0,"decode":0,"total":0}},"warnings":[],"error":null}}"#,
            7
        ) + "\n"
    };
    let put = |file: &str, started: u64, lines: &[String]| {
        room.put(file, lines.concat());
        let run =
            format!(r#"{{"omnidocs":"0","pid":1,"host":"","started":{started},"finished":1}}"#);
        room.put(
            &format!("{file}.meta.json"),
            format!(r#"{{"schema":1,"settings":{{}},"run":{run}}}"#),
        );
    };
    // The one that began first is last in the alphabet.
    put(
        "z.jsonl",
        100,
        &[
            record(0, "failed", "not opened"),
            record(3, "failed", "old"),
            record(3, "ok", "old"),
            record(2, "ok", "old"),
            record(1, "ok", "old"),
        ],
    );
    put(
        "b.jsonl",
        200,
        &[
            record(1, "ok", "new"),
            record(2, "failed", "new"),
            record(3, "failed", "new"),
        ],
    );
    let contents = |files: &str| {
        let records = merge(&room, files).expect(0).records().into_iter();
        records
            .map(|record| (record.page, record.content.unwrap()))
            .collect::<Vec<_>>()
    };
    let expected = [(1, "new"), (2, "old"), (3, "old")].map(|(page, text)| (page, text.to_owned()));
    for files in [
        "b.jsonl z.jsonl",
        "z.jsonl b.jsonl",
        "b.jsonl z.jsonl b.jsonl",
    ] {
        assert_eq!(contents(files), expected, "{files}");
    }
}

#[test]
fn merge_reports_unreadable_file_until_it_is_read() {
    let room = room();
    fs::remove_file(room.path("in/bad.pdf")).unwrap();
    let names: Vec<String> = (0..12)
        .map(|document| format!("in/{document:02}.pdf"))
        .collect();
    room.put("here.pdf", pdf(&["here"]))
        .put("list", names.join("\n") + "\nhere.pdf");
    let run = |shard: u32, args: &str| {
        room.extract(&format!(
            "--files-from list -o shard-{shard}-of-2.jsonl --shard {shard}/2 {args}"
        ))
    };
    run(1, "").expect(0);
    fs::rename(room.path("in"), room.path("away")).unwrap();
    // Nothing tells which of the files are of this shard, so that all are missed.
    run(2, "").expect(3);
    fs::rename(room.path("away"), room.path("in")).unwrap();
    let shards = "shard-1-of-2.jsonl shard-2-of-2.jsonl";
    let merged = merge(&room, shards).expect(0).records();
    let documents: BTreeSet<_> = merged.iter().map(|record| record.path.clone()).collect();
    assert_eq!(documents.len(), 13);
    assert!(merged.iter().any(|record| record.status == Status::Failed));
    run(2, "--retry-failed").expect(0);
    let merged = merge(&room, shards).expect(0).records();
    assert_eq!(merged.len(), 31);
    assert!(merged.iter().all(|record| record.status == Status::Ok));
}

#[test]
fn merge_refuses_different_settings() {
    let room = room();
    room.extract("in/00.pdf -o a.jsonl").expect(0);
    room.extract("in/01.pdf --format html -o b.jsonl").expect(0);
    let ran = merge(&room, &format!("b.jsonl a.jsonl -o {MERGED}")).expect(10);
    for words in [
        "a.jsonl and b.jsonl were written with different settings",
        r#"format: "markdown" in a.jsonl, "html" in b.jsonl"#,
    ] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    assert!(!room.path(MERGED).exists());
    fs::remove_file(room.path("b.jsonl.meta.json")).unwrap();
    let ran = merge(&room, "a.jsonl b.jsonl").expect(1);
    assert!(
        ran.stderr.contains("b.jsonl.meta.json is missing"),
        "{}",
        ran.stderr
    );
}

#[test]
fn merge_replaces_only_with_force_and_never_inputs() {
    let room = room();
    room.extract("in/00.pdf -o a.jsonl").expect(0);
    room.extract("in/01.pdf -o b.jsonl").expect(0);
    room.put(MERGED, "something dear\n");
    let ran = merge(&room, &format!("a.jsonl b.jsonl -o {MERGED}")).expect(2);
    assert!(ran.stderr.contains("--force"), "{}", ran.stderr);
    assert_eq!(room.read(MERGED), "something dear\n");
    merge(&room, &format!("a.jsonl b.jsonl -o {MERGED} --force")).expect(0);
    assert_eq!(room.records(MERGED).len(), 3);
    let ran = merge(&room, "a.jsonl b.jsonl -o ./b.jsonl --force").expect(2);
    assert!(ran.stderr.contains("is also an input"), "{}", ran.stderr);
    for (written, args) in [
        ("a.jsonl", format!("a.jsonl b.jsonl -o {MERGED} --force")),
        (MERGED, format!("a.jsonl b.jsonl -o {MERGED} --force")),
    ] {
        let run = OpenOptions::new()
            .append(true)
            .open(room.path(written))
            .unwrap();
        run.lock().unwrap();
        let ran = merge(&room, &args).expect(11);
        let words = format!("another omnidocs is writing to {written}");
        assert!(ran.stderr.contains(&words), "{}", ran.stderr);
    }
    assert_eq!(room.records(MERGED).len(), 3);
}

#[test]
fn merge_names_a_broken_line_and_its_file() {
    let room = room();
    room.extract("in/03.pdf -o a.jsonl").expect(0);
    let mut lines: Vec<String> = room.read("a.jsonl").lines().map(str::to_owned).collect();
    lines[1].truncate(40);
    room.put("a.jsonl", lines.join("\n") + "\n");
    let ran = merge(&room, "a.jsonl").expect(1);
    assert!(
        ran.stderr.contains("a.jsonl is damaged") && ran.stderr.contains("line 2"),
        "{}",
        ran.stderr
    );
    let ran = merge(&room, "nowhere.jsonl").expect(1);
    assert!(
        ran.stderr.contains("cannot read nowhere.jsonl"),
        "{}",
        ran.stderr
    );
}

#[test]
fn merge_sorts_failed_documents_and_images() {
    let room = Room::new();
    room.put("in/scan.png", image_of(64, 48, image::ImageFormat::Png))
        .put("in/empty.pdf", "")
        .put("in/also empty.pdf", "")
        .put("in/a.pdf", pdf(&["one"]));
    room.extract("in -o a.jsonl").expect(3);
    room.extract("in -o b.jsonl").expect(3);
    let merged = merge(&room, "a.jsonl b.jsonl").expect(0).records();
    let found: Vec<_> = merged
        .iter()
        .map(|record| (record.filename.as_str(), record.page, record.status))
        .collect();
    assert_eq!(
        found,
        [
            ("a.pdf", 1, Status::Ok),
            ("also empty.pdf", 0, Status::Failed),
            ("empty.pdf", 0, Status::Failed),
            ("scan.png", 1, Status::Failed),
        ]
    );
    let distinct: BTreeSet<_> = found.iter().map(|page| page.0).collect();
    assert_eq!(distinct.len(), 4);
}
