//! The `omnidocs` program.

use std::process::ExitCode;

use clap::Parser;
use omnidocs::{cli::Cli, commands, exit};

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error).into(),
    }
}
