//! Files with the same bytes: one is read, and each path has its records.

use std::{collections::BTreeMap, fs, time::Duration};

use omnidocs::record::{Record, Status, Timings};

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room, pdf},
};

const OUT: &str = "out.jsonl";

/// `extract ARGS…` with a server that takes small pages.
fn ask(room: &Room, server: &ChatServer, args: &str) -> Ran {
    let url = server.url();
    Ran::of(&mut room.omnidocs(&format!(
        "extract {args} --engine server --server-url {url} --concurrency 2 --retries 0 \
         --max-pixels 30000 --min-pixels 1024"
    )))
}

/// The newest record of each path and page.
fn newest(records: Vec<Record>) -> BTreeMap<(String, u32), Record> {
    let named = records.into_iter();
    named
        .map(|record| ((record.path.clone(), record.page), record))
        .collect()
}

/// Path, page and origin of each record, in order.
fn origins(records: &[Record]) -> Vec<(&str, u32, Option<&str>)> {
    records
        .iter()
        .map(|record| (record.path.as_str(), record.page, record.copy_of.as_deref()))
        .collect()
}

#[test]
fn each_path_has_its_records_and_one_is_read() {
    let room = Room::new();
    let two = pdf(&["one", "two"]);
    room.put("in/a.pdf", &two)
        .put("in/b/again.pdf", &two)
        .put("in/c.jpg", &two)
        .put("in/other.pdf", pdf(&["six", "ten"]));
    for (output, by) in [("-o out.jsonl", OUT), ("", "the standard output")] {
        let server = ChatServer::new();
        let ran = ask(&room, &server, &format!("in {output}")).expect(0);
        assert_eq!(server.requests().len(), 4, "{by}");
        let records = match output {
            "" => ran.records(),
            _ => room.records(OUT),
        };
        let records = newest(records);
        assert_eq!(records.len(), 8, "{by}");
        for page in [1, 2] {
            let original = &records[&("in/a.pdf".to_owned(), page)];
            assert_eq!(original.copy_of, None);
            for path in ["in/b/again.pdf", "in/c.jpg"] {
                let copy = records[&(path.to_owned(), page)].clone();
                assert_eq!(copy.copy_of.as_deref(), Some("in/a.pdf"));
                assert_eq!((copy.timings_ms, copy.attempts), (Timings::default(), 0));
                assert!(path.ends_with(&copy.filename));
                let same = Record {
                    path: original.path.clone(),
                    filename: original.filename.clone(),
                    copy_of: None,
                    timings_ms: original.timings_ms,
                    attempts: original.attempts,
                    ..copy
                };
                assert_eq!(same, *original);
            }
        }
        for words in [
            "4 documents, 2 of them copies of others",
            "8 ok (4 copied), 0 failed",
        ] {
            assert!(ran.stderr.contains(words), "{}", ran.stderr);
        }
    }
    // Nothing is left to do, and no page is asked for.
    let (server, before) = (ChatServer::new(), room.read(OUT));
    let ran = ask(&room, &server, "in -o out.jsonl").expect(0);
    assert!(server.requests().is_empty());
    assert_eq!(room.read(OUT), before);
    assert!(
        ran.stderr.contains("before    8 pages: 8 ok"),
        "{}",
        ran.stderr
    );
}

#[test]
fn later_copy_is_made_from_the_output() {
    let room = Room::new();
    let two = pdf(&["one", "two"]);
    room.put("in/m.pdf", &two);
    let server = ChatServer::new();
    ask(&room, &server, "in -o out.jsonl --pages 1").expect(0);
    // One that sorts before it, one behind it; the page that is new is read once.
    room.put("in/a.pdf", &two).put("in/z.pdf", &two);
    ask(&room, &server, "in -o out.jsonl --pages 1").expect(0);
    assert_eq!(server.requests().len(), 1);
    let copies = [
        ("in/m.pdf", 1, None),
        ("in/a.pdf", 1, Some("in/m.pdf")),
        ("in/z.pdf", 1, Some("in/m.pdf")),
    ];
    assert_eq!(origins(&room.records(OUT)), copies);
    ask(&room, &server, "in -o out.jsonl").expect(0);
    assert_eq!(server.requests().len(), 2);
    let more = [
        ("in/a.pdf", 2, None),
        ("in/m.pdf", 2, Some("in/a.pdf")),
        ("in/z.pdf", 2, Some("in/a.pdf")),
    ];
    assert_eq!(origins(&room.records(OUT))[3..], more);
    // Whichever of them goes, the others stay done.
    fs::remove_file(room.path("in/m.pdf")).unwrap();
    fs::rename(room.path("in/a.pdf"), room.path("in/b.pdf")).unwrap();
    let ran = ask(&room, &server, "in -o out.jsonl").expect(0);
    assert!(
        ran.stderr.contains("before    2 pages: 2 ok"),
        "{}",
        ran.stderr
    );
    let renamed = [
        ("in/b.pdf", 1, Some("in/m.pdf")),
        ("in/b.pdf", 2, Some("in/a.pdf")),
    ];
    assert_eq!(origins(&room.records(OUT))[6..], renamed);
    ask(&room, &server, "in -o out.jsonl").expect(0);
    assert_eq!((server.requests().len(), room.records(OUT).len()), (2, 8));
}

