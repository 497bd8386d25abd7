//! `omnidocs completions`: prints a shell's completions.

use anyhow::Result;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};

use crate::{cli::Cli, exit::Exit, terminal};

/// Runs the command.
///
/// # Errors
/// Stdout can't be written to.
pub fn run(shell: Shell) -> Result<Exit> {
    let mut script = Vec::new();
    generate(shell, &mut public(&Cli::command()), "omnidocs", &mut script);
    terminal::write_data(&script)?;
    Ok(Exit::Ok)
}

/// The command line without hidden subcommands, which some shells would offer.
fn public(all: &Command) -> Command {
    let shown = all
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    Command::new("omnidocs")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(shown.cloned())
}
