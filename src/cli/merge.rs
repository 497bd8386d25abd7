//! The options of `omnidocs merge`.

use std::path::PathBuf;

use clap::Args;

use crate::page_selection::PageSelection;

const EXAMPLE: &str = "\
Example:
  omnidocs merge shard-*.jsonl -o all.jsonl";

/// `omnidocs merge`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Merge {
    /// Output files of omnidocs extract
    #[arg(required = true, value_name = "FILE")]
    pub inputs: Vec<PathBuf>,

    /// Write the records to PATH; - is stdout
    #[arg(short, long, value_name = "PATH", default_value = "-")]
    pub output: PathBuf,

    /// Pages that each document should have: the --pages of extract [default: all]
    #[arg(long, value_name = "PAGES", allow_hyphen_values = true)]
    pub pages: Option<PageSelection>,

    /// Replace an existing output file
    #[arg(long)]
    pub force: bool,
}
