//! The options of `omnidocs extract`.

use std::path::PathBuf;

use clap::{ArgAction, Args, builder::FalseyValueParser};

use super::PasswordArgs;
use crate::{
    options::{
        self, DTypeChoice, DeviceChoice, DraftChoice, EngineChoice, FormatChoice, HeadersChoice,
        LockChoice, ProgressChoice, RetryChoice, RotateChoice, SplitChoice, TablesChoice,
    },
    page_selection::PageSelection,
    shard::Shard,
    skip::SkipRule,
};

const EXAMPLES: &str = "\
Examples:
  omnidocs extract ./pdfs -o results.jsonl             every page below ./pdfs, one JSON line each
  omnidocs extract scan.png | jq -r .content           one page, its text on the screen
  omnidocs extract a.pdf --pages 1-3,7 --format html   some pages, as HTML
  omnidocs extract ./in --exclude 'drafts/**' -o r.jsonl
  find . -type f -newer last.txt -print0 | omnidocs extract --files-from - -o r.jsonl
  omnidocs extract ./pdfs --engine text-layer          the text layer of the PDFs, without a model";

const AFTER_HELP: &str = "\
Every option can be set in the environment: --max-new-tokens is OMNIDOCS_MAX_NEW_TOKENS. Flags take precedence.";

const AFTER_LONG_HELP: &str = "\
Environment:
  Every option can be set as OMNIDOCS_<OPTION>: --max-new-tokens 512 is OMNIDOCS_MAX_NEW_TOKENS=512,
  -q is OMNIDOCS_QUIET=1, and OMNIDOCS_INCLUDE='*.pdf,*.png' holds two globs. Flags take precedence.
  An empty variable counts as unset.
  NO_COLOR turns colours off. Models are kept in the Hugging Face cache (HF_HOME, HF_TOKEN,
  HF_ENDPOINT and HF_HUB_OFFLINE are honoured).

Exit codes:
  0 every page was read    3 finished; some pages failed, now or in an earlier run (see their records)
  1 fatal error            10 the output was written with other settings
  2 usage error            11 another run is writing to the output
  130, 143                 interrupted; run the same command again to resume";

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

/// Options under the heading "Input".
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub struct InputArgs {
    /// Files, and folders with everything below them
    ///
    /// Formats: PDF, PNG, JPEG, WebP, BMP, GIF (first frame), TIFF (every page) and JPEG 2000, detected by content. Files
    /// named here are always read. In folders, files with a known extension are read, and files without one whose first
    /// bytes match a format. Hidden files are skipped.
    #[arg(
        value_name = "INPUT",
        display_order = 0,
        required_unless_present = "files_from"
    )]
    pub inputs: Vec<PathBuf>,

    /// Also read the files and folders listed in FILE, one per line; - is stdin
    ///
    /// A list that contains NUL characters, as written by `find -print0`, is split at those.
    #[arg(
        long,
        value_name = "FILE",
        display_order = 1,
        env = "OMNIDOCS_FILES_FROM"
    )]
    pub files_from: Option<PathBuf>,

    /// In folders, read only files that match GLOB; may be repeated
    ///
    /// A glob with a / is matched against the path below the given folder, one without against the file name: '*.pdf',
    /// 'scans/**', '{a,b}*.png'.
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,

    /// In folders, skip files and folders that match GLOB; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Read only these pages of each document, like 1-3,7 or 5- [default: all]
    #[arg(
        long,
        value_name = "PAGES",
        env = "OMNIDOCS_PAGES",
        allow_hyphen_values = true
    )]
    pub pages: Option<PageSelection>,

    /// Leave out pages of PDFs by their text layer: forms, non-text, language:de, not-language:en
    ///
    /// Several rules are joined by commas. forms: pages with fields to fill in. non-text: less than half of the text is
    /// letters. language:de: pages in German; not-language:en: pages in any language but English. Pages without a text
    /// layer, and those of which it is not clear, are read. Their records have the status skipped and the reason. Read them
    /// later with --retry skipped.
    #[arg(
        long,
        value_name = "RULES",
        value_delimiter = ',',
        env = "OMNIDOCS_SKIP"
    )]
    pub skip: Vec<SkipRule>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub passwords: PasswordArgs,
}

