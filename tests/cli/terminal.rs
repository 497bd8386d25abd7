//! What a person sees: each line whole, whatever is drawn, on a terminal of any width.

use std::{thread, time::Duration};

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Room, pdf},
    pty::{self, Shown},
};

const WIDTHS: [u16; 3] = [60, 80, 140];

/// Three documents, of which one is none.
fn room() -> Room {
    let room = Room::new();
    for name in ["first document", "second document"] {
        room.put(&format!("in/{name}.pdf"), pdf(&[name, "page", "end"]));
    }
    room.put("in/third, and no document at all.pdf", "nothing");
    room
}

/// A server that takes long enough for the bar to be seen.
fn slow_server() -> ChatServer {
    ChatServer::with(Duration::from_millis(400), |_, _| Reply::Text)
}

fn extract(room: &Room, server: &ChatServer, args: &str) -> assert_cmd::Command {
    let url = server.url();
    room.omnidocs(&format!(
        "extract in -o r.jsonl --engine server --server-url {url} --max-pixels 30000 --min-pixels 1024 --concurrency 1 {args}"
    ))
}

/// Fails if a line is torn, or a status line lacks what matters most.
#[track_caller]
fn assert_whole(shown: &Shown, width: u16) {
    let starts = [
        "omnidocs 0",
        "read  ",
        "before  ",
        "pages  ",
        "pace  ",
        "time  ",
        "failed  ",
        "again  ",
        "next  ",
        "warnings  ",
        // The rest of a wrapped line.
        "  ",
        "[",
        "warning: ",
        "resuming",
        "the old ",
        "shard ",
        "interrupted",
        "error: ",
        "info: ",
        "asked to end",
    ];
    let mut in_command = false;
    for line in &shown.lines {
        let is_start = starts.iter().any(|start| line.starts_with(start));
        assert!(in_command || is_start, "{line:?} in {:#?}", shown.lines);
        in_command |= is_command(line);
    }
    assert_eq!(torn(shown), [""; 0], "{:#?}", shown.lines);
    for status in &shown.statuses {
        assert!(status.chars().count() < usize::from(width), "{status}");
        assert!(
            status.contains('%') && status.contains("left") || status.contains("s)"),
            "{status}"
        );
    }
}

/// A command to copy, which is not wrapped.
fn is_command(line: &str) -> bool {
    line.starts_with("next  ") || line.starts_with("again  ")
}

/// The lines that the terminal broke, though they are neither a command nor a single word.
fn torn(shown: &Shown) -> Vec<&str> {
    let broken = shown.broken.iter().map(String::as_str);
    let has_words = |line: &&str| line.split_whitespace().count() > 1;
    broken
        .filter(has_words)
        .filter(|line| !is_command(line))
        .collect()
}

#[test]
fn terminal_shows_whole_lines_at_every_width() {
    for width in WIDTHS {
        let (room, server) = (room(), slow_server());
        for (args, code, words) in [
            ("", 3, "3 documents → r.jsonl"),
            ("-v", 3, "resuming r.jsonl, which has 7 pages"),
            (
                "--restart -v --shard 1/1",
                3,
                "the old r.jsonl is kept as r.jsonl.bak",
            ),
        ] {
            let shown = pty::run(&extract(&room, &server, args), width);
            assert_eq!(shown.code, Some(code), "{:#?}", shown.lines);
            assert_whole(&shown, width);
            let text = shown.lines.join(if width == 140 { "\n" } else { "" });
            assert!(text.contains(words), "{words}: {text}");
            let reads_pages = !args.starts_with("-v");
            if reads_pages {
                let statuses = shown.statuses.join("\n");
                assert!(statuses.contains("% · 0/3+ pages"), "{statuses}");
                assert!(
                    statuses.contains("in/first document.pdf") || width < 80,
                    "{statuses}"
                );
            }
            if args.contains("-v") && reads_pages {
                let done = shown.lines.iter().filter(|line| line.starts_with('['));
                assert_eq!(done.count(), 7, "{:#?}", shown.lines);
            }
            assert_eq!(
                shown.lines.last().map(|line| line.contains('%')),
                Some(false)
            );
        }
    }
}

