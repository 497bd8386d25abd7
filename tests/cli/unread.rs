//! A standard error that is closed, full or read by nobody changes nothing about the work.

use std::{
    fs::File,
    process::{Command, Stdio},
};

use crate::common::{Room, pdf};

const PAGES: usize = 60;

/// How the standard error takes no words.
#[derive(Debug, Clone, Copy)]
enum Broken {
    Closed,
    Full,
    Unread,
}

/// Runs `omnidocs ARGS…` so; its exit code.
fn run(room: &Room, args: &str, broken: Broken) -> Option<i32> {
    let command = room.omnidocs("");
    let program = command.get_program().to_owned();
    let mut shell = Command::new("sh");
    let close = match broken {
        Broken::Closed => "2>&-",
        Broken::Full | Broken::Unread => "",
    };
    shell
        .args(["-c", &format!("exec \"$0\" {args} {close}")])
        .arg(program)
        .current_dir(room.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for (name, value) in command.get_envs() {
        if value.is_none() {
            shell.env_remove(name);
        }
    }
    match broken {
        Broken::Closed => {}
        Broken::Full => {
            let full = File::options().write(true).open("/dev/full").unwrap();
            shell.stderr(full);
        }
        Broken::Unread => {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            shell.stderr(writer);
        }
    }
    shell.status().unwrap().code()
}

const BROKEN: [Broken; 3] = [Broken::Closed, Broken::Full, Broken::Unread];
const VERBOSITIES: [&str; 4] = ["-q", "", "-v", "-vv"];

#[test]
fn closed_or_full_stderr_loses_no_page() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["page"; PAGES]))
        // The log has a line for each of these.
        .put("in/b.pdf", pdf(&["page"; PAGES]))
        .put("in/c.pdf", pdf(&["page"; PAGES]))
        .put("in/d.pdf", pdf(&["another"; 3]))
        .put("in/e.pdf", "no PDF");
    for broken in BROKEN {
        for verbosity in VERBOSITIES {
            let args = format!("extract in -o r.jsonl --engine text-layer --restart {verbosity}");
            assert_eq!(run(&room, &args, broken), Some(3), "{broken:?} {verbosity}");
            let pages = room.records("r.jsonl").len();
            assert_eq!(pages, 3 * PAGES + 4, "{broken:?} {verbosity}");
        }
        let args = "merge r.jsonl -o merged.jsonl --force";
        assert_eq!(run(&room, args, broken), Some(0), "{broken:?}");
        assert_eq!(room.records("merged.jsonl").len(), 3 * PAGES + 4);
        assert_eq!(run(&room, "merge gone.jsonl -o x.jsonl", broken), Some(1));
        let unknown = "extract in --no-such-option";
        assert_eq!(run(&room, unknown, broken), Some(2));
        assert_eq!(run(&room, "extract in --workers 0", broken), Some(2));
    }
}

#[test]
fn closed_stderr_does_not_stop_the_model() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one", "two"]));
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reader");
    for broken in BROKEN {
        let args = format!(
            "extract in -o r.jsonl --restart -vv --model {model} --max-pixels 60000 --device cpu:2"
        );
        assert_eq!(run(&room, &args, broken), Some(0), "{broken:?}");
        assert_eq!(room.records("r.jsonl").len(), 2, "{broken:?}");
    }
}
