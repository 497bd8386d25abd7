//! How a run is stopped from outside: as the first process of a container, by a shell, by a batch system, and in a pause.

use std::{
    fs,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use crate::{
    common::{Ran, Room, spawn},
    pty,
    tesseract::{extract, room_with},
};

fn signal(name: &str, process: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}").as_str(), "--", process])
        .status();
    assert!(sent.unwrap().success());
}

/// Waits until `ready`, for ten seconds at most.
#[track_caller]
fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !ready() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A run that waits for its list, which never comes.
fn listing_forever(room: &Room) -> assert_cmd::Command {
    let made = Command::new("mkfifo").arg(room.path("list")).status();
    assert!(made.unwrap().success());
    room.text_layer("--files-from list -o out.jsonl")
}

#[test]
fn first_process_of_a_container_ends_while_listing() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let room = Room::new();
        let command = listing_forever(&room);
        let mut unshare = assert_cmd::Command::new("unshare");
        unshare
            .args(["-rpf", "--kill-child"])
            .arg(command.get_program())
            .args(command.get_args());
        unshare.current_dir(room.path(""));
        let mut child = spawn(&mut unshare);
        let mut first = None;
        wait_until("it waits for its list, or there is no container", || {
            let children = format!("/proc/{0}/task/{0}/children", child.id());
            let children = fs::read_to_string(children).unwrap_or_default();
            first = children.split_whitespace().next().map(str::to_owned);
            let waits = first.as_ref().is_some_and(|process| is_waiting(process));
            waits || child.try_wait().unwrap().is_some()
        });
        let Some(process) = first.filter(|_| child.try_wait().unwrap().is_none()) else {
            println!("skipped: no container can be made here");
            return;
        };
        signal(name, &process);
        let ran = Ran::end_of(child);
        assert_eq!(ran.code, Some(code), "{ran:#?}");
    }
}

#[test]
fn abort_for_lack_of_memory_ends_with_a_sentence_and_exit_1() {
    let room = Room::new();
    let mut child = spawn(&mut listing_forever(&room));
    let process = child.id().to_string();
    wait_until("it waits for its list", || {
        is_waiting(&process) || child.try_wait().unwrap().is_some()
    });
    // As the standard library ends a program whose memory can't be had.
    signal("ABRT", &process);
    let ran = Ran::end_of(child);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.stderr.contains("lack of memory"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--batch-size"), "{}", ran.stderr);
}

/// Whether a process handles SIGTERM and one of its threads waits to open a pipe.
fn is_waiting(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << 14) != 0)
}

#[test]
fn ignored_interrupt_stays_ignored() {
    let room = Room::new();
    let command = listing_forever(&room);
    let mut shell = assert_cmd::Command::new("sh");
    let words: Vec<_> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .collect();
    let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
    shell.args(["-c", &format!("trap '' INT; exec {}", words.join(" "))]);
    let mut child = spawn(shell.current_dir(room.path("")));
    let process = child.id().to_string();
    wait_until("it handles signals", || is_waiting(&process));
    signal("INT", &process);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(child.try_wait().unwrap(), None, "it goes on");
    signal("TERM", &process);
    assert_eq!(Ran::end_of(child).code, Some(143));
}

/// The process that the script of `tesseract` says that it is.
fn started(room: &Room) -> String {
    let read = || fs::read_to_string(room.path("pid")).unwrap_or_default();
    wait_until("tesseract starts", || read().ends_with('\n'));
    read().trim().to_owned()
}

fn reading(room: &Room, args: &str) -> Child {
    spawn(&mut extract(
        room,
        &format!("a.png --engine tesseract -o out.jsonl {args}"),
    ))
}

#[test]
fn tesseract_ends_with_the_program_however_that_ends() {
    for name in ["KILL", "ABRT"] {
        // It needs neither its input nor its output.
        let room = room_with("echo $$ > pid; exec sleep 60");
        let mut child = reading(&room, "");
        let process = started(&room);
        signal(name, &child.id().to_string());
        child.wait().unwrap();
        wait_until("tesseract is left", || {
            !fs::exists(format!("/proc/{process}/fd/0")).unwrap()
        });
    }
}

/// Takes ten seconds, so it runs with `OMNIDOCS_LONG_TESTS` alone.
#[test]
fn pause_of_the_program_is_not_a_pages_time() {
    if std::env::var_os("OMNIDOCS_LONG_TESTS").is_none() {
        return;
    }
    let script = "echo $$ > pid; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; done; echo text";
    let room = room_with(script);
    let child = reading(&room, "--page-timeout 5 --retries 0");
    let tesseract = format!("-{}", started(&room));
    thread::sleep(Duration::from_millis(500));
    for process in [child.id().to_string(), tesseract.clone()] {
        signal("STOP", &process);
    }
    thread::sleep(Duration::from_secs(8));
    for process in [tesseract, child.id().to_string()] {
        signal("CONT", &process);
    }
    Ran::end_of(child).expect(0);
    let record = room.records("out.jsonl").remove(0);
    assert_eq!(record.content.as_deref(), Some("text"));
    assert!(record.timings_ms.total < 5000, "{:?}", record.timings_ms);
}

#[test]
fn second_signal_leaves_no_status_line() {
    let room = room_with("echo $$ > pid; exec sleep 60");
    let shown = pty::run_while(
        &extract(&room, "a.png --engine tesseract -o out.jsonl"),
        80,
        |process| {
            started(&room);
            thread::sleep(Duration::from_millis(400));
            signal("INT", process);
            thread::sleep(Duration::from_millis(400));
            signal("INT", process);
        },
    );
    assert_eq!(shown.code, Some(130), "{:#?}", shown.lines);
    assert!(!shown.statuses.is_empty(), "there was a bar");
    let last = shown.lines.last().unwrap();
    assert!(
        last.starts_with("interrupted: finishing the pages in hand"),
        "{:#?}",
        shown.lines
    );
}
