//! What can be typed. What it means is settled in [`crate::config`].

pub mod environment;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, builder::FalseyValueParser};

use crate::{
    options::{
        self, DTypeChoice, DeviceChoice, DraftChoice, EngineChoice, LockChoice, OutputFormat,
        ProgressChoice, RetryChoice,
    },
    page_selection::PageSelection,
    prepare::worker_pool::SUBCOMMAND,
    shard::Shard,
};

const EXAMPLES: &str = "\
Examples:
  omnidocs extract ./pdfs -o results.jsonl             every page below ./pdfs, one JSON line each
  omnidocs extract scan.png | jq -r .content           one page, its text on the screen
  omnidocs extract a.pdf --pages 1-3,7 --format html   some pages, as HTML
  omnidocs extract ./in --exclude 'drafts/**' -o r.jsonl
  find . -newer last.txt -print0 | omnidocs extract --files-from - -o r.jsonl
  omnidocs extract ./pdfs --engine text-layer          the text that the PDFs carry, without a model";

const MERGE_EXAMPLE: &str = "\
Example:
  omnidocs merge shard-*.jsonl -o all.jsonl";

const AFTER_HELP: &str = "\
Every option can be set in the environment, --max-new-tokens as OMNIDOCS_MAX_NEW_TOKENS; flags take precedence.";

const AFTER_LONG_HELP: &str = "\
Environment:
  Every option can be set as OMNIDOCS_<OPTION>: --max-new-tokens 512 is OMNIDOCS_MAX_NEW_TOKENS=512,
  -q is OMNIDOCS_QUIET=1, and OMNIDOCS_INCLUDE='*.pdf,*.png' holds two globs. Flags take precedence, and an
  empty variable counts as unset.
  NO_COLOR turns colours off. Models are kept in the cache of Hugging Face (HF_HOME, HF_TOKEN,
  HF_ENDPOINT and HF_HUB_OFFLINE are honoured).

Exit codes:
  0 every page was read    3 finished, some pages have failed, now or before (their records say why)
  1 fatal                  10 the output was written with other settings
  2 wrong usage            11 another run is writing to the output
  130, 143                 interrupted; the same command goes on";

/// Turns folders of PDFs and page images into one JSON line per page
///
/// A Qwen3-VL model reads each page as an image, inside this program: no server, no Python, nothing else to install.
#[derive(Debug, Parser)]
#[command(
    name = "omnidocs",
    version,
    max_term_width = 110,
    arg_required_else_help = true
)]
#[command(after_help = "Try 'omnidocs extract --help'.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read every page of the inputs and write one JSON line for each
    ///
    /// Inputs are files and folders. Pages come out as they are done, one line each; a page that can't be read gets a
    /// line that says why, and never ends the run. Records go to the standard output or to --output, everything else to
    /// the standard error.
    Extract(Box<Extract>),

    /// Make one file of the outputs of several runs
    ///
    /// This is for the shards of one job, and may be given any outputs that were written with the same settings. Records
    /// come out by path and page, whatever the order of the files. Of several records of a page one is kept: the last one
    /// in a file; from different files, one that was read before one that failed, and else that of the later run.
    ///
    /// Shards and pages that are missing are told on the standard error, and make the exit code 3.
    Merge(Merge),

    /// Decode documents for the program that started this one
    #[command(name = SUBCOMMAND, hide = true)]
    PrepareWorker,
}

/// `omnidocs extract`, by the headings of its help.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{AFTER_HELP}"), after_long_help = format!("{AFTER_LONG_HELP}\n\n{EXAMPLES}"))]
#[command(
    override_usage = "omnidocs extract [OPTIONS] <INPUT>...",
    disable_help_flag = true,
    args_override_self = true
)]
#[command(mut_args(|arg| arg.hide_env(true)))]
#[allow(missing_docs)]
pub struct Extract {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub pages: PageArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub display: DisplayArgs,
}

/// `omnidocs merge`.
#[derive(Debug, Args)]
#[command(after_help = MERGE_EXAMPLE)]
pub struct Merge {
    /// Outputs of omnidocs extract
    #[arg(required = true, value_name = "FILE")]
    pub inputs: Vec<PathBuf>,

