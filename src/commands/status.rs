//! `omnidocs status`: tells how far an output is.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{
    cli,
    exit::{Exit, UsageError},
    journal::Snapshot,
    terminal,
    views::{
        listing::{Selection, list},
        status::Status,
    },
};

/// Runs the command.
///
/// # Errors
/// The output can't be read, or stdout can't be written to.
pub fn run(typed: &cli::Status) -> Result<Exit> {
    let selection = match (typed.failed, typed.warnings) {
        (true, _) => Some(Selection::Failed),
        (_, true) => Some(Selection::Warnings),
        _ if typed.print0 => {
            let message = "--print0 needs --failed or --warnings";
            return Err(UsageError(message.to_owned()).into());
        }
        _ => None,
    };
    let snapshot = Snapshot::open(&typed.output)?;
    let text = match selection {
        Some(selection) => {
            let listed = list(&snapshot, selection)?;
            if typed.print0 {
                let paths: BTreeSet<_> = listed.into_iter().map(|page| page.path).collect();
                paths.into_iter().map(|path| path + "\0").collect()
            } else {
                listed.iter().map(|page| format!("{page}\n")).collect()
            }
        }
        None => {
            let status = Status::read(&snapshot, typed.price_per_hour)?;
            if typed.json {
                serde_json::to_string_pretty(&status)? + "\n"
            } else {
                let shown = terminal::stdout_width();
                status.lines().render(shown, terminal::stdout_has_colours())
            }
        }
    };
    terminal::write_data(text.as_bytes())?;
    Ok(Exit::Ok)
}
