//! The server's key, which nobody else learns.

use std::time::Duration;

use super::{asking, room, status};
use crate::{
    chat_server::{ChatServer, Reply},
    common::Ran,
};

#[test]
fn api_key_goes_only_to_the_server() {
    let room = room(2);
    let key = "sk-very-secret";
    let server = ChatServer::with(Duration::ZERO, move |request, _| match request {
        0 => status(500, "", &format!("no luck with {key}")),
        _ => Reply::Text,
    });
    let mut command = asking(&room, &server.url(), "-vv");
    let ran = Ran::of(
        command
            .env("OMNIDOCS_SERVER_API_KEY", key)
            .env("RUST_LOG", "trace"),
    );
    let ran = ran.expect(0);
    let wanted = Some(format!("Bearer {key}"));
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.authorization == wanted)
    );
    assert!(
        ran.stderr.contains("no luck with [the key]"),
        "{}",
        ran.stderr
    );
    let refusing = ChatServer::with(Duration::ZERO, move |_, _| {
        status(401, "", &format!("Incorrect API key provided: {key}"))
    });
    let mut command = asking(&room, &refusing.url(), "--restart");
    let refused = Ran::of(command.env("OMNIDOCS_SERVER_API_KEY", key)).expect(1);
    for text in [
        ran.stderr,
        refused.stderr,
        room.read("out.jsonl"),
        room.read("out.jsonl.bak"),
        room.read("out.jsonl.meta.json"),
    ] {
        assert!(!text.contains(key), "{text}");
    }
    // The words of the parser, which repeat what it has found.
    let body = format!(r#"{{"choices":"{key}"}}"#);
    let garbling = ChatServer::with(Duration::ZERO, move |_, _| Reply::Body(body.clone()));
    let mut command = asking(&room, &garbling.url(), "--restart --retries 0");
    Ran::of(command.env("OMNIDOCS_SERVER_API_KEY", key)).expect(3);
    let records = room.read("out.jsonl");
    assert!(
        records.contains("[the key]") && !records.contains(key),
        "{records}"
    );
    let mut command = asking(&room, &server.url(), "");
    let ran = Ran::of(command.env("OMNIDOCS_SERVER_API_KEY", "two\nlines")).expect(2);
    assert!(
        ran.stderr.contains("OMNIDOCS_SERVER_API_KEY"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("lines"), "{}", ran.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn workers_do_not_know_the_api_key() {
    // More pages than are prepared ahead: as long as the server is not done with them, somebody decodes.
    let room = room(20);
    let server = ChatServer::with(Duration::from_millis(250), |_, _| Reply::Text);
    let mut command = asking(&room, &server.url(), "--concurrency 1 --prefetch 2");
    let run = crate::common::spawn(command.env("OMNIDOCS_SERVER_API_KEY", "sk-very-secret"));
    server.wait_for_requests(1);
    let of = |process: &str, file: &str| {
        let read = std::fs::read(format!("/proc/{process}/{file}"));
        String::from_utf8_lossy(&read.unwrap_or_default()).into_owned()
    };
    let parent = format!("PPid:\t{}\n", run.id());
    // A process has its parent's environment until it has begun, and none once it has ended.
    let workers = || -> Vec<String> {
        std::fs::read_dir("/proc")
            .unwrap()
            .map(|process| process.unwrap().file_name().into_string().unwrap())
            .filter(|process| of(process, "status").contains(&parent))
            .filter(|process| of(process, "cmdline").contains("prepare-worker"))
            .map(|process| of(&process, "environ"))
            .filter(|environment| environment.contains("PATH="))
            .collect()
    };
    let found = (0..500).map(|_| workers()).find(|found| {
        std::thread::sleep(Duration::from_millis(2));
        !found.is_empty()
    });
    Ran::end_of(run).expect(0);
    for environment in found.expect("no process that decodes was ever seen") {
        assert!(!environment.contains("sk-very-secret"));
    }
}
