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
                let paths = listed.into_iter().map(|page| page.path_bytes);
                let paths: BTreeSet<_> = paths.collect();
                paths
                    .into_iter()
                    .flat_map(|path| [path, vec![0]].concat())
                    .collect()
            } else {
                let lines = listed.iter().map(|page| format!("{page}\n"));
                lines.collect::<String>().into_bytes()
            }
        }
        None => {
            let status = Status::read(&snapshot, typed.price_per_hour)?;
            if typed.json {
                (serde_json::to_string_pretty(&status)? + "\n").into_bytes()
            } else {
                let shown = terminal::stdout_width();
                let lines = status.lines();
                lines
                    .render(shown, terminal::stdout_has_colours())
                    .into_bytes()
            }
        }
    };
    terminal::write_data(&text)?;
    Ok(Exit::Ok)
}