#[test]
fn no_model_is_loaded_for_copies_alone() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one"]));
    room.extract("in -o out.jsonl").expect(0);
    room.put("in/b.pdf", pdf(&["one"]));
    let ran = room.extract("in -o out.jsonl").expect(0);
    assert!(!ran.stderr.contains("pace "), "{}", ran.stderr);
    let merged = Ran::of(&mut room.omnidocs("merge out.jsonl")).expect(0);
    let expected = [("in/a.pdf", 1, None), ("in/b.pdf", 1, Some("in/a.pdf"))];
    assert_eq!(origins(&merged.records()), expected);
    assert_eq!(merged.stdout, room.read(OUT));
}

#[test]
fn copies_follow_when_a_failed_page_is_read_again() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one", "two"]))
        .put("in/b.pdf", pdf(&["one", "two"]));
    let refused = ChatServer::with(Duration::ZERO, |request, _| match request {
        0 => Reply::Status(400, String::new(), "too long".to_owned()),
        _ => Reply::Text,
    });
    let ran = ask(&room, &refused, "in -o out.jsonl").expect(3);
    assert!(
        ran.stderr.contains("2 ok (1 copied), 2 failed"),
        "{}",
        ran.stderr
    );
    let failed = |room: &Room| {
        let records = newest(room.records(OUT)).into_values();
        records
            .filter(|record| record.status == Status::Failed)
            .count()
    };
    assert_eq!(failed(&room), 2);
    let server = ChatServer::new();
    ask(&room, &server, "in -o out.jsonl").expect(3);
    // Only one of them is given; the other follows when it is.
    ask(&room, &server, "in/b.pdf -o out.jsonl --retry failed").expect(0);
    assert_eq!((server.requests().len(), failed(&room)), (1, 1));
    ask(&room, &server, "in -o out.jsonl").expect(0);
    assert_eq!((server.requests().len(), failed(&room)), (1, 0));
    let records = newest(room.records(OUT));
    let contents: Vec<_> = records.values().map(|record| &record.content).collect();
    assert_eq!((contents[0], contents[1]), (contents[2], contents[3]));
    let merged = Ran::of(&mut room.omnidocs("merge out.jsonl")).expect(0);
    assert_eq!(merged.records().len(), 4);
    let read: Vec<_> = merged
        .records()
        .into_iter()
        .filter(|it| it.copy_of.is_none())
        .collect();
    assert_eq!(read.len(), 2, "each page was read at one path: {read:#?}");
}

#[test]
fn copies_of_documents_that_cannot_be_opened_fail_too() {
    let room = Room::new();
    room.put("in/a.pdf", "no PDF")
        .put("in/b.pdf", "no PDF")
        .put("in/c.pdf", pdf(&["one"]));
    room.extract("in -o out.jsonl").expect(3);
    let expected = [
        ("in/a.pdf", 0, None),
        ("in/b.pdf", 0, Some("in/a.pdf")),
        ("in/c.pdf", 1, None),
    ];
    assert_eq!(origins(&room.records(OUT)), expected);
    let ran = room.extract("in -o out.jsonl").expect(3);
    assert!(
        ran.stderr.contains("before    3 pages: 1 ok, 2 failed"),
        "{}",
        ran.stderr
    );
    assert_eq!(room.records(OUT).len(), 3);
    room.extract("in -o out.jsonl --retry-failed").expect(3);
    assert_eq!(origins(&room.records(OUT))[3..], expected[..2]);
}

#[test]
fn merged_outputs_keep_each_path_of_a_document() {
    let room = Room::new();
    let two = pdf(&["one", "two"]);
    room.put("x/a.pdf", &two)
        .put("y/b.pdf", &two)
        .put("y/c.pdf", &two);
    room.extract("x -o x.jsonl").expect(0);
    room.extract("y -o y.jsonl").expect(0);
    let ran = Ran::of(&mut room.omnidocs("merge x.jsonl y.jsonl -o all.jsonl")).expect(0);
    assert!(
        ran.stderr.contains("merged    6 pages of 3 documents"),
        "{}",
        ran.stderr
    );
    let records = room.records("all.jsonl");
    let paths: Vec<_> = origins(&records).iter().map(|it| (it.0, it.1)).collect();
    let all = ["x/a.pdf", "y/b.pdf", "y/c.pdf"];
    assert_eq!(paths, all.map(|path| [(path, 1), (path, 2)]).concat());
    for page in [1, 2] {
        let read = records
            .iter()
            .filter(|it| it.page == page && it.copy_of.is_none());
        assert_eq!(read.count(), 1, "{:?}", origins(&records));
    }
    let again = Ran::of(&mut room.omnidocs("merge all.jsonl y.jsonl x.jsonl")).expect(0);
    assert_eq!(origins(&again.records()), origins(&records));
    let before = room.read("all.jsonl");
    let ran = room.extract("x y -o all.jsonl").expect(0);
    assert!(
        ran.stderr.contains("before    6 pages: 6 ok"),
        "{}",
        ran.stderr
    );
    assert_eq!(room.read("all.jsonl"), before);
}

