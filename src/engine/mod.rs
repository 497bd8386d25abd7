//! What every engine is to the pipeline: it pulls prepared pages and pushes outcomes, and knows nothing else.
//!
//! Engines that read a page when they are given one are [`PageReader`]s; what becomes of a page that fails there is the
//! same for all of them, in [`page_by_page`].

pub mod fallback;
pub mod page_by_page;
pub mod pool;
pub mod qwen;
pub mod server;
pub mod tesseract;
pub mod text_layer;
mod together;

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    error::PageError,
    page::{Needs, OutputFormat, PageId, PreparedPage},
    record::Warning,
};

/// Why an engine stopped writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model said that it was done.
    Stop,
    /// The token budget was used up.
    Length,
    /// The output ran in a loop and was cut.
    Repetition,
}

/// What an engine read on a page, and what it took.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PageAnswer {
    /// The page's content in the output format.
    pub content: String,
    /// Why the engine stopped; none for engines that don't generate.
    pub finish_reason: Option<FinishReason>,
    /// Tokens of the whole prompt, image tokens included.
    pub prompt_tokens: Option<usize>,
    /// Tokens that stand for the image.
    pub image_tokens: Option<usize>,
    /// Tokens generated, without the end-of-sequence token.
    pub completion_tokens: Option<usize>,
    /// How often the decoder ran, the prompt included.
    pub forward_passes: Option<usize>,
    /// Tokens that were guessed, from the page's text or from the answer so far, before the decoder wrote them.
    pub draft_accepted: Option<usize>,
    /// Vision tower and prompt.
    pub prefill: Duration,
    /// Generation after the first token.
    pub decode: Duration,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    /// The engine's name in records: `qwen`, `text-layer`, …
    pub engine: &'static str,
    /// The model, as the user named it; none for engines without one.
    pub model: Option<String>,
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
    pub by: EngineFacts,
    /// How often the page was tried.
    pub attempts: u32,
    /// (width, height) of the pixels that were read in the end; none if none were looked at.
    pub size: Option<(u32, u32)>,
    /// What happened on the way.
    pub warnings: Vec<Warning>,
}

/// What one of several engines has done of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Where it reads: `cuda:0`.
    pub device: String,
    /// Pages that it answered for.
    pub pages: usize,
    /// From the run's start to its last page.
    pub time: Duration,
    /// Whether it broke, so that others went on without it.
    pub lost: bool,
}

/// Reads pages. An implementation decides how many it holds at a time and in which order it finishes them.
pub trait Engine: Send {
    /// Who answers, unless an outcome says otherwise.
    fn facts(&self) -> &EngineFacts;

    /// What this engine looks at.
    fn needs(&self) -> Needs;

    /// Pulls pages until there are none and hands each outcome to `done`.
    ///
    /// A page that fails is an outcome. An `Err` means that no further page can be read, or that `done` failed.
    fn run(
        &mut self,
        pages: &mut dyn Iterator<Item = PreparedPage>,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()>;

    /// What each has done, if this is several engines.
    fn shares(&self) -> Vec<Share> {
        Vec::new()
    }
}

/// One try at a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// When there is no more time.
    pub deadline: Instant,
    /// Whether the page was read before, and the answer looped or was cut off. Then the same answer again is of no use.
    pub second_look: bool,
}

/// Reads a page when it is given one.
pub trait PageReader: Send {
    /// Who answers.
    fn facts(&self) -> &EngineFacts;

    /// What this reader looks at.
    fn needs(&self) -> Needs;

    /// Reads a page.
    ///
    /// # Errors
    /// The page can't be read, as it is or at all.
    fn read(&mut self, page: &PreparedPage, attempt: Attempt) -> Result<PageAnswer, PageError>;

    /// Why it can't read any further page, once that is so; then the run ends.
    fn broken(&self) -> Option<String> {
        None
    }

    /// How it reads several pages at a time, if it does.
    fn together(&mut self) -> Option<&mut dyn Together> {
        None
    }
}

/// What came of a try at a page.
pub type PageResult = Result<PageAnswer, PageError>;

/// Reads several pages at a time: a page that is done makes room for another while the others go on.
pub trait Together {
    /// How many pages it holds at most, at least two.
    fn slots(&self) -> usize;

    /// Takes a page in.
    ///
    /// # Errors
    /// The page can't be read, as it is or at all, or not beside so many others. Those are as they were.
    fn begin(&mut self, page: &PreparedPage, attempt: Attempt) -> Result<(), PageError>;

    /// Goes on with all pages; gives those that are done, which makes room for others.
    ///
    /// # Errors
    /// It could not go on; what it holds is of no use and is to be [cleared](Self::clear).
    fn step(&mut self) -> Result<Vec<(PageId, PageResult)>, PageError>;

    /// Lets go of all pages.
    fn clear(&mut self);
}
