//! The nouns that the stages share: what is found, what is opened, what is ready for an engine.

mod part;
mod rotation;

use std::{ops::Range, path::PathBuf, sync::Arc, time::Duration};

use image::RgbImage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    part::{Joint, Part},
    rotation::Rotation,
};
pub use crate::formats::Format;
use crate::{
    block::Block, confidence::Confidence, error::PageError, options::OutputFormat, stamp::Stamp,
};

/// One input as discovery leaves it: a path that exists, or the reason why it can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As the user gave it, or below the folder that the user gave.
    pub path: PathBuf,
    /// The file's size in bytes, if it could be found out.
    pub size_bytes: Option<u64>,
    /// What discovery ran into here (a missing file, a folder that may not be read).
    pub error: Option<PageError>,
}

/// A document that was opened, as far as that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// As in [`Source::path`].
    pub path: PathBuf,
    /// The file's size in bytes, if it could be found out.
    pub size_bytes: Option<u64>,
    /// SHA-256 of the file's bytes in lower-case hex, as `sha256sum` prints it; `None` if the file is empty or
    /// unreadable.
    pub doc_id: Option<String>,
    /// The format, detected by content; `None` if unknown.
    pub format: Option<Format>,
    /// Number of pages that it claims; `None` if the document can't be opened.
    pub page_count: Option<u32>,
    /// The file's stamp when `doc_id` was made; `None` if unknown.
    pub stamp: Option<Stamp>,
}

impl Document {
    /// The file at `path`, of which nothing is known yet.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self {
            path,
            size_bytes: None,
            doc_id: None,
            format: None,
            page_count: None,
            stamp: None,
        }
    }

    /// Whether the file is not the one any more that `doc_id` was made of.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        let stamp = self.stamp.as_ref();
        stamp.is_some_and(|stamp| !stamp.still_holds(&self.path))
    }
}

/// One page of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRef {
    /// The document that the page belongs to.
    pub document: Arc<Document>,
    /// 1-based; 0 stands for a document that can't be opened.
    pub number: u32,
    /// The last page of a range of pages that the document claims and does not have; `None` for a single page.
    pub last_number: Option<u32>,
}

impl PageRef {
    /// A single page.
    #[must_use]
    pub fn new(document: &Arc<Document>, number: u32) -> Self {
        Self {
            document: Arc::clone(document),
            number,
            last_number: None,
        }
    }

    /// The range from this page to `last`, if that is another one.
    #[must_use]
    pub fn up_to(self, last: u32) -> Self {
        Self {
            last_number: Some(last).filter(|&last| last > self.number),
            ..self
        }
    }
}

/// A ticket that an engine hands back with its answer, so that it needs to know nothing else of where a page came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PageId(pub u64);

/// The text layer of a PDF page, as PDFium reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageText {
    /// Lines separated by `\n`.
    pub text: String,
    /// Where its paragraphs are, in their order; empty where nothing is known of that.
    pub places: Vec<TextPlace>,
}

/// Where a part of a text is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextPlace {
    /// Its bytes.
    pub bytes: Range<usize>,
    /// Left, top, right and bottom in ten-thousandths of the sides of the upright page.
    pub bbox: [u16; 4],
}

impl From<String> for PageText {
    fn from(text: String) -> Self {
        Self {
            text,
            places: Vec::new(),
        }
    }
}

impl PageText {
    /// A text with more than one meaningless character in so many says nothing.
    const MAX_MEANINGLESS: usize = 5;

