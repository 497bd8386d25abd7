//! The command line. [`crate::config`] turns it into settings.

mod bench;
mod doctor;
pub mod environment;
mod export;
mod extract;
mod fetch;
mod man;
mod merge;
mod password;
mod report;
mod show;
mod status;

use std::{ffi::OsString, sync::LazyLock};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use bench::Bench;
pub use doctor::Doctor;
pub use export::Export;
pub use extract::{
    DisplayArgs, Extract, InputArgs, ModelArgs, OutputArgs, PageArgs, ReaderArgs, RunArgs,
    ServerArgs,
};
pub use fetch::Fetch;
pub use man::Man;
pub use merge::Merge;
pub use password::PasswordArgs;
pub use report::Report;
pub use show::Show;
pub use status::Status;

use crate::{launch, nn::instructions, prepare::worker_pool::SUBCOMMAND};

/// Turns folders of PDFs and page images into one JSON line per page
///
/// A Qwen-VL model reads the pages inside this program: no server, no Python, nothing else to install.
#[derive(Debug, Parser)]
#[command(
    name = "omnidocs",
    version,
    long_version = long_version(),
    max_term_width = 110,
    arg_required_else_help = true
)]
#[command(after_help = "Try 'omnidocs extract --help'.")]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The version, with what this build has and what this processor runs.
#[must_use]
pub fn long_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(describe_build);
    &VERSION
}

fn describe_build() -> String {
    let mut features = Vec::new();
    if cfg!(feature = "cuda") {
        features.push("cuda");
    }
    if cfg!(feature = "flash-attn") {
        features.push("flash-attn");
    }
    if features.is_empty() {
        features.push("none (CPU only)");
    }
    // Set for published binaries alone: a build that asks git would be done again at each commit.
    let commit =
        option_env!("OMNIDOCS_COMMIT").map_or_else(String::new, |commit| format!(" ({commit})"));
    format!(
        "{}{commit}\nfeatures: {}\nCPU kernels: {}",
        env!("CARGO_PKG_VERSION"),
        features.join(", "),
        instructions::best()
    )
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read every page of the inputs and write one JSON line per page
    ///
    /// Inputs are files and folders. Each record is written as soon as its page is done. A page that can't be read gets a
    /// record that says why, and the run goes on. Records go to stdout or to --output, everything else to stderr.
    Extract(Box<Extract>),

    /// Merge the outputs of several runs into one file
    ///
    /// Use it for the shards of one job, or for any outputs written with the same settings. Records are sorted by path and
    /// page. One record per page is kept: the last one within a file; across files, a page that was read before one that
    /// failed, then the one of the later run.
    ///
    /// Missing shards and pages are listed on stderr; exit code 3.
    Merge(Merge),

    /// Tell how far an output is, what failed and why, and how long pages took
    ///
    /// It works on the output of a run that is still going on.
    Status(Status),

    /// Print the text of one page, or of all pages of a document
    ///
    /// The text goes to stdout, everything else to stderr. Exit code 3: a page failed.
    Show(Show),

    /// Write the documents of an output as Markdown, HTML or text files
    ///
    /// One file per document, in the format of its records. A page that failed has a placeholder; exit code 3. Files are
    /// replaced atomically; unchanged ones are left alone.
    Export(Export),

    /// Write a web page: the status, and pages beside what was read of them
    ///
    /// One file that needs no network and no server. It shows a random sample of the pages, or those that failed or have
    /// warnings, with a picture of each where its document is still there. Keys: j and k go to the next and the previous
    /// page, f filters, / searches.
    Report(Report),

    /// List the document models that are known by name
    ///
    /// With the short name for --model, the size, the memory that the weights take for each --dtype, the licence, what is
    /// published of the quality and by whom, and whether the model is in the cache. Any other model of the families
    /// Qwen2-VL, Qwen2.5-VL, Qwen3-VL and dense Qwen3.5 runs too; these come with their own prompt, page size and settings.
    Models,

    /// Measure how fast pages are read on this machine
    ///
    /// Reads 100 pages that it makes, or the first pages of the inputs, and prints one table for a README or a bug report:
    /// load time, time per page, pages and tokens per second, memory. Nothing is kept.
    Bench(Box<Bench>),

    /// Fetch a model ahead of a run, into the cache or into a folder to carry elsewhere
    ///
    /// Without --to, extract --model finds it in the cache, with HF_HUB_OFFLINE=1 too. An interrupted fetch continues when
    /// the command is run again. The folder of the model is printed on stdout.
    Fetch(Fetch),
    /// Check whether this machine is ready, and say what to do where it is not
    ///
    /// Each line is ok, warning or broken: the build, the processor, memory, GPUs, fonts, Tesseract, the model cache. A
    /// test page is read with every engine that is there. Exit code 1: something is broken, or --engine or --model can't
    /// be used.
    Doctor(Doctor),

    /// Print a shell's completions
    ///
    /// Bash: omnidocs completions bash > ~/.local/share/bash-completion/completions/omnidocs
    ///
    /// Fish: omnidocs completions fish > ~/.config/fish/completions/omnidocs.fish
    ///
    /// Zsh: write the completions to a file _omnidocs in a folder of $fpath.
    #[command(verbatim_doc_comment)]
    Completions {
        /// The shell
        shell: Shell,
    },

    /// Print the JSON Schema of the records
    Schema,

    /// Print a man page, or write all man pages to a folder
    Man(Man),

    /// Decode documents for the program that started this one
    #[command(name = SUBCOMMAND, hide = true)]
    PrepareWorker,

    /// Run a program that ends when the program that started this one does
    #[command(name = launch::SUBCOMMAND, hide = true)]
    RunWithParent(RunWithParent),
}

/// The arguments of the hidden subcommand that becomes another program.
#[derive(Debug, Args)]
pub struct RunWithParent {
    /// The process that started this one.
    pub parent: u32,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}
