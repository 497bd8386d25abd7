//! What is asked of a server, how much of it at a time, and what is not.

use std::time::{Duration, Instant};

use omnidocs::page::FinishReason;

use super::{all_read, ask, room};
use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room, pdf},
};

#[test]
fn server_request_and_record_match() {
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
fn concurrency_speeds_up_and_is_never_exceeded() {
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
fn server_with_several_models_needs_a_model_name() {
    let room = room(1);
    let server = ChatServer::of_models(Some(&["large", "small"]), Duration::ZERO, |_, _| {
        Reply::Text
    });
    let ran = ask(&room, &server, "").expect(1);
    assert!(
        ran.stderr.contains("name one with --model: large, small"),
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
fn server_without_model_list_needs_a_model_name() {
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
fn blank_pages_are_not_sent_to_the_server() {
    let room = Room::new();
    room.put("in.pdf", pdf(&["", "words"]));
    let server = ChatServer::new();
    ask(&room, &server, "--max-pixels 500000").expect(0);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn invalid_server_options_are_usage_errors() {
    let room = room(1);
    for (args, hint) in [
        ("--engine server", "--engine server needs --server-url"),
        (
            "--engine server --server-url host:8000",
            "--server-url \"host:8000\" is not a URL",
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
            "--server-wait -1 is out of range",
        ),
    ] {
        let ran = Ran::of(&mut room.omnidocs(&format!("extract in.pdf {args}"))).expect(2);
        assert!(ran.stderr.contains(hint), "{args}: {}", ran.stderr);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_concurrency() {
    use crate::common::run_and_measure;

    let room = Room::new();
    for number in 0..40 {
        let mut random = fastrand::Rng::with_seed(number);
        let noise = image::RgbImage::from_fn(640, 640, |_, _| {
            image::Rgb(std::array::from_fn(|_| random.u8(..)))
        });
        noise.save(room.path(format!("{number}.png"))).unwrap();
    }
    let held = |concurrency: usize| {
        let server = ChatServer::with(Duration::from_secs(3), |_, _| Reply::Text);
        let args = format!(
            "extract . -o {concurrency}.jsonl --engine server --server-url {} --concurrency {concurrency} --prefetch 2",
            server.url()
        );
        let (ran, most) = run_and_measure(&mut room.omnidocs(&args));
        ran.expect(0);
        // Time enough for all requests to be sent.
        assert_eq!(server.most_in_flight(), concurrency);
        most
    };
    let (few, many) = (held(8), held(40));
    println!("{few} MiB with 8 requests, {many} MiB with 40");
    assert!(many < few + 32, "{few} MiB with 8 requests, {many} with 40");
}
