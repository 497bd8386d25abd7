//! The options of `omnidocs bench`.

use std::path::PathBuf;

use clap::{Args, builder::RangedU64ValueParser};

use super::{PageArgs, ServerArgs};
use crate::options::{DTypeChoice, DeviceChoice, DraftChoice, EngineChoice};

const EXAMPLES: &str = "\
Examples:
  omnidocs bench
  omnidocs bench ./pdfs --pages 20 --batch-size 4
  omnidocs bench --engine qwen --engine tesseract --json";

/// `omnidocs bench`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_args(|arg| arg.hide_env(true)))]
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

    /// Qwen-VL model: a Hugging Face id, a short name or a folder; with --engine server: the server's name for it
    #[arg(long, value_name = "ID|DIR", env = "OMNIDOCS_MODEL")]
    pub model: Option<String>,

    /// Where the model runs: auto, cpu, cuda, cuda:N or cuda:N,M,…
    #[arg(
        long,
        value_name = "DEVICE",
        env = "OMNIDOCS_DEVICE",
        default_value = "auto"
    )]
    pub device: DeviceChoice,

    /// Number type of the weights
    #[arg(long, value_enum, value_name = "TYPE", env = "OMNIDOCS_DTYPE", default_value_t = DTypeChoice::Auto)]
    pub dtype: DTypeChoice,

    /// Pages decoded together
    #[arg(
        long,
        value_name = "N",
        env = "OMNIDOCS_BATCH_SIZE",
        default_value_t = 1
    )]
    pub batch_size: usize,

    /// CPU threads that the model runs on [default: one per core]
    #[arg(long, value_name = "N", env = "OMNIDOCS_THREADS")]
    pub threads: Option<usize>,

    /// Source of draft tokens for speculative decoding; off for times that don't depend on a text layer
    #[arg(long, value_enum, value_name = "FROM", env = "OMNIDOCS_DRAFT", default_value_t = DraftChoice::Auto)]
    pub draft: DraftChoice,

    /// Maximum length of one page's answer, in tokens [default: the model's preset, else 4096]
    #[arg(long, value_name = "N", env = "OMNIDOCS_MAX_NEW_TOKENS")]
    pub max_new_tokens: Option<usize>,

    /// Languages that Tesseract reads, joined by +, like eng+deu
    #[arg(
        long,
        value_name = "LANG",
        env = "OMNIDOCS_TESSERACT_LANG",
        default_value = "eng"
    )]
    pub tesseract_lang: String,

    /// Show errors only
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub size: PageArgs,
}