    /// File for the records; - is the standard output
    #[arg(short, long, value_name = "PATH", default_value = "-")]
    pub output: PathBuf,

    /// Pages that each document should have, as they were typed for extract [default: all]
    #[arg(long, value_name = "PAGES", allow_hyphen_values = true)]
    pub pages: Option<PageSelection>,

    /// Replace a file that is there already
    #[arg(long)]
    pub force: bool,
}

/// What is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub struct InputArgs {
    /// Files, and folders with everything below them
    ///
    /// PDF, PNG, JPEG, WebP, BMP, GIF (first frame) and TIFF (every page), told apart by what is in them and not by
    /// their names. Files named here are always taken; from folders, files with a usual extension, or with none and the
    /// right first bytes, except hidden ones.
    #[arg(
        value_name = "INPUT",
        display_order = 0,
        required_unless_present = "files_from"
    )]
    pub inputs: Vec<PathBuf>,

    /// Also read the files and folders listed in FILE, one a line; - is the standard input
    ///
    /// A list that has NUL characters in it, as `find -print0` writes it, is split at these.
    #[arg(
        long,
        value_name = "FILE",
        display_order = 1,
        env = "OMNIDOCS_FILES_FROM"
    )]
    pub files_from: Option<PathBuf>,

    /// From folders, take only what matches GLOB; may be repeated
    ///
    /// With a / the glob is matched against the path below the folder given, else against the name: '*.pdf', 'scans/**',
    /// '{a,b}*.png'.
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,

    /// From folders, leave out files and folders that match GLOB; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Pages of each document, like 1-3,7 or 5- [default: all]
    #[arg(
        long,
        value_name = "PAGES",
        env = "OMNIDOCS_PAGES",
        allow_hyphen_values = true
    )]
    pub pages: Option<PageSelection>,
}

/// What is written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// File for the records, one JSON line per page; - is the standard output
    ///
    /// The file is also the memory of what is done: the same command run again goes on where the last one ended.
    #[arg(
        short,
        long,
        value_name = "PATH",
        env = "OMNIDOCS_OUTPUT",
        default_value = "-"
    )]
    pub output: PathBuf,

    /// What the model is asked to write
    #[arg(long, value_enum, env = "OMNIDOCS_FORMAT", default_value_t = OutputFormat::Markdown)]
    pub format: OutputFormat,

    /// Ask the model with this TEXT instead
    #[arg(long, value_name = "TEXT", env = "OMNIDOCS_PROMPT")]
    pub prompt: Option<String>,

    /// Ask the model with the text in FILE instead
    #[arg(long, value_name = "FILE", env = "OMNIDOCS_PROMPT_FILE")]
    pub prompt_file: Option<PathBuf>,
}

