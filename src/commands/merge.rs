//! `omnidocs merge`: merges the outputs of several runs into one file.

use std::{
    fs,
    io::{self, BufWriter, ErrorKind, Write},
    path::Path,
};

use anyhow::Result;

use super::interrupt::{GoOn, until_signal};
use crate::{
    cancel::Cancel,
    cli,
    exit::{Exit, UsageError},
    journal::{Gaps, Merge, Target},
    limits,
    signals::SignalHandlers,
    terminal,
    words::{counted, number},
};

/// Maximum number of incomplete documents that are named.
const SHOWN: usize = 20;

/// Runs the command. Writes nothing before all files are read and checked.
pub fn run(typed: &cli::Merge) -> Result<Exit> {
    let output = match typed.output.to_str() {
        Some("-") => Target::Stdout,
        _ => Target::File(typed.output.clone()),
    };
    output.check()?;
    check_output(typed, &output)?;
    // Before anything is waited for: a process with the number 1 has no other way to end.
    let cancel = Cancel::default();
    let signals = SignalHandlers::install(&cancel, |_| {})?;
    limits::start_threads(None)?;
    let merge = Merge::read(&typed.inputs)?;
    for (path, bytes) in merge.torn() {
        let path = path.display();
        terminal::print_line(format_args!(
            "{path} ends in an unfinished line of {bytes} bytes, which is left out"
        ));
    }
    let gaps = merge.gaps(typed.pages.as_ref());
    match &output {
        Target::File(path) if !output.is_stream() => {
            signals.pages_in_hand();
            let write = |go_on: GoOn| merge.write_file(path, gaps.is_none(), go_on);
            if let Err(interrupted) = until_signal(&cancel, write)? {
                return Ok(interrupted);
            }
        }
        Target::File(path) => {
            let mut stream = fs::OpenOptions::new().append(true).open(path)?;
            merge.write(&mut stream, &|| Ok(()))?;
        }
        Target::Stdout => match write_stdout(&merge) {
            // `| head` has seen enough.
            Err(error) if is_closed(&error) => return Ok(Exit::Ok),
            ended => ended?,
        },
    }
    report(&gaps, &output);
    Ok(if gaps.is_none() {
        Exit::Ok
    } else {
        Exit::SomeFailed
    })
}

/// Like `cp`, unlike `sort`: never writes to an input, and to another existing file only with `--force`.
fn check_output(typed: &cli::Merge, output: &Target) -> Result<(), UsageError> {
    let Target::File(path) = output else {
        return Ok(());
    };
    let shown = path.display();
    let identity = |path: &Path| fs::canonicalize(path).ok();
    let is_input =
        |input: &&std::path::PathBuf| identity(input).is_some_and(|it| Some(it) == identity(path));
    if typed.inputs.iter().any(|input| is_input(&input)) {
        return Err(UsageError(format!(
            "--output {shown} is also an input; name another file, or use a pattern that excludes it"
        )));
    }
    if path.exists() && !output.is_stream() && !typed.force {
        return Err(UsageError(format!(
            "--output {shown} exists already; name another file, or replace it with --force"
        )));
    }
    Ok(())
}

fn write_stdout(merge: &Merge) -> Result<()> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    merge.write(&mut stdout, &|| Ok(()))?;
    Ok(stdout.flush()?)
}

fn is_closed(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Reports what was written and what is missing.
fn report(gaps: &Gaps, output: &Target) {
    let Gaps {
        documents,
        pages,
        failed,
        ..
    } = gaps;
    let pages = counted(*pages, "page", "pages");
    let documents = counted(*documents, "document", "documents");
    let failed = number(*failed);
    terminal::print_labelled(
        "merged",
        format_args!("{pages} of {documents} into {output}; {failed} of them failed"),
    );
    for shard in &gaps.shards {
        terminal::print_labelled("missing", format_args!("shard {shard}"));
    }
    for path in &gaps.unfinished {
        let path = path.display();
        let todo = "run its command again to resume";
        terminal::print_labelled(
            "missing",
            format_args!("the rest of the interrupted run of {path}; {todo}"),
        );
    }
    for (path, there, wanted) in gaps.incomplete.iter().take(SHOWN) {
        let missing = wanted - there;
        terminal::print_labelled(
            "missing",
            format_args!("{path}: {missing} of its {wanted} pages"),
        );
    }
    let more = gaps.incomplete.len().saturating_sub(SHOWN);
    if more > 0 {
        terminal::print_labelled("", format_args!("… and pages of {more} more documents"));
    }
}
