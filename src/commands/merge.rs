//! `omnidocs merge`: one file of the outputs of several runs.

use std::{
    fs,
    io::{self, BufWriter, ErrorKind, Write},
    path::Path,
};

use anyhow::Result;

use crate::{
    cli,
    exit::{Exit, UsageError},
    journal::{Gaps, Merge, Target},
    terminal,
};

/// So many documents that lack pages are named.
const SHOWN: usize = 20;

/// Runs the command. Nothing is written before all files have been read and found to fit.
pub fn run(typed: &cli::Merge) -> Result<Exit> {
    let output = match typed.output.to_str() {
        Some("-") => Target::Stdout,
        _ => Target::File(typed.output.clone()),
    };
    output.check()?;
    check_output(typed, &output)?;
    let mut merge = Merge::read(&typed.inputs)?;
    for (path, bytes) in merge.torn() {
        let path = path.display();
        terminal::print_line(format_args!(
            "{path} ends in {bytes} bytes of an unfinished line, which are left out"
        ));
    }
    let gaps = merge.gaps(typed.pages.as_ref());
    match &output {
        Target::File(path) if !output.is_stream() => merge.write_file(path, gaps.is_none())?,
        Target::File(path) => merge.write(&mut fs::OpenOptions::new().append(true).open(path)?)?,
        Target::Stdout => match write_stdout(&mut merge) {
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

/// Like `cp` and unlike `sort`: a file that is read is never written to, and another one only if that was said.
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
            "--output {shown} is also a file to merge; name another one, or a pattern that leaves it out"
        )));
    }
    if path.exists() && !output.is_stream() && !typed.force {
        return Err(UsageError(format!(
            "--output {shown} is there already; name another one, or replace it with --force"
        )));
    }
    Ok(())
}

fn write_stdout(merge: &mut Merge) -> Result<()> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    merge.write(&mut stdout)?;
    Ok(stdout.flush()?)
}

fn is_closed(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Reports what was written, and what it lacks.
fn report(gaps: &Gaps, output: &Target) {
    let Gaps {
        documents,
        pages,
        failed,
        ..
    } = gaps;
    terminal::print_line(format_args!(
        "merged    {pages} pages of {documents} documents into {output}; {failed} of them failed"
    ));
    for shard in &gaps.shards {
        terminal::print_line(format_args!("missing   shard {shard}"));
    }
    for path in &gaps.unfinished {
        let path = path.display();
        terminal::print_line(format_args!(
            "missing   what the run that wrote {path} did not come to; its command goes on"
        ));
    }
    for (path, there, wanted) in gaps.incomplete.iter().take(SHOWN) {
        let missing = wanted - there;
        terminal::print_line(format_args!(
            "missing   {path}: {missing} of its {wanted} pages"
        ));
    }
    let more = gaps.incomplete.len().saturating_sub(SHOWN);
    if more > 0 {
        terminal::print_line(format_args!(
            "          … and pages of {more} more documents"
        ));
    }
}
