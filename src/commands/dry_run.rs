//! `omnidocs extract --dry-run`: what would be read.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    sync::Arc,
};

use anyhow::Result;

use crate::{
    cancel::Cancel,
    exit::Exit,
    journal::{Meta, OutputSettings, Resume},
    page::{Needs, Preparation, Source},
    prepare,
    progress::Progress,
    terminal::printable,
};

/// Sets the `unknown` settings to the values recorded in the output at `path`, so that they don't differ.
pub(super) fn take_recorded(
    settings: &mut OutputSettings,
    unknown: &[&str],
    path: &Path,
) -> Result<()> {
    if unknown.is_empty() {
        return Ok(());
    }
    let recorded = Meta::read(path)?.map(|meta| meta.settings);
    for &name in unknown {
        match recorded.as_ref().and_then(|recorded| recorded.get(name)) {
            Some(there) => settings.insert(name.to_owned(), there.clone()),
            None => settings.remove(name),
        };
    }
    Ok(())
}

/// Lists the documents that would be read on stdout, with their number of pages, and reads none.
pub(super) fn run(
    sources: Vec<Source>,
    preparation: prepare::Settings,
    resume: Resume,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Exit> {
    let nothing = Needs {
        pixels: false,
        text: false,
    };
    let preparation = prepare::Settings {
        needs: nothing,
        ..preparation
    };
    let mut found = prepare::pages_except(sources, preparation, Box::new(resume), cancel)?;
    let mut pages = found.by_ref().peekable();
    let (mut documents, mut all) = (0, 0);
    let is_shown = io::stdout().is_terminal();
    while let Some(first) = pages.next().transpose()? {
        let document = Arc::clone(&first.page.document);
        let same = |next: &Result<Preparation>| {
            let next = next.as_ref();
            next.is_ok_and(|next| Arc::ptr_eq(&next.page.document, &document))
        };
        // Those that are missing from the file are not read.
        let is_there = |page: &Preparation| usize::from(page.page.last_number.is_none());
        let mut count = is_there(&first);
        while let Some(next) = pages.next_if(same).transpose()? {
            count += is_there(&next);
        }
        documents += 1;
        let path = document.path.to_string_lossy();
        // For programs, a path is as it is.
        let path = if is_shown { printable(&path) } else { path };
        let line = match first.result {
            Err(error) if first.page.number == 0 => format!("{path}: cannot be read: {error}"),
            _ => {
                all += count;
                format!(
                    "{path}: {count} of {} pages",
                    document.page_count.unwrap_or(0)
                )
            }
        };
        if writeln!(io::stdout(), "{line}").is_err() {
            // `| head` has seen enough.
            break;
        }
    }
    let elsewhere = match found.skipped().elsewhere() {
        0 => String::new(),
        count => format!("; {count} documents are in other shards"),
    };
    progress.report(format_args!(
        "would read {all} pages of {documents} documents{elsewhere}"
    ));
    Ok(Exit::Ok)
}
