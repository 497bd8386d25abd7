//! `omnidocs man`: prints a man page, or writes all of them.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::{
    cli::{self, Cli},
    exit::{Exit, UsageError},
    terminal,
};

/// Runs the command.
///
/// # Errors
/// There is no such subcommand, or a page can't be written.
pub fn run(typed: &cli::Man) -> Result<Exit> {
    let mut program = Cli::command();
    // Names the pages of subcommands after the program: `omnidocs-extract`.
    program.build();
    if let Some(folder) = &typed.to {
        write_all(&program, folder)?;
        return Ok(Exit::Ok);
    }
    let command = match &typed.subcommand {
        None => &program,
        Some(name) => public(&program)
            .find(|command| command.get_name() == name)
            .ok_or_else(|| {
                UsageError(format!(
                    "there is no subcommand {name}: see omnidocs --help"
                ))
            })?,
    };
    terminal::write_data(&page(command)?)?;
    Ok(Exit::Ok)
}

fn write_all(program: &Command, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for command in std::iter::once(program).chain(public(program)) {
        let path = folder.join(format!("{}.1", title(command)));
        fs::write(&path, page(command)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The subcommands that people use.
fn public(program: &Command) -> impl Iterator<Item = &Command> {
    let commands = program.get_subcommands();
    commands.filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone())
        .title(title(command))
        .render(&mut page)?;
    Ok(page)
}
