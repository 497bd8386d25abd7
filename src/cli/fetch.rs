//! The options of `omnidocs fetch`.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  omnidocs fetch Qwen/Qwen3-VL-2B-Instruct
  omnidocs fetch olmocr2 --to /media/usb/olmocr2

On the machine without network:
  omnidocs extract ./pdfs --model /media/usb/olmocr2 -o results.jsonl";

/// `omnidocs fetch`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Fetch {
    /// A Hugging Face id, with @REVISION if need be, or a short name that omnidocs models lists
    #[arg(value_name = "MODEL")]
    pub model: String,

    /// Write the model's files to a new folder and not to the cache; --model DIR loads it
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,

    /// Show errors only
    #[arg(short, long)]
    pub quiet: bool,
}