/// What reads.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// What reads the pages
    #[arg(long, value_enum, env = "OMNIDOCS_ENGINE", default_value_t = EngineChoice::Qwen)]
    pub engine: EngineChoice,

    /// What reads the pages that ENGINE failed on [default: nothing]
    ///
    /// Its records have the warning fallback_used and name it as their engine. It makes no difference to what is done
    /// already, so --retry-failed --fallback tesseract is for the morning after.
    #[arg(long, value_enum, value_name = "ENGINE", env = "OMNIDOCS_FALLBACK")]
    pub fallback: Option<EngineChoice>,

    /// Languages that Tesseract reads, joined by +, like eng+deu
    #[arg(
        long,
        value_name = "LANG",
        env = "OMNIDOCS_TESSERACT_LANG",
        default_value = "eng"
    )]
    pub tesseract_lang: String,

    /// Qwen3-VL model: a Hugging Face id or a folder [default: 8B on CUDA, 2B on a CPU]
    ///
    /// An id like Qwen/Qwen3-VL-4B-Instruct, or Qwen/Qwen3-VL-4B-Instruct@REVISION, is fetched once and kept. A folder
    /// holds config.json, tokenizer.json and *.safetensors. Without this, Qwen/Qwen3-VL-8B-Instruct on CUDA and
    /// Qwen/Qwen3-VL-2B-Instruct on a CPU. With --engine server, the server's name for its model [default: its only one].
    #[arg(long, value_name = "ID|DIR", env = "OMNIDOCS_MODEL")]
    pub model: Option<String>,

    /// Where the model runs: auto, cpu, cuda, cuda:N or cuda:N,M,…
    ///
    /// auto is the first CUDA device if there is one, else the CPU. N counts devices from 0. With several devices, each
    /// holds the model and reads other pages; if one of them is lost, the others go on. cpu:N is N instances of the model
    /// on the CPU, which share its weights in memory and deal its cores out among them.
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

    /// Pages that the model reads at a time
    ///
    /// Decoding reads all weights for each token of a page, or for one token of each of several pages in little more time:
    /// on a CPU 4 pages at a time are decoded about twice as fast. Each page beyond the first takes more memory (the 2B
    /// model: 0.25 GB for 1,000 tokens of page and answer). Answers are the same with f32, q8_0 and q4_k on a CPU; in bf16
    /// and f16, and on a GPU, up to rounding: of two tokens that are about as likely, the other may be written.
    #[arg(
        long,
        value_name = "N",
        env = "OMNIDOCS_BATCH_SIZE",
        default_value_t = 1
    )]
    pub batch_size: usize,

    /// Threads that the model runs on, on a CPU; several instances share them [default: one for each core]
    #[arg(long, value_name = "N", env = "OMNIDOCS_THREADS")]
    pub threads: Option<usize>,

    /// Where guesses at the answer come from, which the model checks many at a time
    ///
    /// This makes born-digital PDFs faster, with tesseract also scans. Answers are the same as without, as far as
    /// --batch-size says it of several pages. Tesseract reads ahead of the model, on --workers threads. Sampled answers
    /// (see --temperature) are not guessed.
    #[arg(long, value_enum, value_name = "FROM", env = "OMNIDOCS_DRAFT", default_value_t = DraftChoice::Auto)]
    pub draft: DraftChoice,

    /// Longest answer for one page, in tokens
    #[arg(long, value_name = "N", env = "OMNIDOCS_MAX_NEW_TOKENS", default_value_t = options::MAX_NEW_TOKENS)]
    pub max_new_tokens: usize,

    /// Sampling temperature; 0 always takes the likeliest token
    #[arg(
        long,
        value_name = "T",
        env = "OMNIDOCS_TEMPERATURE",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub temperature: f64,

    /// Seed of the sampling
    #[arg(
        long,
        value_name = "N",
        env = "OMNIDOCS_SEED",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub seed: u64,
}

/// The server that reads, if one does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Address of an OpenAI-compatible server for --engine server, like http://host:8000/v1
    ///
    /// That of vLLM, SGLang, TGI, llama.cpp, Ollama and others. If it wants a key, that goes into the environment variable
    /// OMNIDOCS_SERVER_API_KEY; there is no option for it.
    #[arg(long, value_name = "URL", env = "OMNIDOCS_SERVER_URL")]
    pub server_url: Option<String>,

    /// Requests at a time
    ///
    /// A server reads many pages together in little more time than one. Also raise --prefetch if pages are prepared too
    /// slowly for it.
    #[arg(long, value_name = "N", env = "OMNIDOCS_CONCURRENCY", default_value_t = options::CONCURRENCY)]
    pub concurrency: usize,

    /// Wait so long for a server that is not there, is busy or fails, before pages fail
    ///
    /// Counted from when it last answered anything. A request may take as long as --page-timeout, and what it took then
    /// counts as waiting.
    #[arg(long, value_name = "SECS", env = "OMNIDOCS_SERVER_WAIT", default_value_t = options::SERVER_WAIT, allow_negative_numbers = true)]
    pub server_wait: f64,
}

/// How pages become pixels.
#[derive(Debug, Args)]
#[command(next_help_heading = "Page size")]
pub struct PageArgs {
    /// Dots per inch at which PDF pages are rendered, within the limits below
    ///
    /// This gives a page its size in pixels, which the limits may change; the page is then rendered once, at the size
    /// that the model sees.
    #[arg(long, value_name = "N", env = "OMNIDOCS_DPI", default_value_t = options::DPI, allow_negative_numbers = true)]
    pub dpi: f64,

