//! `omnidocs export`: writes the documents of an output as files.

use std::fs;

use anyhow::{Context, Result};

use super::{
    interrupt::{GoOn, until_signal},
    originals::originals,
};
use crate::{
    cancel::Cancel,
    cli,
    exit::{Exit, UsageError},
    journal::Snapshot,
    options::ExportKind,
    signals::SignalHandlers,
    terminal,
    views::{
        dolma::{self, Written},
        export::{Export, Exported},
        pictures::Originals,
    },
    words::counted,
};

/// Runs the command.
///
/// # Errors
/// The output can't be read, or a file can't be written.
pub fn run(typed: &cli::Export) -> Result<Exit> {
    let has_more = typed.per_page || typed.page_break.is_some() || typed.figures;
    if typed.kind == ExportKind::Dolma && has_more {
        let message =
            "--as dolma writes whole documents: leave out --per-page, --page-break and --figures";
        return Err(UsageError(message.to_owned()).into());
    }
    let originals = typed
        .figures
        .then(|| originals(typed.root.clone(), typed.passwords.clone()))
        .transpose()?;
    let snapshot = Snapshot::open(&typed.output)?;
    let cancel = Cancel::default();
    SignalHandlers::install(&cancel, |_| {})?.pages_in_hand();
    let written = until_signal(&cancel, |go_on| match typed.kind {
        ExportKind::Files => files(typed, originals, &snapshot, &cancel, go_on),
        ExportKind::Dolma => training_data(typed, &snapshot, go_on),
    });
    let (done, failed) = match written? {
        Ok(written) => written,
        Err(interrupted) => return Ok(interrupted),
    };
    terminal::print_labelled("exported", done);
    if failed == 0 {
        return Ok(Exit::Ok);
    }
    let pages = counted(failed, "page", "pages");
    let instead = match typed.kind {
        ExportKind::Files => "each has a placeholder",
        ExportKind::Dolma => "none of them has text",
    };
    let output = typed.output.display();
    terminal::print_labelled(
        "failed",
        format_args!("{pages}; {instead}: omnidocs status {output} --failed"),
    );
    Ok(Exit::SomeFailed)
}

/// Writes a file per document or page. What was done, and the number of failed pages.
fn files(
    typed: &cli::Export,
    originals: Option<Originals>,
    snapshot: &Snapshot,
    cancel: &Cancel,
    go_on: GoOn,
) -> Result<(String, usize)> {
    let export = Export {
        folder: typed.to.clone(),
        per_page: typed.per_page,
        page_break: typed.page_break.clone(),
        originals,
    };
    let Exported {
        documents,
        written,
        unchanged,
        failed,
        figures,
        without_figures,
    } = export.write(snapshot, cancel, go_on)?;
    let documents = counted(documents, "document", "documents");
    let files = counted(written, "file", "files");
    let folder = typed.to.display();
    let mut done = format!("{documents} to {folder}: {files} written, {unchanged} unchanged");
    if typed.figures {
        done += &format!("; {}", counted(figures, "figure", "figures"));
    }
    if let Some((why, pages)) = without_figures {
        let pages = counted(pages, "page", "pages");
        done += &format!(", none of {pages}: {why} (--root names the folder of the documents)");
    }
    Ok((done, failed))
}

/// Writes a line per document. What was done, and the number of failed pages.
fn training_data(typed: &cli::Export, snapshot: &Snapshot, go_on: GoOn) -> Result<(String, usize)> {
    let folder = typed.to.display();
    fs::create_dir_all(&typed.to).with_context(|| format!("cannot create {folder}"))?;
    let path = typed.to.join("documents.jsonl");
    let Written {
        documents,
        empty,
        copies,
        failed,
    } = dolma::write(snapshot, &path, go_on)?;
    let documents = counted(documents, "document", "documents");
    let mut done = format!("{documents} to {}", path.display());
    if empty + copies > 0 {
        let copies = counted(copies, "copy", "copies");
        done += &format!("; left out {empty} without text, {copies}");
    }
    Ok((done, failed))
}
