//! The terminal behind the standard error: one line that changes, and messages above it.
//!
//! A message is one write, so that no line is torn. A failed write is ignored: the work goes on without a reader.

mod lines;
mod objects;
mod shown;
mod stream;

use std::{
    borrow::Cow,
    env,
    fmt::Display,
    io::{self, ErrorKind, IsTerminal, Write as _},
    sync::{LazyLock, Mutex, PoisonError},
    time::SystemTime,
};

use chrono::SecondsFormat;
use console::Term;

use self::stream::write_once;
pub use self::{
    lines::{Lines, wrap_line},
    objects::{has_summary, print_object, speak_in_objects, speaks_in_objects},
    shown::{Colour, paint, printable, printable_path},
    stream::timestamp,
};

/// Back to the start of the line, and all that is on it away.
const CLEAR_LINE: &str = "\r\x1b[K";
/// Columns of a terminal that doesn't say how many it has.
const USUAL_WIDTH: usize = 80;

/// The current status line; empty for none.
static STATUS: Mutex<String> = Mutex::new(String::new());
static IS_TERMINAL: LazyLock<bool> = LazyLock::new(|| io::stderr().is_terminal());

/// Whether the standard error is a terminal.
#[must_use]
pub fn is_terminal() -> bool {
    *IS_TERMINAL
}

/// Whether a line on the standard error can be drawn over.
#[must_use]
pub fn can_redraw() -> bool {
    // On Windows, asking for colours is also what switches escape sequences on.
    is_terminal() && !is_dumb() && (cfg!(unix) || Term::stderr().features().colors_supported())
}

/// Columns of the terminal.
#[must_use]
pub fn width() -> usize {
    Term::stderr()
        .size_checked()
        .map_or(USUAL_WIDTH, |(_, columns)| usize::from(columns))
        .max(1)
}

/// Columns of the terminal that stdout is; none if it is no terminal.
#[must_use]
pub fn stdout_width() -> Option<usize> {
    let columns = || Term::stdout().size_checked();
    let known = || columns().map_or(USUAL_WIDTH, |(_, columns)| usize::from(columns));
    io::stdout().is_terminal().then(known)
}

/// Whether text on stdout may be coloured: on a terminal, unless `NO_COLOR` is set.
#[must_use]
pub fn stdout_has_colours() -> bool {
    let may = !is_dumb() && wants_colours();
    may && io::stdout().is_terminal()
        && (cfg!(unix) || Term::stdout().features().colors_supported())
}

/// Whether stdout may end up on the same terminal: it is one, or a pipe to a program that shows its input.
#[must_use]
pub fn stdout_may_be_shown() -> bool {
    let stdout = io::stdout();
    #[cfg(unix)]
    let is_pipe = rustix::fs::fstat(&stdout).is_ok_and(|file| {
        rustix::fs::FileType::from_raw_mode(file.st_mode) == rustix::fs::FileType::Fifo
    });
    #[cfg(not(unix))]
    let is_pipe = false;
    stdout.is_terminal() || is_pipe
}

/// Whether text on the standard error may be coloured: on a terminal, unless `NO_COLOR` is set.
#[must_use]
pub fn has_colours() -> bool {
    can_redraw() && wants_colours()
}

fn is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|term| term == "dumb")
}

fn wants_colours() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints one line, made [`printable`], wrapped on a terminal.
pub fn print_line(text: impl Display) {
    print(&wrapped(&printable(&text.to_string())));
}

/// Prints one line of [`Lines`].
pub fn print_labelled(label: &'static str, text: impl Display) {
    let mut lines = Lines::default();
    lines.add(label, text.to_string());
    print(&lines.render(is_terminal().then(width), has_colours()));
}

/// One line as it is shown on the standard error.
#[must_use]
pub fn wrapped(text: &str) -> Cow<'_, str> {
    if is_terminal() && !speaks_in_objects() {
        wrap_line(text, width())
    } else {
        text.into()
    }
}

/// Prints one line of the log, made [`printable`]: with the time, unless a person reads along.
pub fn log_line(text: impl Display) {
    log(&printable(&text.to_string()));
}

/// Like [`log_line`], for text that is printable but for its colours.
pub fn log(text: &str) {
    if is_terminal() || speaks_in_objects() {
        print(&wrapped(text));
    } else {
        let now = timestamp(SystemTime::now(), SecondsFormat::Secs);
        print(&format!("{now} {text}"));
    }
}

/// Prints lines that are printable but for their colours and ends; a last end is not needed.
pub fn print(lines: &str) {
    let lines = lines.trim_end_matches('\n');
    if speaks_in_objects() {
        return objects::print_message(lines);
    }
    let status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if status.is_empty() {
        write_once(&format!("{lines}\n"));
    } else {
        write_once(&format!("{CLEAR_LINE}{lines}\n{status}"));
    }
}

/// Redraws the status line, which must be printable except for its colours, and narrower than the terminal.
pub fn set_status(line: &str) {
    if speaks_in_objects() {
        return;
    }
    let mut status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if *status != line {
        line.clone_into(&mut status);
        write_once(&format!("{CLEAR_LINE}{line}"));
    }
}

/// Takes the status line away.
pub fn clear_status() {
    set_status("");
}

/// Writes data to stdout. A reader that has seen enough, such as `head`, is no error.
///
/// # Errors
/// Stdout can't be written to.
pub fn write_data(data: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(data).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}
