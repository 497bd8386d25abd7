//! What a run makes of what earlier runs have left: the exit code, the summary, and which pages are read again.

use std::{fs, time::Duration};

use omnidocs::record::{Record, Status};

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room, image, pdf},
};

const OUT: &str = "out.jsonl";

#[test]
fn exit_code_3_for_pages_that_failed_in_an_earlier_run() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one", "two"]))
        .put("in/bad.pdf", "no PDF")
        .put("in/b.png", image(image::ImageFormat::Png));
    room.extract("in -o out.jsonl").expect(3);
    let again = room.extract("in -o out.jsonl").expect(3);
    for words in [
        "before    4 pages: 2 ok, 2 failed\n",
        "failed    in/bad.pdf: the content is neither a PDF",
        "failed    in/b.png, page 1: an image has no text layer",
    ] {
        assert!(again.stderr.contains(words), "{}", again.stderr);
    }
    // Only what this command asks for counts.
    room.extract("in/a.pdf -o out.jsonl").expect(0);
    let some = room
        .extract("in --exclude *.png --pages 2 -o out.jsonl")
        .expect(3);
    assert!(
        some.stderr.contains("before    2 pages: 1 ok, 1 failed\n"),
        "{}",
        some.stderr
    );
    // What is mended does not.
    fs::remove_file(room.path("in/b.png")).unwrap();
    room.put("in/bad.pdf", pdf(&["mended"]));
    let mended = room.extract("in -o out.jsonl").expect(0);
    assert!(
        mended
            .stderr
            .contains("before    2 pages: 2 ok, 0 failed\n"),
        "{}",
        mended.stderr
    );
}

#[test]
fn summary_lists_up_to_twenty_earlier_failures() {
    let room = Room::new();
    for document in 0..25 {
        room.put(&format!("in/{document}.pdf"), format!("no PDF {document}"));
    }
    room.extract("in -o out.jsonl").expect(3);
    let again = room.extract("in -o out.jsonl").expect(3);
    assert_eq!(again.stderr.matches("failed    in/").count(), 20);
    assert!(
        again.stderr.contains("… and 5 more; they are in out.jsonl"),
        "{}",
        again.stderr
    );
}

/// Asks a server for four pages, each of which ends as the `k`-th reply of `ends`, and the others as they should.
fn ask(room: &Room, ends: &'static [&'static str], args: &str) -> (Ran, usize) {
    let server = ChatServer::with(Duration::ZERO, move |request, _| match ends.get(request) {
        Some(&"failed") => Reply::Status(400, String::new(), "too long".to_owned()),
        Some(&end) => Reply::Said(format!("cut {request}"), end),
        None => Reply::Text,
    });
    let texts = ["one", "two", "three", "four"];
    room.put("in.pdf", pdf(&texts));
    let url = server.url();
    let ran = Ran::of(&mut room.omnidocs(&format!(
        "extract in.pdf -o out.jsonl --engine server --server-url {url} --concurrency 1 --retries 0 \
         --max-pixels 30000 --min-pixels 1024 {args}"
    )));
    (ran, server.requests().len())
}

/// The newest record of each page.
fn newest(room: &Room) -> Vec<Record> {
    let mut records = room.records(OUT);
    records.reverse();
    records.sort_by_key(|record| record.page);
    records.dedup_by_key(|record| record.page);
    records
}

#[test]
fn retry_reads_selected_pages_again_with_more_tokens() {
    let room = Room::new();
    let ends = &["stop", "length", "failed", "length"];
    ask(&room, ends, "--max-new-tokens 100").0.expect(3);
    let cut = |room: &Room| {
        let records = newest(room).into_iter();
        records.filter(|record| !record.warnings.is_empty()).count()
    };
    assert_eq!(cut(&room), 2);
    // Without being asked for, and with fewer tokens, these are other settings.
    let more = "--max-new-tokens 200";
    ask(&room, &[], more).0.expect(10);
    ask(&room, &[], &format!("{more} --retry failed"))
        .0
        .expect(10);
    ask(&room, &[], "--max-new-tokens 50 --retry truncated")
        .0
        .expect(10);
    let (ran, asked) = ask(&room, &[], &format!("{more} --retry truncated"));
    let ran = ran.expect(3);
    assert_eq!((asked, cut(&room)), (2, 0));
    assert!(
        ran.stderr.contains("before    2 pages: 1 ok, 1 failed\n"),
        "{}",
        ran.stderr
    );
    // The new setting is the one to go on with.
    ask(&room, &[], "--max-new-tokens 100").0.expect(10);
    let (ran, asked) = ask(&room, &[], &format!("{more} --retry failed,repetition"));
    ran.expect(0);
    assert_eq!(asked, 1);
    assert!(
        newest(&room)
            .iter()
            .all(|record| record.status == Status::Ok)
    );
    let (ran, asked) = ask(
        &room,
        &[],
        &format!("{more} --retry failed,truncated,repetition"),
    );
    ran.expect(0);
    assert_eq!((asked, room.records(OUT).len()), (0, 7));
}

#[test]
fn invalid_retry_names_its_values() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["one"]));
    let ran = room.extract("a.pdf -o out.jsonl --retry slow").expect(2);
    for words in ["failed", "truncated", "repetition"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    let mut command = room.text_layer("a.pdf -o out.jsonl");
    Ran::of(command.env("OMNIDOCS_RETRY", "failed,truncated")).expect(0);
}

#[test]
fn resume_skips_blank_lines_and_reads_schema_2() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one", "two"]));
    room.extract("in -o out.jsonl").expect(0);
    let lines = room.read(OUT);
    let spaced = lines.replace('\n', "\n\n  \t\r\n");
    room.put(OUT, &spaced);
    let ran = room.extract("in -o out.jsonl").expect(0);
    assert!(
        ran.stderr.contains("before    2 pages: 2 ok"),
        "{}",
        ran.stderr
    );
    let merged = Ran::of(&mut room.omnidocs("merge out.jsonl")).expect(0);
    assert_eq!(merged.stdout, lines);
    let two = lines.replace("{\"schema\":2,", "{\"schema\":2,\"new\":{\"a\":[1]},");
    room.put(OUT, &two);
    room.extract("in -o out.jsonl").expect(0);
    let two = lines.replace("\"blocks\":null", "\"blocks\":[{\"a\":1}]");
    room.put(OUT, &two);
    let ran = room.extract("in -o out.jsonl").expect(0);
    assert!(
        ran.stderr.contains("before    2 pages: 2 ok"),
        "{}",
        ran.stderr
    );
    assert_eq!(room.read(OUT), two);
}

#[test]
fn newer_schema_asks_for_an_update() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one"]));
    room.extract("in -o out.jsonl").expect(0);
    let (lines, meta) = (room.read(OUT), room.read("out.jsonl.meta.json"));
    room.put(
        "out.jsonl.meta.json",
        meta.replace("\"schema\": 2", "\"schema\": 3"),
    );
    for file in [OUT, "out.jsonl.meta.json"] {
        if file == OUT {
            room.put(OUT, lines.replace("\"schema\":2", "\"schema\":3"));
        } else {
            room.put(OUT, &lines);
        }
        for args in [
            "extract in --engine text-layer -o out.jsonl",
            "merge out.jsonl",
        ] {
            let ran = Ran::of(&mut room.omnidocs(args)).expect(1);
            assert!(
                ran.stderr.contains("newer omnidocs") && ran.stderr.contains("update omnidocs"),
                "{args}: {}",
                ran.stderr
            );
            assert!(!ran.stderr.contains("--restart"), "{args}: {}", ran.stderr);
        }
    }
}
