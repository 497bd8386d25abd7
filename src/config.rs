//! What was typed or set in the environment → what is meant. Every error names its flag and says what would be right.

use std::{env, fmt, fs, path::Path, str::FromStr, thread};

use clap::ValueEnum;

use crate::{
    cli,
    discover::{Globs, Inputs},
    document::{OutputFormat, PageSelection},
    exit::UsageError,
    journal::Target,
    prepare::PixelBudget,
};

/// Default of `--max-new-tokens`.
pub const MAX_NEW_TOKENS: usize = 4096;
/// Default of `--dpi`.
pub const DPI: f64 = 200.0;
/// What the model's own limit is capped at, unless `--max-pixels` says otherwise.
pub const MAX_PIXELS: u64 = 2_097_152;
/// The model that is read with on a CUDA device, unless `--model` says otherwise.
pub const CUDA_MODEL: &str = "Qwen/Qwen3-VL-8B-Instruct";
/// The model that is read with on a CPU, unless `--model` says otherwise.
pub const CPU_MODEL: &str = "Qwen/Qwen3-VL-2B-Instruct";

const DPI_RANGE: (f64, f64) = (1.0, 2400.0);
const MOST_WORKERS: usize = 1024;

/// `--engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    /// A Qwen3-VL model, from the page's pixels
    Qwen,
    /// The text that a PDF carries, without a model
    TextLayer,
}

/// `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device with this number, from 0.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| "write auto, cpu, cuda or cuda:N, where N counts from 0".to_owned()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// `--dtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DTypeChoice {
    /// The best for the device
    Auto,
    /// 32-bit floats
    F32,
    /// 16-bit floats with the range of f32
    Bf16,
    /// 16-bit floats
    F16,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressChoice {
    /// A bar on a terminal, else plain
    Auto,
    /// A bar that moves
    Bar,
    /// A line every 30 seconds
    Plain,
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
    /// Also what happens inside.
    Debug,
}

/// All that a run of `extract` needs to know, checked.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Settings {
    pub inputs: Inputs,
    pub pages: Option<PageSelection>,
    pub output: Target,
    pub format: OutputFormat,
    pub prompt: String,
    pub engine: EngineChoice,
    /// As typed; none for the default of the device.
    pub model: Option<String>,
    pub device: DeviceChoice,
    pub dtype: DTypeChoice,
    pub max_new_tokens: usize,
    pub temperature: f64,
    pub seed: u64,
    pub dpi: f64,
    /// As typed; [`Settings::pixel_budget`] settles them.
    pub min_pixels: Option<u64>,
    /// As typed.
    pub max_pixels: Option<u64>,
    pub workers: usize,
    pub prefetch: usize,
    pub progress: ProgressChoice,
    pub verbosity: Verbosity,
}

impl Settings {
    /// Checks what was typed and fills in what was not.
    pub fn new(typed: cli::Extract) -> Result<Self, UsageError> {
        let cli::Extract {
            input,
            output,
            model,
            pages,
            run,
            display,
        } = typed;
        let verbosity = match (display.quiet, display.verbose) {
            (true, 0) => Verbosity::Quiet,
            (true, _) => {
                return wrong("--quiet and --verbose contradict each other; use one of them");
            }
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Pages,
            (false, _) => Verbosity::Debug,
        };
        if model.max_new_tokens == 0 {
            return wrong("--max-new-tokens 0 leaves no room for an answer; use 1 or more");
        }
        if !(model.temperature.is_finite() && model.temperature >= 0.0) {
            let text = format!(
                "--temperature {} makes no sense; use 0 or more, like 0.7",
                model.temperature
            );
            return wrong(text);
        }
        if !(DPI_RANGE.0..=DPI_RANGE.1).contains(&pages.dpi) {
            return wrong(format!(
                "--dpi {} is not between {} and {}; 200 is usual",
                pages.dpi, DPI_RANGE.0, DPI_RANGE.1
            ));
        }
        if let (Some(min), Some(max)) = (pages.min_pixels, pages.max_pixels)
            && max < min
        {
            return wrong(format!(
                "--max-pixels {max} is below --min-pixels {min}; it must be at least as large"
            ));
        }
        if model
            .model
            .as_deref()
            .is_some_and(|name| name.trim().is_empty())
        {
            return wrong(format!(
                "--model is empty; name a folder or a Hugging Face id like {CPU_MODEL}"
            ));
        }
        let workers = run
            .workers
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
        if !(1..=MOST_WORKERS).contains(&workers) {
            return wrong(format!(
                "--workers {workers} is not between 1 and {MOST_WORKERS}"
            ));
        }
        let prefetch = run.prefetch.unwrap_or(2 * workers);
        if prefetch == 0 {
            return wrong("--prefetch 0 would prepare nothing; use 1 or more");
        }
        Ok(Self {
            inputs: Inputs {
                paths: input.inputs,
                files_from: input.files_from,
                include: globs("--include", "OMNIDOCS_INCLUDE", input.include)?,
                exclude: globs("--exclude", "OMNIDOCS_EXCLUDE", input.exclude)?,
            },
            pages: input.pages,
            prompt: prompt(output.format, output.prompt, output.prompt_file.as_deref())?,
            output: if output.output == Path::new("-") {
                Target::Stdout
            } else {
                Target::File(output.output)
            },
            format: output.format,
            engine: model.engine,
            model: model.model,
            device: model.device,
            dtype: model.dtype,
            max_new_tokens: model.max_new_tokens,
            temperature: model.temperature,
            seed: model.seed,
            dpi: pages.dpi,
            min_pixels: pages.min_pixels,
            max_pixels: pages.max_pixels,
            workers,
            prefetch,
            progress: display.progress,
            verbosity,
        })
    }