/// Options under the heading "Output".
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write the records to PATH, one JSON line per page; - is stdout
    ///
    /// The file is also the checkpoint: run the same command again to resume.
    #[arg(
        short,
        long,
        value_name = "PATH",
        env = "OMNIDOCS_OUTPUT",
        default_value = "-"
    )]
    pub output: PathBuf,

    /// Format that the model is asked for
    #[arg(long, value_enum, env = "OMNIDOCS_FORMAT", default_value_t = FormatChoice::Markdown)]
    pub format: FormatChoice,

    /// How tables are written [default: as the model does]
    #[arg(long, value_enum, value_name = "HOW", env = "OMNIDOCS_TABLES")]
    pub tables: Option<TablesChoice>,

    /// Whether page headers, footers and numbers stay in the content
    ///
    /// Known where the answer says what its parts are: with --format json, and from models that write blocks.
    #[arg(long, value_enum, value_name = "WHAT", env = "OMNIDOCS_HEADERS", default_value_t = HeadersChoice::Keep)]
    pub headers: HeadersChoice,

    /// Keep the model's answer as the content, without cleaning
    ///
    /// Else fences around it, chat, reasoning, control characters and data-* attributes are left out, letters are composed
    /// (Unicode NFC), and tables without an end get one.
    #[arg(long, env = "OMNIDOCS_RAW", value_parser = FalseyValueParser::new())]
    pub raw: bool,

    /// Replace the prompt of the format with TEXT
    #[arg(long, value_name = "TEXT", env = "OMNIDOCS_PROMPT")]
    pub prompt: Option<String>,

    /// Replace the prompt of the format with the text in FILE
    #[arg(long, value_name = "FILE", env = "OMNIDOCS_PROMPT_FILE")]
    pub prompt_file: Option<PathBuf>,
}

/// Options under the heading "Model".
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Engine that reads the pages
    #[arg(long, value_enum, env = "OMNIDOCS_ENGINE", default_value_t = EngineChoice::Qwen)]
    pub engine: EngineChoice,

    /// Engine for the pages that the first one failed on [default: none]
    ///
    /// Its records name it as their engine and have the warning fallback_used. It is loaded when the first page needs it.
    /// Not part of the resume check: add it later with --retry failed.
    #[arg(long, value_enum, value_name = "ENGINE", env = "OMNIDOCS_FALLBACK")]
    pub fallback: Option<EngineChoice>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reader: ReaderArgs,

    /// Sampling temperature; 0 is greedy decoding [default: the model's preset, else 0]
    #[arg(
        long,
        value_name = "T",
        env = "OMNIDOCS_TEMPERATURE",
        allow_negative_numbers = true
    )]
    pub temperature: Option<f64>,

    /// Sampling seed
    #[arg(
        long,
        value_name = "N",
        env = "OMNIDOCS_SEED",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub seed: u64,
}

