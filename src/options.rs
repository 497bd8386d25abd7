//! The values of options, and their defaults.

use std::{fmt, str::FromStr};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Default of `--max-new-tokens`.
pub const MAX_NEW_TOKENS: usize = 4096;
/// The default model on CUDA.
pub const CUDA_MODEL: &str = "Qwen/Qwen3-VL-8B-Instruct";
/// The default model on a CPU.
pub const CPU_MODEL: &str = "Qwen/Qwen3-VL-2B-Instruct";
/// Default of `--dpi`.
pub const DPI: f64 = 200.0;
/// The cap of the model's own limit, unless `--max-pixels` is given.
pub const MAX_PIXELS: u64 = 2_097_152;
/// Default of `--retries`.
pub const RETRIES: u32 = 2;
/// Default of `--page-timeout`, in seconds.
pub const PAGE_TIMEOUT: f64 = 600.0;
/// Default of `--concurrency`.
pub const CONCURRENCY: usize = 8;
/// Default of `--server-wait`, in seconds.
pub const SERVER_WAIT: f64 = 600.0;

/// Format of a page's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// Markdown, with its table syntax and LaTeX formulas
    #[default]
    Markdown,
    /// HTML with semantic tags
    Html,
    /// Plain text in reading order
    Text,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FormatChoice {
    /// Markdown, with its table syntax and LaTeX formulas
    #[default]
    #[value(alias = "md")]
    Markdown,
    /// HTML with semantic tags
    Html,
    /// Plain text in reading order
    #[value(alias = "txt")]
    Text,
    /// Blocks with their types and places on the page, and Markdown made of them
    Json,
}

impl FormatChoice {
    /// The format of the content.
    #[must_use]
    pub fn content(self) -> OutputFormat {
        match self {
            Self::Markdown | Self::Json => OutputFormat::Markdown,
            Self::Html => OutputFormat::Html,
            Self::Text => OutputFormat::Text,
        }
    }

    /// What a model is asked for this format, unless the user asks otherwise.
    #[must_use]
    pub fn default_prompt(self) -> &'static str {
        match self {
            Self::Markdown => {
                "Extract all text from this document image and return it in clean Markdown format. Preserve the document \
                 structure including headings, lists, tables, and paragraphs. For tables, use Markdown table syntax. For \
                 formulas, use LaTeX notation."
            }
            Self::Html => {
                "Extract all text from this document image and return it as clean HTML with semantic tags. Preserve the \
                 document structure including headings, lists, tables, and paragraphs: use h1 to h6, p, ul, ol, li, table, \
                 tr, th, td, figure and figcaption. For formulas, use LaTeX notation."
            }
            Self::Text => {
                "Extract all text from this document image and return it as plain text in reading order, without any \
                 markup. Keep line breaks between paragraphs, list items and table rows."
            }
            // Qwen's models are trained on these two words (QwenLM/Qwen3-VL, cookbooks/document_parsing.ipynb).
            Self::Json => "qwenvl html",
        }
    }
}

/// `--tables`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TablesChoice {
    /// HTML, which keeps cells that span rows or columns
    Html,
    /// Markdown, where it can say all that the table does; else HTML
    Markdown,
}

/// `--headers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HeadersChoice {
    /// Page headers, footers and numbers are part of the content
    #[default]
    Keep,
    /// They are left out where the answer says which they are
    Drop,
}

/// How a page's content is written: `--raw`, `--tables` and `--headers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// The content is what the model wrote.
    pub raw: bool,
    /// How tables are written; none for as the model does.
    pub tables: Option<TablesChoice>,
    /// Whether page headers, footers and numbers are part of it.
    pub headers: HeadersChoice,
}

/// `--engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    /// A Qwen-VL model in this program, from the page's pixels
    Qwen,
    /// A model behind an OpenAI-compatible server, from the page's pixels
    Server,
    /// The installed program `tesseract`, from the page's pixels
    Tesseract,
    /// The text layer of a PDF, without a model
    TextLayer,
}

