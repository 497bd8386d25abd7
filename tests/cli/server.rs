//! `--engine server`, against a server that does all that servers do wrong.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use assert_cmd::Command;
use omnidocs::{
    engine::FinishReason,
    error::ErrorKind,
    record::{Record, Status, Warning},
};

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room, pdf, spawn},
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

#[test]
fn what_the_server_says_is_in_the_records_and_the_request_is_what_was_asked_for() {
    let room = room(3);
    let server = ChatServer::new();
    ask(
        &room,
        &server,
        "--prompt Read! --max-new-tokens 99 --temperature 0.5 --seed 7",
    )
    .expect(0);
    for record in all_read(&room, &server, 3) {
        assert_eq!(
            (
                record.engine.as_str(),
                record.model.as_deref(),
                record.attempts
            ),
            ("server", Some("reader"), 1)
        );
        assert_eq!(record.finish_reason, Some(FinishReason::Stop));
        assert_eq!(
            (record.prompt_tokens, record.completion_tokens),
            (Some(70), Some(3))
        );
        let (width, height) = record.width.zip(record.height).unwrap();
        assert!(width * height <= 30_000 && width % 32 == 0);
    }
    let request = &server.requests()[0];
    assert_eq!(request.authorization, None);
    let json = &request.json;
    let url = json["messages"][0]["content"][0]["image_url"]["url"]
        .as_str()
        .unwrap();
    assert!(url.starts_with("data:image/png;base64,"));
    assert_eq!(json["messages"][0]["content"][1]["text"], "Read!");
    assert_eq!(
        (
            &json["model"],
            &json["max_tokens"],
            &json["temperature"],
            &json["seed"]
        ),
        (&"reader".into(), &99.into(), &0.5.into(), &7.into())
    );
    let meta = room.read("out.jsonl.meta.json");
    assert!(
        meta.contains(r#""model": "reader""#) && !meta.contains("127.0.0.1"),
        "{meta}"
    );
    // Another server is no other setting, another model is.
    let other = ChatServer::new();
    ask(
        &room,
        &other,
        "--prompt Read! --max-new-tokens 99 --temperature 0.5 --seed 7",
    )
    .expect(0);
    assert_eq!(other.requests().len(), 0);
    ask(&room, &other, "--model another").expect(10);
}

#[test]
fn whatever_a_server_does_wrong_for_a_while_no_page_is_lost_and_none_is_there_twice() {
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
fn slow_bodies_are_waited_for_and_those_that_never_come_are_not() {
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
fn a_server_that_restarts_in_the_middle_of_a_run_costs_nothing() {
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
fn a_server_that_is_only_just_starting_is_waited_for_and_one_that_is_not_there_is_named() {
    let room = room(2);
    let mut server = ChatServer::new();
    server.stop();
    let run = spawn(&mut asking(&room, &server.url(), ""));
    thread::sleep(Duration::from_millis(500));
    server.start();
    let ran = Ran::end_of(run).expect(0);
    assert!(
        ran.stderr.contains("waiting for it, for 600 s at most"),
        "{}",
        ran.stderr
    );
    all_read(&room, &server, 2);
    server.stop();
    let ran = ask(&room, &server, "--restart --server-wait 0.5 --model given").expect(1);
    let words = format!("the server at {} can't be reached", server.url());
    assert!(ran.stderr.contains(&words), "{}", ran.stderr);
    assert_eq!(room.records("out.jsonl").len(), 2, "nothing was begun anew");
}

#[test]
fn a_server_that_stays_away_fails_pages_after_the_wait_and_is_not_waited_for_again() {
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
fn the_pause_that_the_server_asks_for_is_kept() {
    let date = |seconds| httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds));
    // A date has whole seconds, so that two of them are more than one.
    for (header, least) in [
        ("Retry-After: 1\r\n".to_owned(), 1.0),
        (format!("Retry-After: {}\r\n", date(3)), 1.0),
    ] {
        let server = ChatServer::with(Duration::ZERO, move |_, before| match before {
            0 => status(429, &header, "slow down"),
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
fn what_no_page_can_help_ends_the_run_at_once_with_the_servers_own_words() {
    for (code, words, advice) in [
        (401, "Incorrect API key provided", "OMNIDOCS_SERVER_API_KEY"),
        (403, "not for you", "OMNIDOCS_SERVER_API_KEY"),
        (404, "The model `x` does not exist.", "--model"),
        (400, "max_tokens is too large: 4096", ""),
        (422, "unprocessable", ""),
        (413, "entity too large", ""),
    ] {
        let server = ChatServer::with(Duration::ZERO, move |_, _| status(code, "", words));
        let room = room(200);
        let ran = ask(&room, &server, "--concurrency 4").expect(1);
        for told in [words, advice, &code.to_string()] {
            assert!(ran.stderr.contains(told), "{code}: {}", ran.stderr);
        }
        assert!(server.requests().len() <= 12, "{}", server.requests().len());
        assert_eq!(
            room.records("out.jsonl").len(),
            0,
            "the same command goes on"
        );
    }
}

#[test]
fn a_page_that_the_server_refuses_while_it_takes_others_is_a_failed_page() {
    let server = ChatServer::with(Duration::from_millis(5), |request, _| match request {
        // The very first one, before the server has shown that it answers.
        0 | 5 => status(
            400,
            "",
            "This model's maximum context length is 4096 tokens",
        ),
        _ => Reply::Text,
    });
    let room = room(12);
    ask(&room, &server, "--concurrency 3").expect(3);
    let records = room.records("out.jsonl");
    let failed: Vec<_> = records
        .iter()
        .filter(|record| record.status == Status::Failed)
        .collect();
    assert_eq!((records.len(), failed.len()), (12, 2));
    for record in failed {
        let error = record.error.as_ref().unwrap();
        assert_eq!((error.kind, record.attempts), (ErrorKind::Server, 1));
        assert!(error.message.contains("maximum context length"), "{error}");
    }
}

#[test]
fn answers_that_make_no_sense_are_asked_for_again_as_often_as_retries_say() {
    for body in [
        "no JSON",
        "{}",
        r#"{"choices":[]}"#,
        r#"{"choices":[{"message":{"content":null}}]}"#,
    ] {
        let server = ChatServer::with(Duration::ZERO, move |_, _| Reply::Body(body.to_owned()));
        let room = room(1);
        ask(&room, &server, "--retries 1").expect(3);
        let record = room.records("out.jsonl").remove(0);
        let error = record.error.unwrap();
        assert_eq!((error.kind, record.attempts), (ErrorKind::Server, 2));
        assert!(error.message.contains("makes no sense"), "{error}");
    }
}

#[test]
fn a_cut_off_answer_gets_a_second_look_and_a_loop_is_cut() {
    let text = "so ".repeat(600);
    let looping = text.clone();
    let server = ChatServer::with(Duration::ZERO, move |_, before| match before {
        0 => Reply::Said(looping.clone(), "length"),
        _ => Reply::Said("better, but too long".to_owned(), "length"),
    });
    let room = room(1);
    ask(&room, &server, "").expect(0);
    let record = room.records("out.jsonl").remove(0);
    assert_eq!(
        (
            record.content.as_deref(),
            record.finish_reason,
            record.attempts
        ),
        (Some("better, but too long"), Some(FinishReason::Length), 2)
    );
    let temperatures: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.json["temperature"].as_f64().unwrap() > 0.0)
        .collect();
    assert_eq!(temperatures, [false, true]);
    ask(&room, &server, "--restart --retries 0").expect(0);
    let record = room.records("out.jsonl").remove(0);
    assert!(record.warnings.contains(&Warning::Truncated));
    let looped = ChatServer::with(Duration::ZERO, move |_, _| {
        Reply::Said(text.clone(), "length")
    });
    ask(&room, &looped, "--restart --retries 0").expect(0);
    let record = room.records("out.jsonl").remove(0);
    assert_eq!(
        (record.content.as_deref(), record.finish_reason),
        (Some("so "), Some(FinishReason::Repetition))
    );
}

#[test]
fn more_requests_at_a_time_are_faster_and_never_more_than_asked_for() {
    let pages = 48;
    let room = room(pages);
    let pace = |concurrency: usize| {
        let server = ChatServer::with(Duration::from_millis(50), |_, _| Reply::Text);
        ask(
            &room,
            &server,
            &format!("--restart --concurrency {concurrency} --prefetch 64"),
        )
        .expect(0);
        all_read(&room, &server, pages);
        assert!(
            server.most_in_flight() <= concurrency,
            "{}",
            server.most_in_flight()
        );
        let requests = server.requests();
        let took = requests[pages - 1].at - requests[0].at;
        println!("{pages} pages of 50 ms, {concurrency} at a time: {took:.2?}");
        took
    };
    let (one, eight) = (pace(1), pace(8));
    assert!(one > eight * 3, "{one:?}, {eight:?}");
}

#[test]
fn the_key_goes_to_the_server_and_nowhere_else() {
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
fn the_processes_that_decode_files_do_not_know_the_key() {
    let room = room(4);
    let server = ChatServer::with(Duration::from_secs(1), |_, _| Reply::Text);
    let mut command = asking(&room, &server.url(), "--concurrency 1");
    let run = spawn(command.env("OMNIDOCS_SERVER_API_KEY", "sk-very-secret"));
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
        thread::sleep(Duration::from_millis(2));
        !found.is_empty()
    });
    Ran::end_of(run).expect(0);
    for environment in found.expect("no process that decodes was ever seen") {
        assert!(!environment.contains("sk-very-secret"));
    }
}

#[test]
fn the_only_model_is_taken_and_of_several_one_must_be_named() {
    let room = room(1);
    let server = ChatServer::of_models(Some(&["large", "small"]), Duration::ZERO, |_, _| {
        Reply::Text
    });
    let ran = ask(&room, &server, "").expect(1);
    assert!(
        ran.stderr.contains("choose one with --model: large, small"),
        "{}",
        ran.stderr
    );
    ask(&room, &server, "--model small").expect(0);
    assert_eq!(server.requests()[0].json["model"], "small");
    let none = ChatServer::of_models(Some(&[]), Duration::ZERO, |_, _| Reply::Text);
    let ran = ask(&room, &none, "").expect(1);
    assert!(ran.stderr.contains("has no model"), "{}", ran.stderr);
}

#[test]
fn a_server_that_lists_no_models_is_asked_all_the_same_where_the_model_is_named() {
    let room = room(1);
    let server = ChatServer::of_models(None, Duration::ZERO, |_, _| Reply::Text);
    let ran = ask(&room, &server, "--server-wait 0.3").expect(1);
    assert!(
        ran.stderr.contains("says 500 Internal Server Error"),
        "{}",
        ran.stderr
    );
    let begin = Instant::now();
    ask(&room, &server, "--model small").expect(0);
    assert!(
        begin.elapsed() < Duration::from_secs(60),
        "nothing is waited for"
    );
}

#[test]
fn a_fallback_reads_what_the_server_fails_on() {
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

#[cfg(unix)]
#[test]
fn a_signal_lets_the_pages_in_flight_finish() {
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
        ran.stderr.contains("the same command goes on"),
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

#[cfg(unix)]
#[test]
fn a_signal_leaves_pages_that_wait_for_a_dead_server_to_the_next_run() {
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

#[test]
fn a_server_that_sends_on_to_another_is_not_followed() {
    let elsewhere = ChatServer::new();
    for code in [301, 307] {
        let header = format!("Location: {}/chat/completions\r\n", elsewhere.url());
        let server = ChatServer::with(Duration::ZERO, move |_, _| {
            Reply::Status(code, header.clone(), String::new())
        });
        let room = room(1);
        let ran = ask(&room, &server, "").expect(1);
        for told in [&code.to_string(), &elsewhere.url(), "--server-url"] {
            assert!(ran.stderr.contains(told), "{code}: {}", ran.stderr);
        }
        assert_eq!(elsewhere.requests().len(), 0);
    }
}

#[test]
fn nothing_in_a_servers_words_reaches_the_terminal_but_text() {
    let server = ChatServer::with(Duration::ZERO, |_, _| {
        Reply::Status(401, String::new(), "\u{1b}[2Jno\u{7}\r\nentry".to_owned())
    });
    let room = room(1);
    let ran = ask(&room, &server, "").expect(1);
    assert!(ran.stderr.contains("[2Jno entry"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(['\u{1b}', '\u{7}']), "{}", ran.stderr);
}

#[test]
fn nothing_is_asked_of_a_server_about_blank_pages() {
    let room = Room::new();
    room.put("in.pdf", pdf(&["", "words"]));
    let server = ChatServer::new();
    ask(&room, &server, "--max-pixels 500000").expect(0);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn wrong_settings_of_the_server_are_named() {
    let room = room(1);
    for (args, hint) in [
        ("--engine server", "--engine server needs --server-url"),
        (
            "--engine server --server-url host:8000",
            "--server-url \"host:8000\" is no address",
        ),
        (
            "--server-url http://me:you@host",
            "put the server's key into OMNIDOCS_SERVER_API_KEY",
        ),
        (
            "--server-url http://host --concurrency 0",
            "--concurrency 0 is not between 1 and",
        ),
        (
            "--server-url http://host --server-wait -1",
            "--server-wait -1 makes no sense",
        ),
    ] {
        let ran = Ran::of(&mut room.omnidocs(&format!("extract in.pdf {args}"))).expect(2);
        assert!(ran.stderr.contains(hint), "{args}: {}", ran.stderr);
    }
}

#[test]
fn a_server_that_speaks_no_http_is_named() {
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
