//! `--engine server`, against a server that does all that servers do wrong.

mod answers;
mod faults;
mod key;
mod requests;
#[cfg(unix)]
mod signals;

use std::collections::BTreeSet;

use assert_cmd::Command;
use omnidocs::record::Record;

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room, pdf},
};

/// A document of so many pages, no two alike.
fn room(pages: usize) -> Room {
    let room = Room::new();
    let texts: Vec<String> = (0..pages)
        .map(|page| format!("page number {page}"))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    room.put("in.pdf", pdf(&texts));
    room
}

/// `omnidocs extract in.pdf` with a server, on small pages.
fn asking(room: &Room, url: &str, args: &str) -> Command {
    room.omnidocs(&format!(
        "extract in.pdf -o out.jsonl --engine server --server-url {url} --max-pixels 30000 --min-pixels 1024 {args}"
    ))
}

fn ask(room: &Room, server: &ChatServer, args: &str) -> Ran {
    Ran::of(&mut asking(room, &server.url(), args))
}

/// The records of a run in which every page was read: once each, with the text of its own pixels.
#[track_caller]
fn all_read(room: &Room, server: &ChatServer, pages: usize) -> Vec<Record> {
    let records = room.records("out.jsonl");
    assert_eq!(records.len(), pages, "none lost, none twice");
    let numbers: BTreeSet<u32> = records.iter().map(|record| record.page).collect();
    assert_eq!(numbers.len(), pages);
    let contents: BTreeSet<_> = records
        .iter()
        .map(|record| record.content.clone().unwrap())
        .collect();
    let served: BTreeSet<_> = server
        .served()
        .keys()
        .map(|page| format!("page {page}"))
        .collect();
    assert_eq!(contents, served);
    records
}

fn status(code: u16, headers: &str, words: &str) -> Reply {
    let body = format!(r#"{{"error":{{"message":"{words}","type":"x"}}}}"#);
    Reply::Status(code, headers.to_owned(), body)
}
