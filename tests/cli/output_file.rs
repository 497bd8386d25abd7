//! The output as a file among others: links, locks, and what other programs do to it.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room, pdf, spawn},
};

const OUT: &str = "out.jsonl";

#[cfg(unix)]
fn is_link(room: &Room, name: &str) -> bool {
    fs::symlink_metadata(room.path(name)).is_ok_and(|data| data.is_symlink())
}

fn names_in(room: &Room, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(room.path(folder)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn output_link_is_followed_and_stays_a_link() {
    use std::os::unix::fs::symlink;

    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one", "two"])).put("far/x", "");
    fs::remove_file(room.path("far/x")).unwrap();
    symlink("far/real.jsonl", room.path(OUT)).unwrap();
    // Nothing is there yet.
    room.extract("in -o out.jsonl").expect(0);
    assert!(is_link(&room, OUT));
    let first = room.read("far/real.jsonl");
    assert_eq!(first.lines().count(), 2);
    // By either name it is the same output.
    for name in [OUT, "far/real.jsonl"] {
        let ran = room.extract(&format!("in -o {name}")).expect(0);
        assert!(ran.stderr.contains("before    2 pages"), "{}", ran.stderr);
        let merged = Ran::of(&mut room.omnidocs(&format!("merge {name}"))).expect(0);
        assert_eq!(merged.stdout, first);
    }
    room.extract("in -o out.jsonl --restart").expect(0);
    assert!(is_link(&room, OUT));
    assert_eq!(room.read("far/real.jsonl.bak"), first);
    assert_eq!(room.records("far/real.jsonl").len(), 2);

    symlink("far/all.jsonl", room.path("all.jsonl")).unwrap();
    let merge =
        |args: &str| Ran::of(&mut room.omnidocs(&format!("merge out.jsonl -o all.jsonl {args}")));
    merge("").expect(0);
    merge("").expect(2);
    merge("--force").expect(0);
    assert!(is_link(&room, "all.jsonl"));
    assert_eq!(room.records("far/all.jsonl").len(), 2);
    assert_eq!(
        names_in(&room, "."),
        ["all.jsonl", "far", "in", "out.jsonl"]
    );
    symlink("nowhere/out.jsonl", room.path("lost.jsonl")).unwrap();
    let ran = room.extract("in -o lost.jsonl").expect(1);
    assert!(ran.stderr.contains("does not exist"), "{}", ran.stderr);
}

/// A run over pages that take their time, whose output is changed when some records are there.
#[cfg(unix)]
fn changed_meanwhile(change: impl FnOnce(&Room)) -> (Room, Ran) {
    let server = ChatServer::with(Duration::from_millis(120), |_, _| Reply::Text);
    let room = Room::new();
    let texts: Vec<String> = (0..40).map(|page| format!("page {page}")).collect();
    room.put(
        "in.pdf",
        pdf(&texts.iter().map(String::as_str).collect::<Vec<_>>()),
    );
    let url = server.url();
    let child = spawn(&mut room.omnidocs(&format!(
        "extract in.pdf -o out.jsonl --engine server --server-url {url} --concurrency 1 --max-pixels 30000 --min-pixels 1024"
    )));
    let begun = Instant::now();
    while fs::read_to_string(room.path(OUT)).map_or(0, |text| text.lines().count()) < 3 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "nothing is written"
        );
        thread::sleep(Duration::from_millis(5));
    }
    change(&room);
    let ran = Ran::end_of(child).expect(1);
    // Noticed at the next sync, and not after all pages.
    assert!(server.requests().len() < 40, "{}", server.requests().len());
    (room, ran)
}

#[cfg(unix)]
#[test]
fn output_changed_by_others_ends_the_run() {
    let (room, ran) = changed_meanwhile(|room| fs::remove_file(room.path(OUT)).unwrap());
    assert!(
        ran.stderr.contains("out.jsonl was removed"),
        "{}",
        ran.stderr
    );
    assert!(!room.path(OUT).exists());

    let (room, ran) = changed_meanwhile(|room| {
        fs::rename(room.path(OUT), room.path("out.jsonl.1")).unwrap();
        room.put(OUT, "")
            .put("out.jsonl.meta.json", "of another run");
    });
    assert!(
        ran.stderr
            .contains("out.jsonl was replaced by another file"),
        "{}",
        ran.stderr
    );
    assert_eq!(room.read("out.jsonl.meta.json"), "of another run");
    assert_eq!(room.read(OUT), "");
    assert!(room.records("out.jsonl.1").len() >= 3);

    let (room, ran) = changed_meanwhile(|room| {
        room.put(OUT, "");
    });
    assert!(
        ran.stderr
            .contains("out.jsonl was changed by another program"),
        "{}",
        ran.stderr
    );
    assert!(!room.read("out.jsonl.meta.json").contains("\"finished\": 1"));
}

