//! The subcommands, one file each.

mod engine_spec;
mod extract;
mod merge;

use anyhow::Result;

use crate::{
    cli::{Cli, Command},
    exit::Exit,
    prepare::worker,
};

/// Does what was typed. An `Err` is what ended the program, for [`crate::exit::report`].
pub fn run(cli: Cli) -> Result<Exit> {
    match cli.command {
        Command::Extract(typed) => extract::run(*typed),
        Command::Merge(typed) => merge::run(&typed),
        Command::PrepareWorker => worker::serve().map(|()| Exit::Ok),
    }
}
