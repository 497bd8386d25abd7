//! `omnidocs export`: writes the documents of an output as files.

use anyhow::{Result, bail};

use crate::{
    cancel::Cancel,
    cli,
    exit::Exit,
    journal::Snapshot,
    signals::SignalHandlers,
    terminal,
    views::export::{Export, Exported},
    words::counted,
};

/// Runs the command.
///
/// # Errors
/// The output can't be read, or a file can't be written.
pub fn run(typed: &cli::Export) -> Result<Exit> {
    let snapshot = Snapshot::open(&typed.output)?;
    let export = Export {
        folder: typed.to.clone(),
        per_page: typed.per_page,
        page_break: typed.page_break.clone(),
    };
    let cancel = Cancel::default();
    SignalHandlers::install(&cancel, |_| {})?.pages_in_hand();
    let go_on = || match cancel.signal() {
        None => Ok(()),
        Some(_) => bail!("interrupted"),
    };
    let exported = match export.write(&snapshot, &go_on) {
        Ok(exported) => exported,
        Err(error) => match cancel.signal() {
            Some(signal) => return Ok(Exit::Interrupted(signal)),
            None => return Err(error),
        },
    };
    let Exported {
        documents,
        written,
        unchanged,
        failed,
    } = exported;
    let documents = counted(documents, "document", "documents");
    let files = counted(written, "file", "files");
    let folder = typed.to.display();
    terminal::print_line(format_args!(
        "exported  {documents} to {folder}: {files} written, {unchanged} unchanged"
    ));
    if failed == 0 {
        return Ok(Exit::Ok);
    }
    let pages = counted(failed, "page", "pages");
    let output = typed.output.display();
    terminal::print_line(format_args!(
        "failed    {pages}, which have placeholders: omnidocs status {output} --failed"
    ));
    Ok(Exit::SomeFailed)
}