/// The options of engines that `bench` has too.
#[derive(Debug, Clone, Args)]
#[allow(missing_docs)]
pub struct ReaderArgs {
    /// Languages that Tesseract reads, joined by +, like eng+deu
    #[arg(
        long,
        value_name = "LANG",
        env = "OMNIDOCS_TESSERACT_LANG",
        default_value = "eng"
    )]
    pub tesseract_lang: String,

    /// Qwen-VL model: a Hugging Face id, a short name or a folder [default: 8B on CUDA, 2B on a CPU]
    ///
    /// An id like Qwen/Qwen3-VL-4B-Instruct, or Qwen/Qwen3-VL-4B-Instruct@REVISION, is downloaded once and cached. Short
    /// names are those that omnidocs models lists; these models come with their own prompt and settings, which options
    /// replace. A folder holds config.json, tokenizer.json and *.safetensors. The default is Qwen/Qwen3-VL-8B-Instruct on CUDA and
    /// Qwen/Qwen3-VL-2B-Instruct on a CPU. With --engine server: the server's name for its model [default: its only one].
    #[arg(long, value_name = "ID|DIR", env = "OMNIDOCS_MODEL")]
    pub model: Option<String>,

    /// Where the model runs: auto, cpu, cuda, cuda:N or cuda:N,M,…
    ///
    /// auto is the first CUDA device, else the CPU. N counts devices from 0. With several devices, each holds the model and
    /// reads other pages; if one is lost, the others go on. cpu:N runs N instances of the model on the CPU, which share its
    /// weights in memory and divide the cores; --batch-size shares more. More than two cores have not been measured.
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
    ///
    /// Decoding several pages together takes little more time than decoding one: on a CPU, 4 pages are about twice as fast.
    /// Each further page takes more memory (2B model: 0.25 GB for 1,000 tokens of page and answer). On a CPU with f32, q8_0
    /// or q4_k the output does not change. With bf16, f16 or on a GPU, rounding differs: of two about equally likely tokens
    /// the other may be chosen.
    #[arg(
        long,
        value_name = "N",
        env = "OMNIDOCS_BATCH_SIZE",
        default_value_t = 1
    )]
    pub batch_size: usize,

    /// CPU threads that the model runs on; instances share them [default: one per logical core]
    ///
    /// Where two logical cores share a physical one, as with hyper-threading, try as many threads as there are physical cores: the
    /// two share its arithmetic, and decoding waits for memory. With several sockets, run one process on each (numactl
    /// --cpunodebind=0 --membind=0, and --shard). Neither has been measured, nor have more than two cores.
    #[arg(long, value_name = "N", env = "OMNIDOCS_THREADS")]
    pub threads: Option<usize>,

    /// Source of draft tokens for speculative decoding
    ///
    /// Speeds up born-digital PDFs; with tesseract also scans. Drafts never change the output, up to the rounding that
    /// --batch-size describes. Tesseract runs ahead of the model, on the threads of --workers. mtp needs a Qwen3.5 checkpoint
    /// with mtp.* weights. There are no drafts for sampled answers (see --temperature).
    #[arg(long, value_enum, value_name = "FROM", env = "OMNIDOCS_DRAFT", default_value_t = DraftChoice::Auto)]
    pub draft: DraftChoice,

    /// Maximum length of one page's answer, in tokens [default: the model's preset, else 4096]
    #[arg(long, value_name = "N", env = "OMNIDOCS_MAX_NEW_TOKENS")]
    pub max_new_tokens: Option<usize>,
}

/// Options under the heading "Server".
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// URL of an OpenAI-compatible server for --engine server, like http://host:8000/v1
    ///
    /// Works with vLLM, SGLang, TGI, llama.cpp, Ollama and others. Put the server's key, if it needs one, into the
    /// environment variable OMNIDOCS_SERVER_API_KEY; there is no option for it.
    #[arg(long, value_name = "URL", env = "OMNIDOCS_SERVER_URL")]
    pub server_url: Option<String>,

    /// Concurrent requests
    ///
    /// A server reads many pages together in little more time than one. Raise --prefetch too if it waits for pages.
    #[arg(long, value_name = "N", env = "OMNIDOCS_CONCURRENCY", default_value_t = options::CONCURRENCY)]
    pub concurrency: usize,

    /// How long to keep retrying an unavailable server, before pages fail
    ///
    /// Counted from the server's last answer. One request may take as long as --page-timeout; that time counts too.
    #[arg(long, value_name = "SECS", env = "OMNIDOCS_SERVER_WAIT", default_value_t = options::SERVER_WAIT, allow_negative_numbers = true)]
    pub server_wait: f64,
}

/// Options under the heading "Page size".
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Page size")]
pub struct PageArgs {
    /// Resolution of PDF pages in dots per inch, within the limits below
    ///
    /// This sets a page's size in pixels, before --min-pixels and --max-pixels apply. The page is rendered once, at the
    /// size that the model sees.
    #[arg(long, value_name = "N", env = "OMNIDOCS_DPI", default_value_t = options::DPI, allow_negative_numbers = true)]
    pub dpi: f64,

    /// Enlarge pages with fewer pixels than N [default: the model's own limit]
    #[arg(long, value_name = "N", env = "OMNIDOCS_MIN_PIXELS")]
    pub min_pixels: Option<u64>,

    /// Shrink pages with more pixels than N [default: the model's own limit, at most 2097152]
    ///
    /// More pixels make small print readable, and take more time and memory.
    #[arg(long, value_name = "N", env = "OMNIDOCS_MAX_PIXELS")]
    pub max_pixels: Option<u64>,

    /// Whether to turn scans that lie on their side or upside down
    ///
    /// Records say by how much. A page that is not certain to lie wrong is left as it is. Print in the Latin alphabet shows
    /// how it lies; for other scans Tesseract is asked, where it is installed with its osd data.
    #[arg(long, value_enum, value_name = "WHETHER", env = "OMNIDOCS_AUTO_ROTATE", default_value_t = RotateChoice::On)]
    pub auto_rotate: RotateChoice,

