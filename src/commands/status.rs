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
    let selection = match (typed.failed, typed.warnings, typed.unsure) {
        (true, ..) => Some(Selection::Failed),
        (_, true, _) => Some(Selection::Warnings),
        (.., true) => Some(Selection::Unsure),
        _ if typed.print0 => {
            let message = "--print0 needs --failed, --warnings or --unsure";
            return Err(UsageError(message.to_owned()).into());
        }
        _ => None,
    };
    let snapshot = Snapshot::open(&typed.output)?;
    let text = if let Some(selection) = selection {
        let listed = list(&snapshot, selection)?;
        if typed.print0 {
            let paths: BTreeSet<_> = listed.into_iter().map(|page| page.path_bytes).collect();
            let paths = paths.into_iter().flat_map(|path| [path, vec![0]].concat());
            paths.collect()
        } else {
            let lines = listed.iter().map(|page| format!("{page}\n"));
            lines.collect::<String>().into_bytes()
        }
    } else {
        let status = Status::read(&snapshot, typed.price_per_hour)?;
        let text = if typed.json {
            serde_json::to_string_pretty(&status)? + "\n"
        } else {
            let lines = status.lines();
            lines.render(terminal::stdout_width(), terminal::stdout_has_colours())
        };
        text.into_bytes()
    };
    terminal::write_data(&text)?;
    Ok(Exit::Ok)
}
