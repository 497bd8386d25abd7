//! The subcommands, one file each.

mod auto_rotate;
mod bench;
mod completions;
mod doctor;
mod draft_head;
mod dry_run;
mod engine_spec;
mod engine_task;
mod export;
mod extract;
mod fetch;
mod interrupt;
mod made_pdf;
mod man;
mod merge;
mod models;
mod originals;
mod qwen_spec;
mod report;
mod schema;
mod show;
mod status;

use anyhow::{Context, Error, Result, bail};

use crate::{
    cli::{self, Cli, Command},
    exit::{Exit, UsageError, end_objects},
    journal::{Locked, SettingsDiffer, SettingsDisagree},
    launch, limits,
    options::ProgressChoice,
    prepare::worker,
    terminal,
};

/// Runs the subcommand. An `Err` ends the program: see [`exit_of`] and [`crate::exit::report`].
pub fn run(cli: Cli) -> Result<Exit> {
    let ended = dispatch(cli)?;
    end_objects(ended, None);
    Ok(ended)
}

fn dispatch(cli: Cli) -> Result<Exit> {
    if let Command::Extract(typed) = &cli.command
        && typed.display.progress == ProgressChoice::Json
    {
        terminal::speak_in_objects();
    }
    if matches!(
        cli.command,
        Command::Extract(_) | Command::Merge(_) | Command::Report(_) | Command::Bench(_)
    ) {
        limits::prepare()?;
    }
    match cli.command {
        Command::Extract(typed) => extract::run(*typed),
        Command::Merge(typed) => merge::run(&typed),
        Command::Status(typed) => status::run(&typed),
        Command::Show(typed) => show::run(&typed),
        Command::Export(typed) => export::run(&typed),
        Command::Bench(typed) => bench::run(&typed),
        Command::Fetch(typed) => fetch::run(&typed),
        Command::Completions { shell } => completions::run(shell),
        Command::Man(typed) => man::run(&typed),
        Command::Report(typed) => report::run(&typed),
        Command::Schema => schema::run(),
        Command::Models => models::run(),
        Command::Doctor(typed) => doctor::run(&typed),
        Command::PrepareWorker => worker::serve().map(|()| Exit::Ok),
        Command::RunWithParent(typed) => run_with_parent(&typed),
    }
}

fn run_with_parent(typed: &cli::RunWithParent) -> Result<Exit> {
    let Some((program, args)) = typed.command.split_first() else {
        bail!("no program is named");
    };
    let ended = launch::become_program(typed.parent, program, args);
    ended.with_context(|| format!("cannot run {}", program.display()))?;
    Ok(Exit::Ok)
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
