//! The options of `omnidocs doctor`.

use clap::Args;

use crate::options::{DeviceChoice, EngineChoice};

const EXAMPLES: &str = "\
Examples:
  omnidocs doctor
  omnidocs doctor --model examples/reader
  omnidocs doctor --engine tesseract --tesseract-lang deu --json";

/// `omnidocs doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    /// Also read the test page with this model, if it is a folder or in the cache; nothing is downloaded
    #[arg(long, value_name = "ID|DIR", env = "OMNIDOCS_MODEL", hide_env = true)]
    pub model: Option<String>,

    /// Where that model runs, as for extract
    #[arg(
        long,
        value_name = "DEVICE",
        env = "OMNIDOCS_DEVICE",
        hide_env = true,
        default_value = "auto"
    )]
    pub device: DeviceChoice,

    /// Engine that must be usable
    #[arg(long, value_enum)]
    pub engine: Option<EngineChoice>,

    /// Languages that Tesseract must have, joined by +
    #[arg(
        long,
        value_name = "LANG",
        env = "OMNIDOCS_TESSERACT_LANG",
        hide_env = true,
        default_value = "eng"
    )]
    pub tesseract_lang: String,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
