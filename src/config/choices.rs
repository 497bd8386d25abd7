//! The values that options choose from.

use std::{fmt, str::FromStr};

use clap::ValueEnum;

/// `--engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    /// A Qwen3-VL model, from the page's pixels
    Qwen,
    /// A model behind an OpenAI-compatible server, from the page's pixels
    Server,
    /// The installed program `tesseract`, from the page's pixels
    Tesseract,
    /// The text that a PDF carries, without a model
    TextLayer,
}

/// `--fallback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FallbackChoice {
    /// The installed program `tesseract`
    Tesseract,
    /// The text that a PDF carries
    TextLayer,
}

impl From<FallbackChoice> for EngineChoice {
    fn from(choice: FallbackChoice) -> Self {
        match choice {
            FallbackChoice::Tesseract => Self::Tesseract,
            FallbackChoice::TextLayer => Self::TextLayer,
        }
    }
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
    /// 8-bit weights, 32-bit sums
    #[value(name = "q8_0")]
    Q8_0,
    /// 4-bit weights, 32-bit sums
    #[value(name = "q4_k")]
    Q4K,
}

/// `--draft`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DraftChoice {
    /// From all that helps: today the text layer and the answer so far
    Auto,
    /// From the page's text layer and the answer so far
    TextLayer,
    /// No guesses
    Off,
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
