//! What a server answers that is no answer, or half of one.

use std::time::Duration;

use omnidocs::{
    error::ErrorKind,
    page::{FinishReason, Warning},
    record::Status,
};

use serde_json::json;

use super::{all_read, ask, room, status};
use crate::{
    chat_server::{ChatServer, Reply},
    common::Ran,
};

#[test]
fn errors_for_every_page_stop_the_run_with_the_message() {
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
        for part in [words, advice, &code.to_string()] {
            assert!(ran.stderr.contains(part), "{code}: {}", ran.stderr);
        }
        assert!(server.requests().len() <= 12, "{}", server.requests().len());
        assert_eq!(room.records("out.jsonl").len(), 0, "no page has a record");
    }
}

#[test]
fn page_refused_by_the_server_fails() {
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
fn invalid_server_answers_are_retried() {
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
        assert!(error.message.contains("cannot parse the answer"), "{error}");
    }
}

#[test]
fn truncated_server_answer_is_resampled_and_a_loop_is_cut() {
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
fn server_redirect_is_not_followed() {
    let elsewhere = ChatServer::new();
    for code in [301, 307] {
        let header = format!("Location: {}/chat/completions\r\n", elsewhere.url());
        let server = ChatServer::with(Duration::ZERO, move |_, _| {
            Reply::Status(code, header.clone(), String::new())
        });
        let room = room(1);
        let ran = ask(&room, &server, "").expect(1);
        for part in [&code.to_string(), &elsewhere.url(), "--server-url"] {
            assert!(ran.stderr.contains(part), "{code}: {}", ran.stderr);
        }
        assert_eq!(elsewhere.requests().len(), 0);
    }
}

#[test]
fn server_messages_are_escaped() {
    let server = ChatServer::with(Duration::ZERO, |_, _| {
        Reply::Status(401, String::new(), "\u{1b}[2Jno\u{7}\r\nentry".to_owned())
    });
    let room = room(1);
    let ran = ask(&room, &server, "").expect(1);
    assert!(ran.stderr.contains("[2Jno entry"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(['\u{1b}', '\u{7}']), "{}", ran.stderr);
}

#[test]
fn known_model_on_a_server_is_asked_and_read_as_it_writes() {
    let answer = "---\nprimary_language: en\nis_rotation_valid: True\nrotation_correction: 0\nis_table: False\n\
                  is_diagram: False\n---\nThe text.";
    let model = "allenai/olmOCR-2-7B-1025";
    let server = ChatServer::of_models(Some(&[model]), Duration::ZERO, move |_, _| {
        Reply::Said(answer.to_owned(), "stop")
    });
    let room = room(1);
    ask(&room, &server, "").expect(0);
    let record = &room.records("out.jsonl")[0];
    assert_eq!(record.content.as_deref(), Some("The text."));
    let request = &server.requests()[0].json;
    let content = &request["messages"][0]["content"];
    // Its prompt comes first, and its answers are sampled.
    assert!(
        content[0]["text"]
            .as_str()
            .unwrap()
            .contains("rotation_correction"),
        "{content}"
    );
    assert_eq!(content[1]["type"], "image_url");
    assert_ne!(request["temperature"], 0.0);
}

/// An answer whose tokens have these log-probabilities.
fn sure(logs: &[f64]) -> Reply {
    let tokens: Vec<_> = logs
        .iter()
        .map(|log| json!({"token": "a", "logprob": log, "bytes": [97], "top_logprobs": []}))
        .collect();
    let choice = json!({
        "message": {"role": "assistant", "content": "some text"},
        "finish_reason": "stop",
        "logprobs": {"content": tokens},
    });
    Reply::Body(json!({ "choices": [choice] }).to_string())
}

#[test]
fn confidence_is_what_the_server_says_of_its_tokens() {
    let server = ChatServer::with(Duration::ZERO, |request, _| match request {
        0 => sure(&[-0.5, -0.25, 0.0, -0.25]),
        1 => sure(&[-1.0, -2.0]),
        _ => Reply::Text,
    });
    let room = room(3);
    ask(&room, &server, "--concurrency 1").expect(0);
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.json["logprobs"] == true)
    );
    let records = room.records("out.jsonl");
    let found: Vec<_> = records
        .iter()
        .map(|record| {
            let warned = record.warnings.contains(&Warning::LowConfidence);
            (
                record.confidence.map(|found| (found.mean, found.worst)),
                warned,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (Some((-0.25, -0.25)), false),
            (Some((-1.5, -1.5)), true),
            (None, false)
        ]
    );

    let unsure = Ran::of(&mut room.omnidocs("status out.jsonl --unsure")).expect(0);
    assert_eq!(
        unsure.stdout,
        "in.pdf\t2\t-1.5\t-1.5\nin.pdf\t1\t-0.25\t-0.25\n"
    );
    let shown = Ran::of(&mut room.omnidocs("show out.jsonl in.pdf:2")).expect(0);
    let shown = shown.stdout + &shown.stderr;
    assert!(
        shown.contains("confidence 22 % (worst part 22 %)"),
        "{shown}"
    );
    let report = Ran::of(&mut room.omnidocs("report out.jsonl -o - --unsure 2")).expect(0);
    let places = ["in.pdf p.2 of 3", "in.pdf p.1 of 3"].map(|page| report.stdout.find(page));
    assert!(places[0].is_some() && places[0] < places[1], "{places:?}");
    assert!(!report.stdout.contains("in.pdf p.3 of 3"));
}

#[test]
fn server_that_refuses_logprobs_is_asked_without_them() {
    let server = ChatServer::with(Duration::ZERO, |request, _| match request {
        0 => status(400, "", "logprobs is not supported by this model"),
        _ => Reply::Text,
    });
    let room = room(4);
    ask(&room, &server, "--concurrency 1 --retries 0").expect(0);
    all_read(&room, &server, 4);
    let asked: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.json.get("logprobs").is_some())
        .collect();
    assert_eq!(asked, [true, false, false, false, false]);
}
