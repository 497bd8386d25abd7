//! A server that fails, hangs, restarts or goes away: what is waited for, and for how long.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use omnidocs::{error::ErrorKind, page::Warning};

use super::{all_read, ask, asking, room, status};
use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, spawn},
};

#[test]
fn temporary_server_errors_lose_and_repeat_no_page() {
    // Each page meets three faults before it is answered.
    let faults = [
        status(500, "", "CUDA error"),
        Reply::HangUp,
        status(429, "Retry-After: 0\r\n", "too many requests"),
        Reply::HalfABody,
        status(503, "", "loading"),
        Reply::Body("<html>Bad gateway</html>".to_owned()),
        status(502, "", "bad gateway"),
        status(408, "", "request timeout"),
        status(504, "", "gateway timeout"),
    ];
    let server = ChatServer::with(
        Duration::from_millis(5),
        move |request, before| match before {
            0..3 => faults[request % faults.len()].clone(),
            _ => Reply::Text,
        },
    );
    let room = room(24);
    ask(&room, &server, "--concurrency 6 --retries 9").expect(0);
    for record in all_read(&room, &server, 24) {
        assert_eq!(record.attempts, 4);
    }
    assert!(server.served().values().all(|&times| times == 1));
    assert!(
        (2..=6).contains(&server.most_in_flight()),
        "{}",
        server.most_in_flight()
    );
}

#[test]
fn slow_answers_are_awaited_until_page_timeout() {
    let server = ChatServer::with(Duration::ZERO, |_, before| match before {
        0 => Reply::Stall(Duration::from_secs(30)),
        _ => Reply::Drip(Duration::from_millis(300)),
    });
    let room = room(3);
    ask(&room, &server, "--page-timeout 2").expect(0);
    for record in all_read(&room, &server, 3) {
        assert_eq!(record.attempts, 2);
    }
    let hung = ChatServer::with(Duration::ZERO, |_, _| Reply::Stall(Duration::from_secs(30)));
    let begin = Instant::now();
    ask(&room, &hung, "--page-timeout 0.5 --server-wait 1 --restart").expect(3);
    assert!(begin.elapsed() < Duration::from_secs(10));
    for record in room.records("out.jsonl") {
        let error = record.error.unwrap();
        assert_eq!(error.kind, ErrorKind::Timeout);
        assert!(error.message.contains("--page-timeout"), "{error}");
    }
}

#[test]
fn server_restart_loses_no_page() {
    let room = room(60);
    let mut server = ChatServer::with(Duration::from_millis(20), |_, _| Reply::Text);
    let run = spawn(&mut asking(&room, &server.url(), ""));
    for requests in [10, 30] {
        server.wait_for_requests(requests);
        server.stop();
        thread::sleep(Duration::from_millis(700));
        server.start();
    }
    Ran::end_of(run).expect(0);
    let records = all_read(&room, &server, 60);
    assert!(records.iter().any(|record| record.attempts > 1));
    assert!(server.most_in_flight() <= 8, "{}", server.most_in_flight());
}

#[test]
fn starting_server_is_awaited_and_missing_server_is_named() {
    let room = room(2);
    let mut server = ChatServer::new();
    server.stop();
    let run = spawn(&mut asking(&room, &server.url(), ""));
    thread::sleep(Duration::from_millis(500));
    server.start();
    let ran = Ran::end_of(run).expect(0);
    assert!(
        ran.stderr.contains("retrying for up to 600 s"),
        "{}",
        ran.stderr
    );
    all_read(&room, &server, 2);
    server.stop();
    let ran = ask(&room, &server, "--restart --server-wait 0.5 --model given").expect(1);
    let words = format!("the server at {} cannot be reached", server.url());
    assert!(ran.stderr.contains(&words), "{}", ran.stderr);
    assert_eq!(room.records("out.jsonl").len(), 2, "nothing was begun anew");
}

#[test]
fn unavailable_server_fails_pages_after_server_wait() {
    let server = ChatServer::with(Duration::ZERO, |request, _| match request {
        0..4 => Reply::Text,
        _ => status(503, "Retry-After: 1000\r\n", "out of order"),
    });
    let room = room(40);
    let begin = Instant::now();
    let ran = ask(&room, &server, "--concurrency 2 --server-wait 1.5").expect(3);
    let took = begin.elapsed();
    assert!(
        took > Duration::from_millis(1500) && took < Duration::from_secs(10),
        "{took:?}"
    );
    assert!(
        ran.stderr.contains("503 Service Unavailable: out of order"),
        "{}",
        ran.stderr
    );
    let records = room.records("out.jsonl");
    assert_eq!(records.len(), 40);
    let failed = records.iter().filter_map(|record| record.error.as_ref());
    assert_eq!(
        failed
            .filter(|error| error.kind == ErrorKind::Server)
            .count(),
        36
    );
    // The first two are tried until the end of the wait, the others once each.
    assert!(
        server.requests().len() <= 4 + 36 + 4,
        "{}",
        server.requests().len()
    );
    // The morning after.
    let healthy = ChatServer::new();
    ask(&room, &healthy, "--retry-failed").expect(0);
    assert_eq!(healthy.served().len(), 36);
}

#[test]
fn retry_after_of_the_server_is_respected() {
    // A date has whole seconds, so that three of them are more than two when the server answers.
    let date = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    let pauses: [(fn() -> String, f64); 2] = [(|| "1".to_owned(), 1.0), (date, 2.0)];
    for (pause, least) in pauses {
        let server = ChatServer::with(Duration::ZERO, move |_, before| match before {
            0 => status(429, &format!("Retry-After: {}\r\n", pause()), "slow down"),
            _ => Reply::Text,
        });
        let room = room(1);
        ask(&room, &server, "").expect(0);
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        let pause = (requests[1].at - requests[0].at).as_secs_f64();
        assert!(pause >= least && pause < 5.0, "{pause}");
    }
}

#[test]
fn server_without_http_is_named() {
    let room = room(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let _ = std::io::Write::write_all(&mut &stream, b"220 mail ready\r\n");
            }
        });
        let ran = Ran::of(&mut asking(&room, &url, "--server-wait 0.5")).expect(1);
        assert!(
            ran.stderr.contains(&format!("the server at {url}")),
            "{}",
            ran.stderr
        );
        stopped.store(true, Ordering::Relaxed);
        let _ = std::net::TcpStream::connect(listener.local_addr().unwrap());
    });
}

#[test]
fn fallback_reads_pages_that_the_server_failed_on() {
    let server = ChatServer::with(Duration::ZERO, |_, before| match before {
        0 => Reply::Text,
        _ => Reply::HangUp,
    });
    let room = room(4);
    ask(&room, &server, "").expect(0);
    // All four have been asked for once: this time nothing comes of it.
    ask(
        &room,
        &server,
        "--restart --server-wait 0.3 --fallback text-layer",
    )
    .expect(0);
    for record in room.records("out.jsonl") {
        assert_eq!(record.engine, "text-layer");
        assert_eq!(record.warnings.last(), Some(&Warning::FallbackUsed));
    }
}