#[test]
fn lock_file_refuses_a_second_run_and_is_removed() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one"]));
    let run = |args: &str| room.extract(&format!("in -o out.jsonl {args}"));
    run("--lock file").expect(0);
    assert!(!room.path("out.jsonl.lock").exists());
    room.put("out.jsonl.lock", "{\"host\":\"another-host\",\"pid\":7}");
    for args in ["--lock file", "", "--restart --lock file"] {
        let ran = run(args).expect(11);
        for words in [
            "another omnidocs is writing to out.jsonl",
            "process 7 on another-host",
            "out.jsonl.lock",
        ] {
            assert!(ran.stderr.contains(words), "{}", ran.stderr);
        }
    }
    Ran::of(&mut room.omnidocs("merge out.jsonl")).expect(11);
    assert!(room.path("out.jsonl.lock").exists());
    fs::remove_file(room.path("out.jsonl.lock")).unwrap();
    run("--restart --lock file").expect(0);
    assert_eq!(
        names_in(&room, "."),
        [
            "in",
            "out.jsonl",
            "out.jsonl.bak",
            "out.jsonl.bak.meta.json",
            "out.jsonl.hashes",
            "out.jsonl.meta.json"
        ]
    );
}

#[cfg(target_os = "linux")]
#[test]
fn stale_lock_file_is_replaced() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one"]));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let held = format!("{{\"host\":\"{}\",\"pid\":{}}}", host.trim(), gone.id());
    room.put("out.jsonl.lock", held);
    room.extract("in -o out.jsonl --lock file").expect(0);
    assert!(!room.path("out.jsonl.lock").exists());
}

#[cfg(unix)]
#[test]
fn interrupted_merge_leaves_no_temporary_file() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one"]));
    room.extract("in -o out.jsonl").expect(0);
    let line = room.read(OUT);
    let id = room.records(OUT)[0].doc_id.clone().unwrap();
    let lines: String = (0..150_000_u64)
        .map(|number| {
            line.replace(
                &id,
                &format!(
                    "{:016x}{number:048x}",
                    number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
                ),
            )
        })
        .collect();
    room.put("out/out.jsonl", lines);
    fs::copy(
        room.path("out.jsonl.meta.json"),
        room.path("out/out.jsonl.meta.json"),
    )
    .unwrap();
    let is_temporary = |name: &String| name.starts_with(".tmp");
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let child = spawn(&mut room.omnidocs("merge out/out.jsonl -o out/all.jsonl --force"));
        let begun = Instant::now();
        while !names_in(&room, "out").iter().any(is_temporary) {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "nothing is written"
            );
        }
        let kill = format!("kill -{signal} {}", child.id());
        std::process::Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap();
        let ran = Ran::end_of(child);
        assert!(
            matches!(ran.code, Some(0)) || ran.code == Some(code),
            "{ran:?}"
        );
        assert_eq!(
            names_in(&room, "out")
                .iter()
                .find(|name| is_temporary(name)),
            None
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn unwritable_folder_of_the_output_is_named() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one"]))
        .put("shut/out.jsonl", "");
    let command = room.text_layer("in -o shut/out.jsonl");
    let args: Vec<_> = command
        .get_args()
        .map(|arg| arg.to_str().unwrap())
        .collect();
    // Root may write everywhere but on a file system that is mounted to be read.
    let script = format!(
        "mkdir disk && mount -t tmpfs tmpfs disk && mkdir disk/shut || exit 99
         mount -t tmpfs tmpfs shut && touch out.file shut/out.jsonl && mount --bind out.file shut/out.jsonl &&
         mount -o remount,ro,bind shut || exit 99
         {} {}; echo \"exit $?\" >&2",
        command.get_program().to_str().unwrap(),
        args.join(" ")
    );
    let mut shell = assert_cmd::Command::new("unshare");
    shell.args(["-rm", "sh", "-c", &script]);
    let ran = Ran::of(shell.current_dir(room.path("")));
    if ran.code != Some(0) && !ran.stderr.contains("exit") {
        println!("skipped: nothing can be mounted here: {}", ran.stderr);
        return;
    }
    for words in [
        "cannot write shut/out.jsonl.meta.json; make the folder shut writable",
        "exit 1",
    ] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}
