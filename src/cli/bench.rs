//! The options of `omnidocs bench`.

use std::path::PathBuf;

use clap::{Arg, Args, builder::RangedU64ValueParser};

use super::{PageArgs, ReaderArgs, ServerArgs};
use crate::options::EngineChoice;

const EXAMPLES: &str = "\
Examples:
  omnidocs bench
  omnidocs bench ./pdfs --pages 20 --batch-size 4
  omnidocs bench --engine qwen --engine tesseract --json";

/// `omnidocs bench`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_args(briefly))]
#[allow(missing_docs)]
pub struct Bench {
    /// Files and folders to read from [default: pages that are made: print with a text layer]
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,

    /// Number of pages to read
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub pages: usize,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// Engine that reads the pages; repeat it to compare several [default: qwen]
    #[arg(long = "engine", value_enum, value_name = "ENGINE")]
    pub engines: Vec<EngineChoice>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reader: ReaderArgs,

    /// Show errors only
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub size: PageArgs,
}

/// Options of `extract` are described more briefly, and without those that are not here.
fn briefly(arg: Arg) -> Arg {
    let arg = arg.hide_env(true);
    let brief = match arg.get_id().as_str() {
        "model" => {
            "Qwen-VL model: a Hugging Face id, a short name or a folder; with --engine server: the server's name for it"
        }
        "draft" => {
            "Source of draft tokens for speculative decoding; off for times that don't depend on a text layer"
        }
        "device" | "batch_size" | "threads" => return arg.long_help(None::<&str>),
        _ => return arg,
    };
    arg.help(brief).long_help(None::<&str>)
}
