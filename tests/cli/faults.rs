//! What crashes, hangs or eats memory costs the page it was busy with, and nothing else.

use std::{
    fs,
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use omnidocs::{
    error::{ErrorKind, Stage},
    record::{Record, Status},
    secrets::WITHHELD,
};

use crate::common::{Ran, Room, pdf, spawn};

/// Two documents of three pages, and one of seven in between.
fn room() -> Room {
    let room = Room::new();
    let seven = ["one", "two", "three", "four", "five", "six", "seven"];
    room.put("in/a.pdf", pdf(&["a one", "a two", "a three"]))
        .put("in/b.pdf", pdf(&seven))
        .put("in/c.pdf", pdf(&["c one", "c two", "c three"]));
    room
}

/// Kind and stage of each error, by document and page.
fn errors(records: &[Record]) -> Vec<(String, ErrorKind, Stage)> {
    records
        .iter()
        .filter_map(|record| {
            let error = record.error.as_ref()?;
            let place = format!("{}:{}", record.filename, record.page);
            Some((place, error.kind, error.stage))
        })
        .collect()
}

#[test]
fn promise_7_crash_hang_and_memory_cost_one_page_each() {
    let room = room();
    let ran = Ran::of(
        room.text_layer("in --retries 1 --page-timeout 4")
            .env("OMNIDOCS_WORKER_FAULTS", "crash:4,hang:5,memory:7"),
    )
    .expect(3);
    let records = ran.records();
    assert_eq!(records.len(), 13, "neighbours arrive");
    let failed = |page: &str, kind| (page.to_owned(), kind, Stage::Prepare);
    assert_eq!(
        errors(&records),
        [
            failed("b.pdf:4", ErrorKind::Crashed),
            failed("b.pdf:5", ErrorKind::Timeout),
            failed("b.pdf:7", ErrorKind::Crashed),
        ]
    );
    let of = |page| records.iter().find(|record| record.page == page).unwrap();
    let message = |page| of(page).error.as_ref().unwrap().message.as_str();
    assert!(message(4).contains("SIGABRT"), "{}", message(4));
    assert!(message(5).contains("--page-timeout"), "{}", message(5));
    assert!(message(7).contains("memory"), "{}", message(7));
    // A crash may pass, and is tried again; a hang would only hang again.
    assert_eq!((of(4).attempts, of(5).attempts, of(6).attempts), (2, 1, 1));
}

#[test]
fn worker_crash_on_open_is_a_failed_record() {
    let room = room();
    let ran = Ran::of(
        room.text_layer("in --retries 0")
            .env("OMNIDOCS_WORKER_FAULTS", "crash:0"),
    )
    .expect(3);
    let failed = |page: &str| (page.to_owned(), ErrorKind::Crashed, Stage::Open);
    assert_eq!(
        errors(&ran.records()),
        [failed("a.pdf:0"), failed("b.pdf:0"), failed("c.pdf:0")]
    );
}

#[test]
fn surplus_worker_answer_is_not_another_pages_text() {
    let room = room();
    let ran = Ran::of(
        room.text_layer("in --retries 1 --workers 1")
            .env("OMNIDOCS_WORKER_FAULTS", "surplus:3"),
    )
    .expect(0);
    let texts: Vec<_> = ran
        .records()
        .into_iter()
        .map(|record| record.content.unwrap())
        .collect();
    let seven = ["one", "two", "three", "four", "five", "six", "seven"];
    let expected = [
        &["a one", "a two", "a three"][..],
        &seven,
        &["c one", "c two", "c three"],
    ];
    assert_eq!(texts, expected.concat());
}

#[test]
fn wrong_worker_ticket_fails_only_its_page() {
    let room = room();
    let ran = Ran::of(
        room.text_layer("in/b.pdf --retries 1")
            .env("OMNIDOCS_WORKER_FAULTS", "wrongticket:2"),
    )
    .expect(3);
    let records = ran.records();
    let failed = ("b.pdf:2".to_owned(), ErrorKind::Crashed, Stage::Prepare);
    assert_eq!((records.len(), errors(&records)), (7, vec![failed]));
    assert_eq!(records[1].attempts, 2, "it may pass, so it is tried again");
    let message = &records[1].error.as_ref().unwrap().message;
    assert!(
        message.contains("an answer to another question"),
        "{message}"
    );
}

#[cfg(target_os = "linux")]
mod processes {
    use super::*;
    use crate::common::run_and_measure;

    #[test]
    fn endless_frame_fails_its_page_without_memory() {
        let room = room();
        let (ran, most) = run_and_measure(
            room.text_layer("in/b.pdf --retries 1")
                .env("OMNIDOCS_WORKER_FAULTS", "endless:5"),
        );
        let records = ran.expect(3).records();
        let failed = ("b.pdf:5".to_owned(), ErrorKind::Crashed, Stage::Prepare);
        assert_eq!((records.len(), errors(&records)), (7, vec![failed]));
        println!("at most {most} MiB");
        assert!((1..200).contains(&most), "{most} MiB");
    }

    #[test]
    fn absurd_page_count_fails_its_document_without_memory() {
        let room = room();
        let (ran, most) = run_and_measure(
            room.text_layer("in --retries 0")
                .env("OMNIDOCS_WORKER_FAULTS", "hugecount:0"),
        );
        let failed = |page: &str| (page.to_owned(), ErrorKind::Crashed, Stage::Open);
        assert_eq!(
            errors(&ran.expect(3).records()),
            [failed("a.pdf:0"), failed("b.pdf:0"), failed("c.pdf:0")]
        );
        assert!((1..200).contains(&most), "{most} MiB");
    }

    #[test]
    fn workers_inherit_no_secrets() {
        let room = room();
        // The password file has this name.
        room.put("a secret", "password");
        let mut command = room.text_layer("in -o out.jsonl");
        command.env("OMNIDOCS_WORKER_FAULTS", "hang:5");
        for name in WITHHELD {
            command.env(name, "a secret");
        }
        let mut child = spawn(&mut command);
        let mut seen = Vec::new();
        let read = |worker: u32, what: &str| {
            let read = fs::read(format!("/proc/{worker}/{what}")).unwrap_or_default();
            String::from_utf8_lossy(&read).into_owned()
        };
        wait_until("workers", || {
            seen = workers(child.id());
            // Until then a process is this program, with its environment.
            let are_workers = |&id: &u32| read(id, "cmdline").contains("prepare-worker");
            !seen.is_empty() && seen.iter().all(are_workers)
        });
        for worker in seen {
            let environment = read(worker, "environ");
            assert!(environment.contains("OMNIDOCS_WORKER_FAULTS=hang:5"));
            assert!(!environment.contains("a secret"), "{environment}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn stopped_worker_ends_with_the_program() {
        let room = room();
        let mut child = hanging(&room);
        let hung = workers(child.id());
        // It can't hear that its input ends.
        for &worker in &hung {
            signal("STOP", worker);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("a worker is left", || {
            hung.iter()
                .all(|id| !fs::exists(format!("/proc/{id}/fd/0")).unwrap())
        });
    }

    /// The worker processes of `parent`.
    fn workers(parent: u32) -> Vec<u32> {
        let children = |process: u32| {
            let tasks = fs::read_dir(format!("/proc/{process}/task"))
                .into_iter()
                .flatten();
            tasks
                .flatten()
                .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        };
        children(parent)
            .flat_map(|list| {
                list.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .filter_map(|id| id.parse().ok())
            .collect()
    }

    fn signal(name: &str, process: u32) {
        // The process may be gone already.
        let _ = std::process::Command::new("kill")
            .args([format!("-{name}"), process.to_string()])
            .stderr(Stdio::null())
            .status();
    }

    /// Waits until `ready`, for ten seconds at most.
    #[track_caller]
    fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !ready() {
            assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn hanging(room: &Room) -> Child {
        let child = spawn(
            room.text_layer("in -o out.jsonl")
                .env("OMNIDOCS_WORKER_FAULTS", "hang:5"),
        );
        wait_until("pages before the one that hangs", || {
            fs::read_to_string(room.path("out.jsonl"))
                .is_ok_and(|records| records.lines().count() == 7)
        });
        child
    }

    #[test]
    fn killed_workers_lose_no_page() {
        let room = Room::new();
        let lines = "A line of text as long as lines are.\n".repeat(40);
        let texts: Vec<String> = (0..150).map(|page| format!("{lines}page {page}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for name in ["a", "b", "c", "d"] {
            room.put(
                &format!("in/{name}.pdf"),
                pdf(&[&texts[..], &[name]].concat()),
            );
        }
        let child = spawn(&mut room.text_layer("in -o out.jsonl --retries 20"));
        let (id, ended) = (child.id(), Arc::new(AtomicBool::new(false)));
        let (still, output) = (Arc::clone(&ended), room.path("out.jsonl"));
        let killer = thread::spawn(move || {
            let mut killed = 0;
            // Without its first worker the program does not even begin.
            let has_begun = || fs::metadata(&output).is_ok_and(|output| output.len() > 0);
            while !has_begun() && !still.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(2));
            }
            while !still.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(30));
                let workers = workers(id);
                if !workers.is_empty() {
                    let name = if killed % 2 == 0 { "KILL" } else { "SEGV" };
                    signal(name, workers[killed % workers.len()]);
                    killed += 1;
                }
            }
            killed
        });
        let ran = Ran::end_of(child);
        ended.store(true, Ordering::Relaxed);
        let killed = killer.join().unwrap();
        let ran = ran.expect(0);
        assert!(killed > 3, "{}", ran.stderr);
        let records = room.records("out.jsonl");
        assert_eq!(records.len(), 604);
        assert!(records.iter().all(|record| record.status == Status::Ok));
        assert!(records.iter().any(|record| record.attempts > 1));
    }

    #[test]
    fn hanging_worker_ends_with_the_program() {
        for how in ["KILL", "TERM", "INT"] {
            let room = room();
            let mut child = hanging(&room);
            let hung = workers(child.id());
            assert!(!hung.is_empty());
            signal(how, child.id());
            child.wait().unwrap();
            wait_until("a worker is left", || {
                hung.iter()
                    .all(|id| !fs::exists(format!("/proc/{id}/fd/0")).unwrap())
            });
        }
    }

    #[test]
    fn signal_does_not_wait_for_a_hanging_page() {
        let room = room();
        let child = hanging(&room);
        let begin = Instant::now();
        signal("TERM", child.id());
        let ran = Ran::end_of(child).expect(143);
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert!(
            ran.stderr.contains("run the same command again to resume"),
            "{}",
            ran.stderr
        );
        room.extract("in -o out.jsonl").expect(0);
        assert_eq!(room.records("out.jsonl").len(), 13);
    }
}
