//! A terminal for the program to write to, and what a person would see on it.

use std::{
    fs,
    io::Read,
    num::NonZero,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// More than any test writes, so that nothing is scrolled away.
const ROWS: u16 = 300;
/// What the program begins each drawing of its status line with.
const CLEAR_LINE: &[u8] = b"\r\x1b[K";

/// What a program has shown.
pub struct Shown {
    pub code: Option<i32>,
    /// The lines on the screen at the end, without what is blank on the right.
    pub lines: Vec<String>,
    /// The line that the cursor was in each time when it was about to be cleared: the status lines, as they were.
    pub statuses: Vec<String>,
    /// The lines that the terminal broke, since they were too long for it; each one whole.
    pub broken: Vec<String>,
    /// Each byte.
    pub raw: Vec<u8>,
}

/// Runs a program whose standard error is a terminal of so many columns.
pub fn run(command: &assert_cmd::Command, columns: u16) -> Shown {
    run_while(command, columns, |_| {})
}

/// The same, where the standard output is that terminal too.
pub fn run_on_both(command: &assert_cmd::Command, columns: u16) -> Shown {
    run_as(command, columns, "exec </dev/null", |_| {})
}

/// As [`run`], and does something meanwhile with the number of the program's process.
pub fn run_while(
    command: &assert_cmd::Command,
    columns: u16,
    meanwhile: impl FnOnce(&str),
) -> Shown {
    run_as(command, columns, "exec </dev/null >/dev/null", meanwhile)
}

fn run_as(
    command: &assert_cmd::Command,
    columns: u16,
    exec: &str,
    meanwhile: impl FnOnce(&str),
) -> Shown {
    let folder = tempfile::tempdir().expect("a folder");
    let number = folder.path().join("pid");
    // `script` (util-linux) makes the terminal; a shell there gives it its size and becomes the program.
    let mut words = vec![
        format!("stty rows {ROWS} cols {columns};"),
        format!("echo $$ > {};", number.display()),
        exec.to_owned(),
    ];
    let program = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    words.extend(program.map(|word| {
        let word = word.to_str().expect("text");
        format!("'{}'", word.replace('\'', r"'\''"))
    }));
    let mut script = Command::new("script");
    script
        .args(["-q", "-e", "-c", &words.join(" "), "/dev/null"])
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm-256color");
    if let Some(folder) = command.get_current_dir() {
        script.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("script, of util-linux");
    let mut screen = child.stdout.take().expect("what is on the screen");
    let reader = thread::spawn(move || {
        let mut raw = Vec::new();
        screen.read_to_end(&mut raw).expect("all that it wrote");
        raw
    });
    let number = (0..1000).find_map(|_| {
        thread::sleep(Duration::from_millis(20));
        fs::read_to_string(&number)
            .ok()
            .filter(|text| text.ends_with('\n'))
    });
    meanwhile(number.expect("the program starts").trim());
    // Its input stays open until now: at its end, `script` would type Ctrl-D.
    let (stdin, status) = (child.stdin.take(), child.wait().expect("its end"));
    drop(stdin);
    let raw = reader.join().expect("what it wrote");
    replay(raw, columns, status.code())
}

fn replay(raw: Vec<u8>, columns: u16, code: Option<i32>) -> Shown {
    let size = |cells: u16| NonZero::new(cells).expect("some");
    let mut screen = vt100::Parser::new(size(ROWS), size(columns), 0);
    let (mut statuses, mut at) = (Vec::new(), 0);
    while let Some(next) = find(&raw[at..], CLEAR_LINE) {
        screen.process(&raw[at..at + next]);
        let row = screen.screen().cursor_position().0;
        let line = screen.screen().rows(0, columns).nth(row.into());
        statuses.push(line.expect("a row").trim_end().to_owned());
        screen.process(CLEAR_LINE);
        at += next + CLEAR_LINE.len();
    }
    screen.process(&raw[at..]);
    let (mut broken, mut is_broken) = (Vec::<String>::new(), false);
    for (line, row) in screen.screen().rows(0, columns).zip(0..) {
        let goes_on = screen.screen().row_wrapped(row);
        match broken.last_mut() {
            Some(last) if is_broken => last.push_str(&line),
            _ if goes_on => broken.push(line),
            _ => {}
        }
        is_broken = goes_on;
    }
    let lines = screen.screen().rows(0, columns);
    let mut lines: Vec<_> = lines.map(|line| line.trim_end().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    statuses.retain(|line| !line.is_empty());
    Shown {
        code,
        lines,
        statuses,
        broken,
        raw,
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
