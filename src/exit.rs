//! The exit codes, and the one place where an error that ends the program is shown.

use std::{fmt::Display, process::ExitCode};

use anyhow::Error;

use crate::terminal::{self, Colour, paint, printable};

/// How the program ends, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every page was read, now or before.
    Ok,
    /// Nothing more could be done.
    Fatal,
    /// The command line or the environment can't be meant as given.
    Usage,
    /// The run finished, and some pages failed.
    SomeFailed,
    /// The output was written with other settings.
    SettingsDiffer,
    /// Another run is writing to the output.
    Locked,
    /// This signal asked the run to end.
    Interrupted(u8),
}

impl Exit {
    /// The number that the system sees.
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

/// A command line that parses and still can't be meant; the message names the flag and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(pub String);

impl Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Shows the error that ends the program with `exit`, with its causes.
pub fn report(error: &Error, exit: Exit) {
    let label = paint("error:", Colour::Red, terminal::has_colours());
    let error = format!("{error:#}");
    let hint = if exit == Exit::Usage {
        "\n\nFor more information, try '--help'."
    } else {
        ""
    };
    terminal::print(&format!("{label} {}{hint}", printable(&error)));
}
