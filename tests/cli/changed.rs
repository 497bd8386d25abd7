//! Documents that change while they are read.

use std::{fs, time::Duration};

use omnidocs::{
    error::ErrorKind,
    record::{Record, Status},
};

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room, pdf},
};

const OUT: &str = "out.jsonl";

fn ask(room: &Room, server: &ChatServer, args: &str) -> Ran {
    let url = server.url();
    Ran::of(&mut room.omnidocs(&format!(
        "extract in -o out.jsonl --engine server --server-url {url} --concurrency 1 --retries 0 \
         --workers 1 --prefetch 1 --max-pixels 30000 --min-pixels 1024 {args}"
    )))
}

fn kind(record: &Record) -> Option<ErrorKind> {
    record.error.as_ref().map(|error| error.kind)
}

#[test]
fn document_that_is_rewritten_fails_and_is_read_anew() {
    let room = Room::new();
    let pages = ["one", "two", "three", "four"];
    room.put("in/a.pdf", pdf(&pages))
        .put("in/b.pdf", pdf(&["other"]));
    let path = room.path("in/a.pdf");
    let server = ChatServer::with(Duration::ZERO, move |request, _| {
        if request == 1 {
            fs::write(&path, pdf(&["new one", "new two"])).unwrap();
        }
        Reply::Text
    });
    let ran = ask(&room, &server, "").expect(3);
    let records = room.records(OUT);
    assert_eq!((records.len(), records[0].status), (5, Status::Ok));
    for record in &records[1..4] {
        assert_eq!(kind(record), Some(ErrorKind::Changed), "{record:?}");
        assert_eq!(record.doc_id, records[0].doc_id);
        assert_eq!(record.content, None);
    }
    assert_eq!(records[4].status, Status::Ok);
    assert!(
        ran.stderr
            .contains("in/a.pdf, page 2 and 2 more: the file changed while it was read"),
        "{}",
        ran.stderr
    );
    let server = ChatServer::new();
    ask(&room, &server, "").expect(0);
    assert_eq!(server.requests().len(), 2);
    let new = &room.records(OUT)[5..];
    assert!(new.iter().all(|record| record.doc_id != records[0].doc_id));
}

#[test]
fn touched_document_is_read_again_without_retry() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one", "two"]))
        .put("in/b.pdf", pdf(&["one", "two"]));
    let path = room.path("in/a.pdf");
    let server = ChatServer::with(Duration::ZERO, move |request, _| {
        if request == 0 {
            fs::write(&path, pdf(&["one", "two"])).unwrap();
        }
        Reply::Text
    });
    ask(&room, &server, "").expect(3);
    let changed = |records: &[Record]| records.iter().filter(|it| kind(it).is_some()).count();
    assert_eq!(changed(&room.records(OUT)), 4);
    let server = ChatServer::new();
    ask(&room, &server, "").expect(0);
    assert_eq!(server.requests().len(), 2);
    assert_eq!(changed(&room.records(OUT)[4..]), 0);
    let merged = Ran::of(&mut room.omnidocs("merge out.jsonl")).expect(0);
    assert!(
        merged.stderr.contains("0 of them failed"),
        "{}",
        merged.stderr
    );
}

#[test]
fn document_that_is_removed_or_renamed_is_not_changed() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one", "two"]));
    let path = room.path("in/a.pdf");
    let server = ChatServer::with(Duration::from_millis(300), move |request, _| {
        if request == 1 {
            fs::remove_file(&path).unwrap();
        }
        Reply::Text
    });
    ask(&room, &server, "").expect(0);
    assert_eq!(room.records(OUT).len(), 2);
}
