//! Signals while a server is asked.

use std::time::{Duration, Instant};

use super::{all_read, ask, asking, room, status};
use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, spawn},
};

#[test]
fn signal_lets_requests_in_flight_finish() {
    let room = room(60);
    let server = ChatServer::with(Duration::from_millis(400), |_, _| Reply::Text);
    let run = spawn(&mut asking(&room, &server.url(), "--concurrency 5"));
    server.wait_for_requests(8);
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &run.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let ran = Ran::end_of(run).expect(143);
    assert!(
        ran.stderr.contains("run the same command again to resume"),
        "{}",
        ran.stderr
    );
    let done = room.records("out.jsonl").len();
    assert_eq!(
        done,
        server.requests().len(),
        "what was asked for was written"
    );
    assert!((8..60).contains(&done), "{done}");
    ask(&room, &server, "--concurrency 5").expect(0);
    all_read(&room, &server, 60);
    assert!(server.served().values().all(|&times| times == 1));
}

#[test]
fn signal_leaves_waiting_pages_to_the_next_run() {
    let room = room(20);
    for outage in [
        status(503, "Retry-After: 1000\r\n", "out of order"),
        Reply::HangUp,
    ] {
        let server = ChatServer::with(Duration::ZERO, move |request, _| match request {
            0..4 => Reply::Text,
            _ => outage.clone(),
        });
        let run = spawn(&mut asking(
            &room,
            &server.url(),
            "--restart --concurrency 2 --fallback text-layer",
        ));
        server.wait_for_requests(6);
        let begin = Instant::now();
        let kill = std::process::Command::new("kill")
            .args(["-TERM", &run.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        Ran::end_of(run).expect(143);
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        let records = room.records("out.jsonl");
        assert_eq!(records.len(), 4, "neither failed nor lost");
        let healthy = ChatServer::new();
        ask(&room, &healthy, "--fallback text-layer").expect(0);
        assert_eq!(room.records("out.jsonl").len(), 20);
        assert_eq!(healthy.served().len(), 16);
    }
}
