//! `omnidocs report`: writes an output's status and some of its pages as one HTML page.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};

use super::originals::originals;
use crate::{
    cancel::Cancel,
    cli,
    exit::Exit,
    journal::{self, Snapshot},
    signals::SignalHandlers,
    terminal,
    views::report::{Built, Pick, Report},
    words::counted,
};

/// Runs the command.
///
/// # Errors
/// The output can't be read, or the report can't be written.
pub fn run(typed: &cli::Report) -> Result<Exit> {
    let to_stdout = typed.to == Path::new("-");
    if !to_stdout {
        require_page(&typed.to)?;
    }
    let originals = originals(typed.root.clone(), typed.passwords.clone())?;
    let snapshot = Snapshot::open(&typed.output)?;
    let report = Report {
        pick: match (typed.failed, typed.warnings, typed.unsure) {
            (true, ..) => Pick::Failed,
            (_, true, _) => Pick::Warnings,
            (.., Some(count)) => Pick::Unsure(count),
            _ => Pick::Sample(typed.sample),
        },
        originals,
        max_bytes: typed.max_mb * 1_000_000,
    };
    let cancel = Cancel::default();
    // Nothing is written before the end.
    let _signals = SignalHandlers::install(&cancel, |_| {})?;
    let built = report.build(&snapshot, &cancel)?;
    if to_stdout {
        terminal::write_data(built.html.as_bytes())?;
    } else {
        journal::put_whole(&typed.to, |file| Ok(file.write_all(built.html.as_bytes())?))?;
    }
    if !typed.quiet {
        describe(&built, &typed.to);
    }
    Ok(Exit::Ok)
}

fn describe(built: &Built, to: &Path) {
    let pages = counted(built.pages, "page", "pages");
    let size = built.html.len() as f64 / 1e6;
    let to = to.display();
    terminal::print_labelled("report", format_args!("{pages} in {to} ({size:.1} MB)"));
    if built.without_picture > 0 {
        let pages = counted(built.without_picture, "page", "pages");
        let why = "as the report says; --root names the folder of the documents";
        terminal::print_labelled("note", format_args!("{pages} without a picture, {why}"));
    }
    if built.left_out > 0 {
        let pages = counted(built.left_out, "page does", "pages do");
        terminal::print_labelled("note", format_args!("{pages} not fit: raise --max-mb"));
    }
}

/// Fails if the report would replace a file that is no web page.
fn require_page(path: &Path) -> Result<()> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut head));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        Ok(_) => {}
    }
    let head = head.trim_ascii_start().to_ascii_lowercase();
    if !head.is_empty() && !head.starts_with(b"<!doctype html") {
        bail!(
            "--output {} is not a web page, and is not replaced; name another file",
            path.display()
        );
    }
    Ok(())
}