/// `--device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, else the CPU.
    Auto,
    /// The CPU, its cores divided among this many instances, at least one.
    Cpu(usize),
    /// The CUDA devices with these numbers, counted from 0: at least one, none twice.
    Cuda(Vec<usize>),
}

/// More than any machine has cores.
const MAX_INSTANCES: usize = 1024;

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "")) {
            _ if text.ends_with(':') => Err(HOW.to_owned()),
            ("auto", "") => Ok(Self::Auto),
            ("cpu", "") => Ok(Self::Cpu(1)),
            ("cuda", "") => Ok(Self::Cuda(vec![0])),
            ("cpu", count) => match count.parse() {
                Ok(count @ 1..=MAX_INSTANCES) => Ok(Self::Cpu(count)),
                Ok(_) => Err(format!("cpu:N takes 1 to {MAX_INSTANCES} instances")),
                Err(_) => Err(HOW.to_owned()),
            },
            ("cuda", numbers) => cuda(numbers),
            _ => Err(HOW.to_owned()),
        }
    }
}

const HOW: &str = "use auto, cpu, cpu:N for N instances, cuda, or cuda:N or cuda:N,M,… for devices counted from 0";

fn cuda(numbers: &str) -> Result<DeviceChoice, String> {
    let mut devices = Vec::new();
    for number in numbers.split(',') {
        let number = number.parse().map_err(|_| HOW.to_owned())?;
        if devices.contains(&number) {
            return Err(format!("device {number} is listed twice"));
        }
        devices.push(number);
    }
    Ok(DeviceChoice::Cuda(devices))
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu(1) => f.write_str("cpu"),
            Self::Cpu(count) => write!(f, "cpu:{count}"),
            Self::Cuda(numbers) => {
                let numbers: Vec<_> = numbers.iter().map(usize::to_string).collect();
                write!(f, "cuda:{}", numbers.join(","))
            }
        }
    }
}

/// `--dtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DTypeChoice {
    /// bf16 on CUDA, q8_0 on a CPU
    Auto,
    /// 32-bit floats
    F32,
    /// 16-bit floats with the range of f32
    Bf16,
    /// 16-bit floats
    F16,
    /// 8-bit weights, 32-bit sums
    #[value(name = "q8_0")]
    Q8_0,
    /// 4-bit weights, 32-bit sums
    #[value(name = "q4_k")]
    Q4K,
}

/// `--auto-rotate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RotateChoice {
    /// Turn the pages of which it is certain
    On,
    /// Read every page as it is stored
    Off,
}

/// `--split`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitChoice {
    /// Read pages in parts whose print is too small, or that are longer than four times their width
    Auto,
    /// Read every page whole
    Off,
}

/// `--draft`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DraftChoice {
    /// What is available: the text layer and the answer so far
    Auto,
    /// The page's text layer and the answer so far
    TextLayer,
    /// The same; for pages without a text layer, what the installed `tesseract` reads
    Tesseract,
    /// As text-layer; where that knows nothing, the model's own draft head (multi-token prediction)
    Mtp,
    /// No drafts
    Off,
}

/// `--retry`: which pages of earlier runs to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RetryChoice {
    /// Pages that failed
    Failed,
    /// Pages cut off by --max-new-tokens, which may be larger now
    Truncated,
    /// Pages whose answer repeats itself
    Repetition,
    /// Pages that --skip left out
    Skipped,
}

/// `--as`: what an export writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportKind {
    /// One file per document or page
    Files,
    /// Training data: DIR/documents.jsonl, one line per document with the fields of Dolma
    Dolma,
}

/// `--lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LockChoice {
    /// An operating system lock, released when the process ends
    #[default]
    Os,
    /// A lock file beside the output, for file systems without locks
    File,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressChoice {
    /// A bar on a terminal, else plain
    Auto,
    /// A moving bar
    Bar,
    /// A line every 30 seconds
    Plain,
    /// One JSON object per line and nothing else
    Json,
    /// Nothing until the summary
    Off,
}

/// How much is shown besides progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Warnings and the summary.
    Normal,
    /// Also a line for each page.
    Pages,
    /// Also debug messages.
    Debug,
}
