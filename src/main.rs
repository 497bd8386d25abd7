//! The `omnidocs` program.

#![deny(clippy::print_stderr, clippy::print_stdout)]

use std::process::ExitCode;

use omnidocs::{cli::environment, commands, exit, nn::alloc::Keeping};

#[global_allocator]
static ALLOCATOR: Keeping = Keeping;

fn main() -> ExitCode {
    let ended = commands::run(environment::parse());
    let exit = ended.unwrap_or_else(|error| {
        let exit = commands::exit_of(&error);
        exit::report(&error, exit);
        exit
    });
    exit.into()
}
