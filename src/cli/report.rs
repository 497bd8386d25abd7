//! The options of `omnidocs report`.

use std::path::PathBuf;

use clap::{Args, builder::RangedU64ValueParser};

use super::PasswordArgs;

const EXAMPLES: &str = "\
Examples:
  omnidocs report results.jsonl -o report.html
  omnidocs report results.jsonl -o report.html --failed
  omnidocs report results.jsonl -o report.html --sample 200 --root /mnt/archive";

/// `omnidocs report`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Report {
    /// Output file of omnidocs extract or merge; a run may be writing to it
    #[arg(value_name = "FILE")]
    pub output: PathBuf,

    /// Write the report to HTML; - is stdout
    #[arg(short = 'o', long = "output", value_name = "HTML")]
    pub to: PathBuf,

    /// Show N random pages, the same ones each time
    #[arg(long, value_name = "N", default_value_t = 50, conflicts_with_all = ["failed", "warnings", "unsure"])]
    pub sample: usize,

    /// Show the failed pages
    #[arg(long)]
    pub failed: bool,

    /// Show the pages with warnings
    #[arg(long, conflicts_with = "failed")]
    pub warnings: bool,

    /// Show the N pages that the model was least sure of, the least sure first
    #[arg(long, value_name = "N", conflicts_with_all = ["failed", "warnings"])]
    pub unsure: Option<usize>,

    /// Folder that relative paths start from [default: the current folder]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub passwords: PasswordArgs,

    /// Maximum size of the report; pages beyond it are left out
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = RangedU64ValueParser::<usize>::new().range(1..=2000))]
    pub max_mb: usize,

    /// Show errors only
    #[arg(short, long)]
    pub quiet: bool,
}
