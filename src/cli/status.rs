//! The options of `omnidocs status`.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  omnidocs status results.jsonl
  omnidocs status results.jsonl --failed
  omnidocs status results.jsonl --failed --print0 | omnidocs extract --files-from - -o again.jsonl";

/// `omnidocs status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag on the command line"
)]
pub struct Status {
    /// Output file of omnidocs extract or merge; a run may be writing to it
    #[arg(value_name = "FILE")]
    pub output: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// List the failed pages: path, page, kind, message
    #[arg(long, conflicts_with = "json")]
    pub failed: bool,

    /// List the pages with warnings: path, page, warnings
    #[arg(long, conflicts_with_all = ["json", "failed"])]
    pub warnings: bool,

    /// List the pages by confidence, the least sure first: path, page, worst, mean
    #[arg(long, conflicts_with_all = ["json", "failed", "warnings"])]
    pub unsure: bool,

    /// With --failed, --warnings or --unsure: print each document's path once, separated by NUL bytes
    #[arg(long, conflicts_with = "json")]
    pub print0: bool,

    /// Price of an hour of the machine: prints the price of a million pages at the pace of the last run
    #[arg(long, value_name = "PRICE", value_parser = price)]
    pub price_per_hour: Option<f64>,
}

fn price(typed: &str) -> Result<f64, String> {
    match typed.parse::<f64>() {
        Ok(price) if price.is_finite() && price >= 0.0 => Ok(price),
        _ => Err("not a price, such as 2.5".to_owned()),
    }
}