    /// Why a page's text layer does not say what the page shows; `None` if it does.
    #[must_use]
    pub fn distrust(layer: Option<&Self>, is_scan: bool) -> Option<&'static str> {
        match layer {
            None => Some("an image has no text layer"),
            Some(layer) if layer.text.trim().is_empty() => Some(
                "the page's text layer is empty, like that of a scan, or none of it can be seen",
            ),
            Some(_) if is_scan => Some(
                "the page is an image, and its text layer holds no more than a stamp or a page number",
            ),
            Some(layer) if !layer.is_meaningful() => Some(
                "the page's text layer has no usable characters: its fonts don't map them to Unicode",
            ),
            Some(_) => None,
        }
    }

    /// Whether most of what is no white space says which character it is. Fonts without a table of their characters leave
    /// replacement characters, or values of the private use area.
    fn is_meaningful(&self) -> bool {
        let means_nothing = |c: char| {
            c == char::REPLACEMENT_CHARACTER
                || matches!(c, '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..='\u{10FFFD}')
        };
        let visible = self.text.chars().filter(|c| !c.is_whitespace());
        let (mut all, mut meaningless) = (0, 0);
        for character in visible {
            all += 1;
            meaningless += usize::from(means_nothing(character));
        }
        meaningless * Self::MAX_MEANINGLESS <= all
    }
}

/// A page that is ready for an engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PreparedPage {
    /// Handed back with the outcome.
    pub id: PageId,
    /// u8 RGB at the size that the model sees; `None` if no engine of this run needs pixels.
    pub pixels: Option<Arc<RgbImage>>,
    /// (width, height) before the page was brought to that size: those of the image file, or of the PDF page at its
    /// dots per inch.
    pub original: Option<(u32, u32)>,
    /// (width, height) in the file: pixels, or points for a PDF.
    pub page_size: Option<(u32, u32)>,
    /// How the pixels were turned to be upright; the other sizes are those of the page as it is stored.
    pub rotation: Rotation,
    /// Whether the pixels show nothing at all.
    pub blank: bool,
    /// The text layer, if an engine of this run uses it; none where the page has none (an image).
    pub text: Option<PageText>,
    /// Whether the page is an image with next to no text over it, so that its text layer does not say what it shows.
    pub is_scan: bool,
    /// The rule of `--skip` by which it is not read; such a page has no pixels.
    pub skip: Option<String>,
    /// What preparation noticed.
    pub warnings: Vec<Warning>,
    /// Tesseract's text of the page, as a source of drafts; `None` if the text layer is enough.
    pub draft: Option<String>,
    /// The parts of the pixels that the model sees one by one, in reading order; none if it sees all at once.
    pub parts: Vec<Part>,
}

/// What a run's engine needs prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Render the page.
    pub pixels: bool,
    /// Read the page's text layer.
    pub text: bool,
}

impl Needs {
    /// What two engines need together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            pixels: self.pixels || other.pixels,
            text: self.text || other.text,
        }
    }
}

/// A page that was prepared.
#[derive(Debug)]
pub struct Preparation {
    /// The page.
    pub page: PageRef,
    /// The page, or why there is none.
    pub result: Result<PreparedPage, PageError>,
    /// Time spent on this page by the preparing thread.
    pub elapsed: Duration,
    /// Number of attempts.
    pub attempts: u32,
    /// Documents before this one in the input that gave no page, so far as is known.
    pub passed_over: u64,
}

/// What the preparation stage gives out for each page of each path, in input order.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
pub enum Upcoming {
    /// A page that was prepared.
    Page(Preparation),
    /// A page of a copy: another path with the same bytes has its record, or will have it.
    Copy(PageRef),
}

/// How large a page may be for the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelBudget {
    /// Height and width become multiples of this many pixels: patch size × spatial merge, 32 for Qwen3-VL.
    pub factor: u32,
    /// Smaller pages are enlarged to at least this many pixels.
    pub min_pixels: u64,
    /// Larger pages are reduced to at most this many pixels.
    pub max_pixels: u64,
}

/// Why an engine stopped writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended the answer.
    Stop,
    /// The token budget was used up.
    Length,
    /// The output ran in a loop and was cut.
    Repetition,
}