#[test]
fn terminal_shows_warnings_and_errors_as_whole_lines() {
    let room = room();
    let mut server = slow_server();
    server.stop();
    for width in WIDTHS {
        let command = extract(&room, &server, "--server-wait 0.5 --model given");
        let shown = pty::run(&command, width);
        assert_eq!(shown.code, Some(1), "{:#?}", shown.lines);
        assert_whole(&shown, width);
        assert!(
            shown.lines.iter().any(|line| line.starts_with("error: ")),
            "{:#?}",
            shown.lines
        );
    }
}

#[test]
fn no_word_is_torn_on_a_narrow_terminal() {
    let (room, server) = (room(), slow_server());
    let long = format!("in/{}.pdf", "a long name with blanks ".repeat(4));
    room.put(&long, "nothing");
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reader");
    let run = extract(&room, &server, "-v");
    assert_eq!(pty::run(&run, 60).code, Some(3));
    let reader = format!("extract in --model {model} --max-new-tokens 2 -o reader.jsonl");
    let commands = [
        reader.as_str(),
        "extract in --engine text-layer -o other.jsonl -v",
        "extract in --engine text-layer -o r.jsonl",
        "status r.jsonl",
        "models",
        "doctor",
        "merge r.jsonl -o merged.jsonl --force",
        "export r.jsonl --to out",
        "report r.jsonl -o report.html",
        "show r.jsonl no-such-document-in-this-output.pdf",
    ];
    for width in WIDTHS {
        for (args, colour) in commands.iter().flat_map(|args| [(args, ""), (args, "1")]) {
            let mut command = room.omnidocs(args);
            command
                .env("NO_COLOR", colour)
                .env("HF_HOME", room.path("hub"))
                .env_remove("HF_HUB_CACHE");
            let shown = pty::run_on_both(&command, width);
            assert_eq!(torn(&shown), [""; 0], "{args} at {width}");
        }
    }
}

#[test]
fn interrupted_run_removes_the_bar() {
    let (room, server) = (room(), slow_server());
    let shown = pty::run_while(&extract(&room, &server, ""), 80, |process| {
        server.wait_for_requests(2);
        thread::sleep(Duration::from_millis(200));
        let sent = std::process::Command::new("kill")
            .args(["-INT", process])
            .status();
        assert!(sent.unwrap().success());
    });
    assert_eq!(shown.code, Some(130), "{:#?}", shown.lines);
    assert_whole(&shown, 80);
    assert_eq!(
        shown.lines.last().unwrap(),
        "interrupted; run the same command again to resume"
    );
    let heard = "interrupted: finishing the pages in hand (1); press Ctrl-C again to stop now";
    assert!(
        shown.lines.iter().any(|line| line == heard),
        "{:#?}",
        shown.lines
    );
}

#[test]
fn resumed_bar_starts_where_it_stands() {
    let (room, server) = (room(), slow_server());
    pty::run(&extract(&room, &server, ""), 80);
    let records = room.read("r.jsonl");
    let kept: String = records.split_inclusive('\n').take(4).collect();
    room.put("r.jsonl", kept);
    let shown = pty::run(&extract(&room, &server, ""), 100);
    assert_whole(&shown, 100);
    let reading = shown
        .statuses
        .iter()
        .find(|line| line.contains(" pages · "));
    let reading = reading.unwrap_or_else(|| panic!("{:#?}", shown.statuses));
    assert!(reading.contains(" 4/6+ pages · "), "{reading}");
    assert!(shown.lines[1].starts_with("resuming r.jsonl, which has 4 pages"));
}