    /// The pixel budget of a page for a model with limits of its own.
    ///
    /// The model's upper limit is capped at [`MAX_PIXELS`]; what the user asks for replaces the model's limit, and the
    /// other limit gives way to it.
    pub fn pixel_budget(&self, model: &PixelBudget) -> Result<PixelBudget, UsageError> {
        let smallest = u64::from(model.factor) * u64::from(model.factor);
        if let Some(max) = self.max_pixels.filter(|&max| max < smallest) {
            let side = model.factor;
            return wrong(format!(
                "--max-pixels {max} is too small for this model; use {smallest} ({side} × {side}) or more"
            ));
        }
        let max = self.max_pixels.unwrap_or_else(|| {
            model
                .max_pixels
                .min(MAX_PIXELS)
                .max(self.min_pixels.unwrap_or(0))
        });
        let min = self.min_pixels.unwrap_or(model.min_pixels.min(max));
        Ok(PixelBudget {
            factor: model.factor,
            min_pixels: min,
            max_pixels: max,
        })
    }
}

fn wrong<T>(message: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError(message.into()))
}

fn prompt(
    format: OutputFormat,
    text: Option<String>,
    file: Option<&Path>,
) -> Result<String, UsageError> {
    let (flag, text) = match (text, file) {
        (Some(_), Some(_)) => {
            return wrong("--prompt and --prompt-file are both given; use one of them");
        }
        (Some(text), None) => ("--prompt".to_owned(), text),
        (None, Some(file)) => match fs::read_to_string(file) {
            Ok(text) => (
                format!("--prompt-file {}", file.display()),
                text.trim_end().to_owned(),
            ),
            Err(error) => {
                return wrong(format!(
                    "--prompt-file {}: it can't be read: {error}",
                    file.display()
                ));
            }
        },
        (None, None) => return Ok(default_prompt(format).to_owned()),
    };
    if text.trim().is_empty() {
        return wrong(format!(
            "{flag} is empty; leave it out to ask for {}",
            format_name(format)
        ));
    }
    Ok(text)
}

fn format_name(format: OutputFormat) -> &'static str {
    match format {
        OutputFormat::Markdown => "Markdown",
        OutputFormat::Html => "HTML",
        OutputFormat::Text => "plain text",
    }
}

/// What the model is asked for each format.
fn default_prompt(format: OutputFormat) -> &'static str {
    match format {
        OutputFormat::Markdown => {
            "Extract all text from this document image and return it in clean Markdown format. Preserve the document \
             structure including headings, lists, tables, and paragraphs. For tables, use Markdown table syntax. For \
             formulas, use LaTeX notation."
        }
        OutputFormat::Html => {
            "Extract all text from this document image and return it as clean HTML with semantic tags. Preserve the \
             document structure including headings, lists, tables, and paragraphs: use h1 to h6, p, ul, ol, li, table, \
             tr, th, td, figure and figcaption. For formulas, use LaTeX notation."
        }
        OutputFormat::Text => {
            "Extract all text from this document image and return it as plain text in reading order, without any \
             markup. Keep line breaks between paragraphs, list items and table rows."
        }
    }
}

/// Globs typed one per flag; if there are none, those of the environment variable, separated by commas.
fn globs(flag: &str, variable: &str, typed: Vec<String>) -> Result<Option<Globs>, UsageError> {
    let (origin, globs) = if typed.is_empty() {
        let listed = env::var(variable).unwrap_or_default();
        (
            variable,
            split_globs(&listed)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        )
    } else {
        (flag, typed)
    };
    if globs.is_empty() {
        return Ok(None);
    }
    match Globs::new(&globs) {
        Ok(globs) => Ok(Some(globs)),
        Err(error) => wrong(format!(
            "{origin}: {error}; a glob looks like '*.pdf' or 'scans/**'"
        )),
    }
}

/// Splits at commas that do not stand in `{a,b}` or `[,]`.
fn split_globs(list: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = list.split(|character| {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}