#[test]
fn copies_fall_in_the_shard_of_their_document() {
    let room = Room::new();
    for document in 0..6 {
        for folder in ["a", "b"] {
            room.put(
                &format!("in/{folder}/{document}.pdf"),
                pdf(&[&format!("page of {document}")]),
            );
        }
    }
    room.extract("in -o one.jsonl").expect(0);
    for shard in 1..=3 {
        room.extract(&format!("in -o {{shard}}.jsonl --shard {shard}/3"))
            .expect(0);
    }
    let merged =
        Ran::of(&mut room.omnidocs("merge 1-of-3.jsonl 2-of-3.jsonl 3-of-3.jsonl")).expect(0);
    let one = Ran::of(&mut room.omnidocs("merge one.jsonl")).expect(0);
    assert_eq!(merged.records().len(), 12);
    assert_eq!(origins(&merged.records()), origins(&one.records()));
}

#[test]
fn output_of_schema_1_gets_the_records_of_copies() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one"]))
        .put("in/b.pdf", pdf(&["one"]));
    room.extract("in/a.pdf -o out.jsonl").expect(0);
    let mut line: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(room.read(OUT).trim()).unwrap();
    let new = [
        "path_bytes",
        "copy_of",
        "last_page",
        "original_width",
        "original_height",
        "rotation",
        "blocks",
        "confidence",
        "device",
        "dtype",
    ];
    line.retain(|name, _| !new.contains(&name.as_str()));
    line.insert("schema".to_owned(), 1.into());
    // As it was written, with the schema and the path first.
    let record: Record = serde_json::from_value(line.clone().into()).unwrap();
    assert_eq!((record.schema, record.device), (1, None));
    let path = line.remove("path").unwrap();
    line.remove("schema");
    let rest = serde_json::to_string(&line).unwrap();
    let old = format!("{{\"schema\":1,\"path\":{path},{}\n", &rest[1..]);
    room.put(OUT, &old);
    room.extract("in -o out.jsonl").expect(0);
    let text = room.read(OUT);
    assert!(text.starts_with(&old), "{text}");
    let records = room.records(OUT);
    assert_eq!(
        origins(&records),
        [("in/a.pdf", 1, None), ("in/b.pdf", 1, Some("in/a.pdf"))]
    );
    assert_eq!(
        (records[1].schema, records[1].content.as_deref()),
        (2, Some("one"))
    );
    let merged = Ran::of(&mut room.omnidocs("merge out.jsonl")).expect(0);
    assert_eq!(merged.stdout, text);
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_keep_their_records_apart() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

    let room = Room::new();
    fs::create_dir(room.path("in")).unwrap();
    for (name, content) in [
        (b"in/caf\xe8.pdf", Vec::new()),
        (b"in/caf\xe9.pdf", Vec::new()),
        (b"in/xaf\xe8.pdf", pdf(&["one"])),
        (b"in/xaf\xe9.pdf", pdf(&["one"])),
    ] {
        fs::write(room.path(Path::new(OsStr::from_bytes(name))), content).unwrap();
    }
    room.extract("in -o out.jsonl").expect(3);
    let records = room.records(OUT);
    let names: Vec<_> = records
        .iter()
        .map(|record| (record.path.as_str(), record.path_bytes.as_deref()))
        .collect();
    let expected = [
        ("in/caf\u{fffd}.pdf", Some("aW4vY2Fm6C5wZGY=")),
        ("in/caf\u{fffd}.pdf", Some("aW4vY2Fm6S5wZGY=")),
        ("in/xaf\u{fffd}.pdf", Some("aW4veGFm6C5wZGY=")),
        ("in/xaf\u{fffd}.pdf", Some("aW4veGFm6S5wZGY=")),
    ];
    assert_eq!(names, expected);
    assert!(records[2].copy_of.is_none() && records[3].copy_of.is_some());
    let before = room.read(OUT);
    let ran = room.extract("in -o out.jsonl").expect(3);
    assert!(
        ran.stderr.contains("before    4 pages: 2 ok, 2 failed"),
        "{}",
        ran.stderr
    );
    assert_eq!(room.read(OUT), before);
    let merged = Ran::of(&mut room.omnidocs("merge out.jsonl")).expect(0);
    assert_eq!(merged.stdout, before);
}
