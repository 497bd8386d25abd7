//! The options of `omnidocs man`.

use std::path::PathBuf;

use clap::Args;

/// `omnidocs man`.
#[derive(Debug, Args)]
pub struct Man {
    /// The subcommand; the program itself when left out
    #[arg(value_name = "COMMAND")]
    pub subcommand: Option<String>,

    /// Write a page for the program and for each subcommand to DIR
    #[arg(long, value_name = "DIR", conflicts_with = "subcommand")]
    pub to: Option<PathBuf>,
}
