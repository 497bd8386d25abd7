//! The subcommands, one file each.

mod completions;
mod dry_run;
mod engine_spec;
mod export;
mod extract;
mod man;
mod merge;
mod show;
mod status;

use anyhow::{Error, Result};

use crate::{
    cli::{Cli, Command},
    exit::{Exit, UsageError},
    journal::{Locked, SettingsDiffer, SettingsDisagree},
    prepare::worker,
};

/// Runs the subcommand. An `Err` ends the program: see [`exit_of`] and [`crate::exit::report`].
pub fn run(cli: Cli) -> Result<Exit> {
    match cli.command {
        Command::Extract(typed) => extract::run(*typed),
        Command::Merge(typed) => merge::run(&typed),
        Command::Status(typed) => status::run(&typed),
        Command::Show(typed) => show::run(&typed),
        Command::Export(typed) => export::run(&typed),
        Command::Completions { shell } => completions::run(shell),
        Command::Man(typed) => man::run(&typed),
        Command::PrepareWorker => worker::serve().map(|()| Exit::Ok),
    }
}

/// The exit code for an error.
#[must_use]
pub fn exit_of(error: &Error) -> Exit {
    if error.is::<UsageError>() {
        Exit::Usage
    } else if error.is::<SettingsDiffer>() || error.is::<SettingsDisagree>() {
        Exit::SettingsDiffer
    } else if error.is::<Locked>() {
        Exit::Locked
    } else {
        Exit::Fatal
    }
}