    /// Enlarge pages that have fewer pixels than N [default: the model's own limit]
    #[arg(long, value_name = "N", env = "OMNIDOCS_MIN_PIXELS")]
    pub min_pixels: Option<u64>,

    /// Shrink pages that have more pixels than N [default: the model's own limit, at most 2097152]
    ///
    /// More pixels show smaller print, and cost time and memory.
    #[arg(long, value_name = "N", env = "OMNIDOCS_MAX_PIXELS")]
    pub max_pixels: Option<u64>,
}

/// How the work is spread.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// Begin anew; the old output is kept as .bak
    #[arg(long, env = "OMNIDOCS_RESTART", value_parser = FalseyValueParser::new())]
    pub restart: bool,

    /// Read pages of earlier runs again; the newer record of a page counts
    ///
    /// Several are joined by commas: failed,truncated,repetition. With truncated, --max-new-tokens may be larger than in the
    /// earlier runs: a page that ended by itself would not change.
    #[arg(
        long,
        value_enum,
        value_name = "WHICH",
        value_delimiter = ',',
        env = "OMNIDOCS_RETRY"
    )]
    pub retry: Vec<RetryChoice>,

    /// The same as --retry failed
    #[arg(long, env = "OMNIDOCS_RETRY_FAILED", value_parser = FalseyValueParser::new())]
    pub retry_failed: bool,

    /// What keeps a second run away from the output
    #[arg(long, value_enum, value_name = "HOW", env = "OMNIDOCS_LOCK", default_value_t = LockChoice::Os)]
    pub lock: LockChoice,

    /// Show what would be read, and read nothing
    #[arg(long, env = "OMNIDOCS_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,

    /// Read only the I-th of N disjoint parts of the documents [default: the scheduler's, else all]
    ///
    /// A document is in one part by its bytes, whatever it is called and whatever else there is. Without this, a job
    /// array of Slurm or AWS Batch and an Indexed Job of Kubernetes (with OMNIDOCS_SHARDS as its number of completions)
    /// say which part it is; 1/1 reads all the same. In --output, {shard} becomes the part, like 2-of-4; omnidocs merge
    /// makes one file of them.
    #[arg(long, value_name = "I/N", env = "OMNIDOCS_SHARD")]
    pub shard: Option<Shard>,

    /// Try a page N times more when a worker process failed over it or a server answered nonsense
    ///
    /// With 1 or more, a page whose answer runs in a loop or is cut off also gets a second look at a raised temperature,
    /// and keeps the better answer.
    #[arg(long, value_name = "N", env = "OMNIDOCS_RETRIES", default_value_t = options::RETRIES, allow_negative_numbers = true)]
    pub retries: u32,

    /// Give up a page that takes longer than this to prepare, or to read
    #[arg(long, value_name = "SECS", env = "OMNIDOCS_PAGE_TIMEOUT", default_value_t = options::PAGE_TIMEOUT, allow_negative_numbers = true)]
    pub page_timeout: f64,

    /// Threads that prepare pages [default: one per core]
    #[arg(long, value_name = "N", env = "OMNIDOCS_WORKERS")]
    pub workers: Option<usize>,

    /// Pages prepared ahead of the model; bounds the memory [default: 2 × workers]
    #[arg(long, value_name = "N", env = "OMNIDOCS_PREFETCH")]
    pub prefetch: Option<usize>,
}

/// What is shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Display")]
pub struct DisplayArgs {
    /// How progress is shown
    #[arg(long, value_enum, value_name = "HOW", env = "OMNIDOCS_PROGRESS", default_value_t = ProgressChoice::Auto)]
    pub progress: ProgressChoice,

    /// Show errors only
    #[arg(short, long, env = "OMNIDOCS_QUIET", value_parser = FalseyValueParser::new())]
    pub quiet: bool,

    /// Show each page as it is done; -vv also what happens inside
    #[arg(short, long, env = "OMNIDOCS_VERBOSE", action = ArgAction::Count)]
    pub verbose: u8,

    /// Print help, with --help in full
    #[arg(short, long, action = ArgAction::Help)]
    pub help: Option<bool>,
}
