//! The options of `omnidocs show`.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  omnidocs show results.jsonl report.pdf:3
  omnidocs show results.jsonl 2023/report.pdf";

/// `omnidocs show`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Show {
    /// Output file of omnidocs extract or merge
    #[arg(value_name = "FILE")]
    pub output: PathBuf,

    /// A document by its path or the end of it, with :N for one page
    #[arg(value_name = "DOCUMENT[:PAGE]")]
    pub document: String,
}
