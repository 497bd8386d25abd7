//! The exit codes, and the report of a fatal error.

use std::{fmt::Display, process::ExitCode};

use anyhow::Error;
use serde::Serialize;

use crate::{
    limits,
    terminal::{self, Colour, paint, printable},
};

/// The exit status of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every requested page was read, now or in an earlier run.
    Ok,
    /// A fatal error.
    Fatal,
    /// A usage error in the command line or environment.
    Usage,
    /// The run finished; some requested pages failed, now or in an earlier run.
    SomeFailed,
    /// The output was written with other settings.
    SettingsDiffer,
    /// Another run is writing to the output.
    Locked,
    /// This signal interrupted the run.
    Interrupted(u8),
}

impl Exit {
    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Fatal => 1,
            Self::Usage => 2,
            Self::SomeFailed => 3,
            Self::SettingsDiffer => 10,
            Self::Locked => 11,
            Self::Interrupted(signal) => 128 + signal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A usage error that parsing does not catch; the message names the flag and a valid value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(pub String);

impl Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The last object where there is no summary of a run.
#[derive(Serialize)]
struct Ended<'a> {
    exit_code: u8,
    error: Option<&'a str>,
}

/// Prints the last object of `--progress json`, unless it is printed.
pub fn end_objects(exit: Exit, error: Option<&str>) {
    if terminal::speaks_in_objects() && !terminal::has_summary() {
        let exit_code = exit.code();
        terminal::print_object("summary", &Ended { exit_code, error });
    }
}

/// Reports the error that ends the program with `exit`, with its causes.
pub fn report(error: &Error, exit: Exit) {
    let label = paint("error:", Colour::Red, terminal::has_colours());
    let advice = limits::advice(error).map(|advice| format!(" ({advice})"));
    let error = format!("{error:#}{}", advice.unwrap_or_default());
    if terminal::speaks_in_objects() {
        return end_objects(exit, Some(&error));
    }
    let hint = if exit == Exit::Usage {
        "\n\nFor more information, try '--help'."
    } else {
        ""
    };
    // Settings that differ are a list, one a line; elsewhere a newline is part of a name.
    let shown = match exit {
        Exit::SettingsDiffer => error.lines().map(printable).collect::<Vec<_>>().join("\n"),
        _ => printable(&error).into_owned(),
    };
    let text = format!("{label} {shown}");
    let lines: Vec<_> = text.lines().map(terminal::wrapped).collect();
    terminal::print(&(lines.join("\n") + hint));
}
