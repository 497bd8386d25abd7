//! The exit codes, and the one place where an error that ends the program is shown.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::Error;

/// How the program ends, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Every page was read.
    Ok = 0,
    /// Nothing more could be done.
    Fatal = 1,
    /// The command line or the environment can't be meant as given.
    Usage = 2,
    /// The run finished, and some pages failed.
    SomeFailed = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
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

/// Shows the error that ends the program, with its causes, and says with which code.
#[must_use]
pub fn report(error: &Error) -> Exit {
    let stderr = io::stderr();
    let coloured =
        stderr.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let label = if coloured {
        "\x1b[1;31merror:\x1b[0m"
    } else {
        "error:"
    };
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(stderr.lock(), "{label} {error:#}");
    if error.is::<UsageError>() {
        let _ = writeln!(stderr.lock(), "\nFor more information, try '--help'.");
        return Exit::Usage;
    }
    Exit::Fatal
}
