//! The record: one line of the output for one page.

mod build;
mod copy;
mod one_line;
pub mod schema;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::build::{Admitted, PageFacts};
pub use crate::confidence::Confidence;
use crate::{
    block::Block,
    error::PageError,
    options::OutputFormat,
    page::{FinishReason, Format, Warning},
};

/// The schema version of a record.
pub const SCHEMA: u32 = 2;
/// The schema versions of outputs that can be resumed or merged.
pub const READABLE: RangeInclusive<u32> = 1..=2;

/// How a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The page was read.
    Ok,
    /// The page, or its document, could not be read; `error` says why.
    Failed,
    /// The page is blank.
    Blank,
    /// The page was not read, as `--skip` asks; `skip_reason` says by which rule.
    Skipped,
}

/// The name of a status, a warning, or a kind of error, as records spell it.
#[must_use]
pub fn spelled(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// The page's timings, in whole milliseconds. All are 0 for a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// Opening, rendering, resizing, and Tesseract's reading for drafts.
    pub prepare: u64,
    /// Vision tower and prompt.
    pub prefill: u64,
    /// Generation.
    pub decode: u64,
    /// The sum, without time spent waiting.
    pub total: u64,
}

/// The record of one page, or of a range of pages that the file does not have. Fields that are unknown are null.
///
/// Lines of schema 1 can be read too: what is new in schema 2 is `None` then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The schema version: [`SCHEMA`] in what is written, 1 in older outputs.
    pub schema: u32,
    /// The path as given, or below the given folder.
    pub path: String,
    /// The path's bytes in base64, if it is not UTF-8, so that `path` has replacement characters.
    pub path_bytes: Option<String>,
    /// The last part of `path`.
    pub filename: String,
    /// SHA-256 of the file's bytes, in hex.
    pub doc_id: Option<String>,
    /// If the content was not read from this file: the path with the same bytes that it was read from.
    pub copy_of: Option<String>,
    /// The format, detected by content.
    pub format: Option<Format>,
    /// The file's size in bytes.
    pub size_bytes: Option<u64>,
    /// 1-based; 0 for a document that can't be opened.
    pub page: u32,
    /// The last page of a range, which starts at `page`: pages that the document claims and does not have.
    pub last_page: Option<u32>,
    /// Pages in the document, as it claims.
    pub page_count: Option<u32>,
    /// Width in the file, upright: pixels, or whole points of a PDF page.
    pub original_width: Option<u32>,
    /// Height in the file, upright: pixels, or whole points of a PDF page.
    pub original_height: Option<u32>,
    /// Degrees clockwise by which the page was turned before the model saw it, besides what its file asks for (EXIF
    /// orientation, `/Rotate`), which is always done; null if there were no pixels to turn.
    pub rotation: Option<u16>,
    /// Width in pixels that the model saw.
    pub width: Option<u32>,
    /// Height in pixels that the model saw.
    pub height: Option<u32>,
    /// Number of overlapping or adjacent parts that the model saw one by one, since the page is large or long; null if it saw
    /// the page whole.
    pub parts: Option<usize>,
    /// The page's status.
    pub status: Status,
    /// The rule by which the page was skipped, in the words of `--skip`: `forms`, `non-text`, or the language that was found,
    /// like `language:de`.
    pub skip_reason: Option<String>,
    /// The page's content; null if it failed or was skipped, empty if it is blank.
    pub content: Option<String>,
    /// The parts of the page, in reading order; null where the format or the answer has none.
    pub blocks: Option<Vec<Block>>,
    /// The format of `content`.
    pub output_format: OutputFormat,
    /// Number of Unicode scalar values in `content`.
    pub content_length: usize,
    /// Number of words in `content`, split at white space.
    pub word_count: usize,
    /// Why generation stopped.
    pub finish_reason: Option<FinishReason>,
    /// How sure the model was; null where no model answered, or a server does not say.
    pub confidence: Option<Confidence>,
    /// The engine that answered, or the last one that failed.
    pub engine: String,
    /// The model that answered, as the user named it.
    pub model: Option<String>,
    /// The device that the model answered on, like `cpu` or `cuda:0`; null if the page was not passed to a model in this
    /// process.
    pub device: Option<String>,
    /// The number type of that model's weights.
    pub dtype: Option<String>,
    /// Number of attempts; 0 for a copy.
    pub attempts: u32,
    /// Tokens of the prompt, image included.
    pub prompt_tokens: Option<usize>,
    /// Tokens of the image.
    pub image_tokens: Option<usize>,
    /// Tokens generated.
    pub completion_tokens: Option<usize>,
    /// Number of forward passes of the decoder, including the prompt's.
    pub forward_passes: Option<usize>,
    /// Number of accepted draft tokens.
    pub draft_accepted: Option<usize>,
    /// The timings.
    pub timings_ms: Timings,
    /// The page's warnings.
    pub warnings: Vec<Warning>,
    /// Why the page failed.
    pub error: Option<PageError>,
}

impl Record {
    /// Number of pages that the record stands for: those of its range, else 1.
    #[must_use]
    pub fn pages(&self) -> usize {
        let last = self.last_page.unwrap_or(self.page).max(self.page);
        (last - self.page) as usize + 1
    }
}