/// An engine's answer for a page, with its statistics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PageAnswer {
    /// The page's content in the output format.
    pub content: String,
    /// Its blocks, with boxes on the page as the engine got it; none where it gives none.
    pub blocks: Option<Vec<Block>>,
    /// Whether the answer is not in the form that was asked for.
    pub unparsed: bool,
    /// Why the engine stopped; none for engines that don't generate.
    pub finish_reason: Option<FinishReason>,
    /// Tokens of the whole prompt, image tokens included.
    pub prompt_tokens: Option<usize>,
    /// Tokens of the image.
    pub image_tokens: Option<usize>,
    /// Tokens generated, without the end-of-sequence token.
    pub completion_tokens: Option<usize>,
    /// How sure the model was, if it says.
    pub confidence: Option<Confidence>,
    /// Number of forward passes of the decoder, including the prompt's.
    pub forward_passes: Option<usize>,
    /// Number of accepted draft tokens, from the page's text or from the answer so far.
    pub draft_accepted: Option<usize>,
    /// Number of parts that the page was read in; none if it was read whole.
    pub parts: Option<usize>,
    /// How the page was turned further, since the model asked for it.
    pub turned: Rotation,
    /// Vision tower and prompt.
    pub prefill: Duration,
    /// Generation after the first token.
    pub decode: Duration,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// The engine's name in records: `qwen`, `text-layer`, …
    pub engine: &'static str,
    /// The model, as the user named it; none for engines without one.
    pub model: Option<String>,
    /// Where the model runs, like `cpu` or `cuda:0`; none if that is not in this process.
    pub device: Option<String>,
    /// The number type of the model's weights, if it runs in this process.
    pub dtype: Option<&'static str>,
    /// What its answers are written in.
    pub output_format: OutputFormat,
}

/// The end of a page's way through an engine.
#[derive(Debug)]
pub struct PageOutcome {
    /// The ticket of the page.
    pub id: PageId,
    /// What was read, or why nothing was.
    pub result: Result<PageAnswer, PageError>,
    /// Who answered, or failed last.
    pub by: EngineInfo,
    /// Number of attempts.
    pub attempts: u32,
    /// (width, height) of the pixels that were finally read; `None` if the engine needs no pixels.
    pub size: Option<(u32, u32)>,
    /// What happened on the way.
    pub warnings: Vec<Warning>,
    /// From the engine's taking the page to its answer.
    pub elapsed: Duration,
}

/// What an engine on one of several devices has done of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStats {
    /// Where it reads: `cuda:0`.
    pub device: String,
    /// Pages that it answered for.
    pub pages: usize,
    /// From the run's start to its last page.
    pub time: Duration,
    /// Whether it was lost, and the others went on.
    pub lost: bool,
}

/// A warning about a record's content. A closed set.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// The answer was cut off by `--max-new-tokens`.
    Truncated,
    /// The content ran in a loop and was cut there.
    Repetition,
    /// The page took more than five times as long as the median of the latest ones, and more than a second.
    SlowPage,
    /// The content has more than 5000 words, which is more than a page of print can have.
    VeryLongOutput,
    /// A side of the page is longer than 4000 pixels, so that the model sees it much reduced.
    LargeImage,
    /// A side of the page is shorter than 600 pixels, which may be too few to be read well.
    LowResolution,
    /// Another engine than the run's first one answered.
    FallbackUsed,
    /// The page was read at a smaller size, since memory ran out at its own.
    DownscaledAfterOom,
    /// Text of the page is not in its pixels, since no installed font has its letters.
    MissingGlyphs,
    /// The file is damaged, and what could be read of the page is.
    DamagedFile,
    /// The page only says that its document can't be shown: a form of XML alone, or a portfolio of files.
    Placeholder,
    /// The model was unsure of a part of the page: `confidence.worst` is below −0.7, where the mean token has a probability
    /// of one in two.
    LowConfidence,
    /// The answer is not in the form that was asked for, so that all of it is one block.
    Unparsed,
}