    /// Whether to read large and long pages in parts
    ///
    /// A newspaper, a drawing or a long receipt is cut between its lines, or its columns of text, into parts that the model
    /// sees at a size at which their print can be read; what it reads is joined. Records say in how many parts. Each may take
    /// as long as --page-timeout, and have --max-new-tokens.
    #[arg(long, value_enum, value_name = "WHETHER", env = "OMNIDOCS_SPLIT", default_value_t = SplitChoice::Auto)]
    pub split: SplitChoice,
}

/// Options under the heading "Run".
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// Start over; keep the old output as .bak
    #[arg(long, env = "OMNIDOCS_RESTART", value_parser = FalseyValueParser::new())]
    pub restart: bool,

    /// Read these pages of earlier runs again; the newer record counts
    ///
    /// Join several by commas: failed,truncated,repetition. With truncated, --max-new-tokens may be larger than in the
    /// earlier runs: pages that ended by themselves would not change.
    #[arg(
        long,
        value_enum,
        value_name = "WHICH",
        value_delimiter = ',',
        env = "OMNIDOCS_RETRY"
    )]
    pub retry: Vec<RetryChoice>,

    /// Same as --retry failed
    #[arg(long, env = "OMNIDOCS_RETRY_FAILED", value_parser = FalseyValueParser::new())]
    pub retry_failed: bool,

    /// How to lock the output against a second run
    #[arg(long, value_enum, value_name = "HOW", env = "OMNIDOCS_LOCK", default_value_t = LockChoice::Os)]
    pub lock: LockChoice,

    /// List what would be read, and read nothing
    #[arg(long, env = "OMNIDOCS_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,

    /// Read only the I-th of N disjoint shards of the documents [default: the scheduler's, else all]
    ///
    /// Documents are assigned to shards by content hash, so renaming or adding files moves none. Inside a job array of Slurm
    /// or AWS Batch and an Indexed Job of Kubernetes (with OMNIDOCS_SHARDS as its number of completions), --shard is
    /// detected; 1/1 reads everything anyway. {shard} in --output becomes the shard, like 2-of-4. Merge the outputs with
    /// omnidocs merge.
    #[arg(long, value_name = "I/N", env = "OMNIDOCS_SHARD")]
    pub shard: Option<Shard>,

    /// Retry a page N times after a crashed worker or an invalid answer of a server
    ///
    /// With 1 or more, a page whose answer repeats itself or is cut off is also sampled again at a higher temperature. The
    /// better answer is kept.
    #[arg(long, value_name = "N", env = "OMNIDOCS_RETRIES", default_value_t = options::RETRIES, allow_negative_numbers = true)]
    pub retries: u32,

    /// Fail a page that takes longer than this to prepare, or to read
    #[arg(long, value_name = "SECS", env = "OMNIDOCS_PAGE_TIMEOUT", default_value_t = options::PAGE_TIMEOUT, allow_negative_numbers = true)]
    pub page_timeout: f64,

    /// Threads that prepare pages [default: one per core]
    #[arg(long, value_name = "N", env = "OMNIDOCS_WORKERS")]
    pub workers: Option<usize>,

    /// Pages prepared ahead of the model; bounds the memory [default: 2 × workers]
    #[arg(long, value_name = "N", env = "OMNIDOCS_PREFETCH")]
    pub prefetch: Option<usize>,
}

/// Options under the heading "Display".
#[derive(Debug, Args)]
#[command(next_help_heading = "Display")]
pub struct DisplayArgs {
    /// How progress is shown
    #[arg(long, value_enum, value_name = "HOW", env = "OMNIDOCS_PROGRESS", default_value_t = ProgressChoice::Auto)]
    pub progress: ProgressChoice,

    /// Show errors only
    #[arg(short, long, env = "OMNIDOCS_QUIET", value_parser = FalseyValueParser::new())]
    pub quiet: bool,

    /// Show each page as it is done; -vv also debug messages
    #[arg(short, long, env = "OMNIDOCS_VERBOSE", action = ArgAction::Count)]
    pub verbose: u8,

    /// Print help; --help prints all of it
    #[arg(short, long, action = ArgAction::Help)]
    pub help: Option<bool>,
}