#[test]
fn status_that_is_asked_for_is_a_whole_line_above_the_bar() {
    let (room, server) = (room(), slow_server());
    let shown = pty::run_while(&extract(&room, &server, ""), 100, |process| {
        server.wait_for_requests(2);
        thread::sleep(Duration::from_millis(150));
        let sent = std::process::Command::new("kill")
            .args(["-USR1", process])
            .status();
        assert!(sent.unwrap().success());
    });
    let line = &shown.lines[1];
    assert!(
        line.contains("% · 1/3+ pages · 0/3 documents · ")
            && line.ends_with(" left · in/first document.pdf"),
        "{:#?}",
        shown.lines
    );
    assert!(shown.statuses.len() > 2, "{:#?}", shown.statuses);
}

#[test]
fn records_that_are_piped_on_leave_no_room_for_a_bar() {
    let (room, server) = (room(), slow_server());
    let program = extract(&room, &server, "");
    let words = program.get_args().map(|word| word.to_str().unwrap());
    let words: Vec<_> = words
        .filter(|word| !["-o", "r.jsonl"].contains(word))
        .collect();
    let line = format!(
        "{} {} | cat",
        env!("CARGO_BIN_EXE_omnidocs"),
        words.join(" ")
    );
    let mut piped = assert_cmd::Command::new("sh");
    piped.args(["-c", &line]).current_dir(room.path(""));
    let shown = pty::run(&piped, 100);
    assert_eq!(shown.statuses, [""; 0]);
    assert!(
        shown.lines[0].contains("→ the standard output"),
        "{:#?}",
        shown.lines
    );
}

#[test]
fn no_color_keeps_the_bar_and_dumb_terminals_have_none() {
    let (room, server) = (room(), slow_server());
    let shown = pty::run(&extract(&room, &server, ""), 80);
    assert!(has(&shown.raw, "\x1b[1;31m"), "failures are red");
    let shown = pty::run(
        extract(&room, &server, "--restart").env("NO_COLOR", "1"),
        80,
    );
    assert!(!has(&shown.raw, "m\x1b[") && !has(&shown.raw, "\x1b[1;31m"));
    assert!(!shown.statuses.is_empty());
    let shown = pty::run(&extract(&room, &server, "--restart --progress off"), 80);
    assert_eq!(shown.statuses, [""; 0]);
}

#[test]
fn escape_sequences_in_names_never_reach_the_terminal() {
    let room = Room::new();
    let name = "\u{1b}[2Jevil\u{202e}\u{9b}31m\r\n.pdf";
    room.put(&format!("in/{name}"), "nothing")
        .put("in/good\u{1b}]0;title\u{7}.pdf", pdf(&["good"]));
    for args in ["", "-v", "-vv", "-q", "--restart", "--dry-run"] {
        let shown = pty::run(&room.text_layer(&format!("in -o r.jsonl {args}")), 140);
        let text = String::from_utf8(shown.raw.clone()).unwrap();
        for forbidden in ["\u{1b}[2J", "\u{1b}]0", "\u{7}", "\u{202e}", "\u{9b}"] {
            assert!(!text.contains(forbidden), "{args}: {text:?}");
        }
        if args.is_empty() {
            let line = shown.lines.join("");
            assert!(
                line.contains(r"in/\u{1b}[2Jevil\u{202e}\u{9b}31m\r\n.pdf"),
                "{line}"
            );
        }
    }
    let records = room.records("r.jsonl");
    assert!(
        records
            .iter()
            .any(|record| record.path == format!("in/{name}")),
        "data stay as they are"
    );
    let shown = pty::run(&room.text_layer("nothing\u{1b}[2J.pdf"), 140);
    assert!(!has(&shown.raw, "\x1b[2J"));
    assert!(
        shown.lines[0].contains(r"nothing\u{1b}[2J.pdf"),
        "{:#?}",
        shown.lines
    );
    let shown = pty::run(&room.text_layer("--\u{1b}[2J.pdf"), 140);
    assert!(!has(&shown.raw, "\x1b[2J"), "{:#?}", shown.lines);
    assert!(shown.lines[0].starts_with("error: "), "{:#?}", shown.lines);
}

fn has(bytes: &[u8], what: &str) -> bool {
    bytes
        .windows(what.len())
        .any(|window| window == what.as_bytes())
}
