//! The options of `omnidocs export`.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  omnidocs export results.jsonl --to out
  omnidocs export results.jsonl --to out --per-page
  omnidocs export results.jsonl --to out --page-break '---'";

/// `omnidocs export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    /// Output file of omnidocs extract or merge
    #[arg(value_name = "FILE")]
    pub output: PathBuf,

    /// The folder for the files: in/a.pdf becomes DIR/in/a.pdf.md
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,

    /// Write one file per page: DIR/in/a.pdf.p0003.md
    #[arg(long)]
    pub per_page: bool,

    /// Text between pages, on a line of its own; {page} is the page's number [default: a mark before each page]
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "per_page",
        allow_hyphen_values = true
    )]
    pub page_break: Option<String>,
}
