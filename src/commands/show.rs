//! `omnidocs show`: prints one page, or all pages of a document.

use anyhow::Result;

use crate::{
    cli,
    exit::Exit,
    journal::Snapshot,
    record::Status,
    terminal,
    views::{
        show::{Facts, Selector},
        with_newline,
    },
};

/// Runs the command.
///
/// # Errors
/// There is no such page, the output can't be read, or stdout can't be written to.
pub fn run(typed: &cli::Show) -> Result<Exit> {
    let snapshot = Snapshot::open(&typed.output)?;
    let mut exit = Exit::Ok;
    for record in Selector::new(&typed.document).find(&snapshot)? {
        for line in Facts(&record).to_string().lines() {
            terminal::print_line(line);
        }
        if record.status == Status::Failed {
            exit = Exit::SomeFailed;
        }
        let mut text = with_newline(record.content.unwrap_or_default());
        if terminal::stdout_width().is_some() {
            text = text.split_inclusive('\n').map(printable_line).collect();
        }
        terminal::write_data(text.as_bytes())?;
    }
    Ok(exit)
}

/// A line of text from a document, which must not move the cursor.
fn printable_line(line: &str) -> String {
    let (text, end) = match line.strip_suffix('\n') {
        Some(text) => (text, "\n"),
        None => (line, ""),
    };
    let cells: Vec<_> = text.split('\t').map(terminal::printable).collect();
    cells.join("\t") + end
}
