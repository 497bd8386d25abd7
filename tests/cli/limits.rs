//! Machines with little to give: few processes, few open files, small files, little memory.

use std::{fs, process::Command as System};

use assert_cmd::Command;

use crate::common::{Ran, Room, pdf};

/// The same command, run by a shell that lowers its limits before.
fn limited(command: &Command, limits: &str) -> Command {
    limited_by(command, limits, "")
}

/// The same, run by another program.
fn limited_by(command: &Command, limits: &str, runner: &str) -> Command {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect::<Vec<_>>();
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        &format!("{limits} && exec {runner} {}", words.join(" ")),
    ]);
    shell.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// One sentence and exit 1, and no panic.
#[track_caller]
fn assert_sentence(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    let errors = ran.stderr.lines().filter(|line| line.contains("error: "));
    assert_eq!(errors.count(), 1, "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}

fn room(pages: usize) -> Room {
    let room = Room::new();
    let texts: Vec<String> = (0..pages).map(|page| format!("page {page}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    room.put("in/a.pdf", pdf(&texts));
    room
}

#[test]
fn many_parts_merge_where_open_files_may_be_raised() {
    let room = room(1);
    room.extract("in -o part.jsonl").expect(0);
    for part in 0..1100 {
        for end in ["jsonl", "jsonl.meta.json"] {
            fs::copy(
                room.path(format!("part.{end}")),
                room.path(format!("p{part}.{end}")),
            )
            .unwrap();
        }
    }
    let parts: Vec<_> = (0..1100).map(|part| format!("p{part}.jsonl")).collect();
    let merge = room.omnidocs(&format!("merge -o all.jsonl {}", parts.join(" ")));
    Ran::of(&mut limited(&merge, "ulimit -Sn 256")).expect(0);
    assert_eq!(room.records("all.jsonl").len(), 1);
    let merge = room.omnidocs(&format!("merge -o none.jsonl {}", parts.join(" ")));
    let ran = Ran::of(&mut limited(&merge, "ulimit -n 256"));
    assert_sentence(&ran, &["p", ".jsonl", "ulimit -n"]);
    assert!(!room.path("none.jsonl").exists());
}

#[test]
fn file_that_may_not_grow_ends_the_run_with_whole_lines() {
    let room = room(300);
    // 64 blocks of 512 bytes, which is less than the PDF library has.
    let extract = room.text_layer("in -o out.jsonl");
    let ran = Ran::of(&mut limited(&extract, "ulimit -f 64"));
    assert_sentence(&ran, &["cannot load the PDF library", "File too large"]);
    let ran = Ran::of(&mut limited(&extract, "ulimit -Sf 64"));
    assert_sentence(&ran, &["cannot write to out.jsonl", "File too large"]);
    let written = room.records("out.jsonl").len();
    assert!((10..300).contains(&written), "{written}");
    room.extract("in -o out.jsonl").expect(0);
    assert_eq!(room.records("out.jsonl").len(), 300);
    let merge = room.omnidocs("merge -o all.jsonl out.jsonl");
    let ran = Ran::of(&mut limited(&merge, "ulimit -f 64"));
    assert_sentence(&ran, &["cannot write all.jsonl"]);
    assert!(!room.path("all.jsonl").exists());
}

#[test]
fn few_open_files_are_a_sentence() {
    let room = room(3);
    for files in [4, 7, 10, 14, 20] {
        let extract = room.text_layer("in -o out.jsonl --restart");
        let ran = Ran::of(&mut limited(&extract, &format!("ulimit -n {files}")));
        match ran.code {
            Some(0 | 3) => assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr),
            // The system's loader has none for the program's libraries.
            Some(127) if ran.stderr.contains("shared librar") => {}
            _ => assert_sentence(&ran, &[]),
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn little_memory_is_a_sentence_or_enough() {
    let room = room(3);
    for megabytes in [60, 120, 240, 400, 600, 4000] {
        let extract = room.text_layer("in -o out.jsonl --restart");
        let limit = format!("ulimit -v {}", megabytes << 10);
        let ran = Ran::of(&mut limited(&extract, &limit));
        match ran.code {
            Some(0 | 3) => assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr),
            Some(127) if ran.stderr.contains("shared librar") => {}
            _ => assert_sentence(&ran, &[]),
        }
        match megabytes {
            ..512 => assert_sentence(&ran, &["ulimit -v", "needs 512 MB"]),
            4000 => assert_eq!(ran.code, Some(0), "{}", ran.stderr),
            _ => {}
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn few_processes_are_a_sentence_or_enough() {
    use std::os::unix::fs::PermissionsExt;

    let room = room(3);
    // The superuser may have any number, so another user is asked for, who has no other processes.
    let user = "setpriv --reuid=54321 --regid=54321 --clear-groups";
    let probe = System::new("sh")
        .args(["-c", &format!("{user} true")])
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("skipped: no other user can be had here");
        return;
    }
    fs::set_permissions(room.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let (mut refused, mut read) = (0, 0);
    for processes in [1, 2, 4, 6, 9, 40] {
        for engine in [
            "text-layer",
            "tesseract",
            "text-layer --workers 4 --fallback tesseract",
        ] {
            let extract = room.omnidocs(&format!(
                "extract in -o out.jsonl --restart --engine {engine}"
            ));
            let runner = format!("prlimit --nproc={processes} {user}");
            let ran = Ran::of(&mut limited_by(&extract, "true", &runner));
            match ran.code {
                Some(0 | 3) => {
                    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
                    read += 1;
                }
                _ if ran.stderr.contains("is not installed") => {}
                _ => {
                    assert_sentence(&ran, &[]);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 0 && read > 0, "{refused} refused, {read} read");
}
