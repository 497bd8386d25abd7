//! What every engine is to the pipeline: it pulls prepared pages and pushes outcomes, and knows nothing else.

pub mod qwen;
pub mod text_layer;

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    document::{Needs, PageId, PreparedPage},
    error::PageError,
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
    /// Vision tower and prompt.
    pub prefill: Duration,
    /// Generation after the first token.
    pub decode: Duration,
}

/// The end of a page's way through an engine.
#[derive(Debug)]
pub struct PageOutcome {
    /// The ticket of the page.
    pub id: PageId,
    /// What was read, or why nothing was.
    pub result: Result<PageAnswer, PageError>,
}

/// Reads pages. An implementation decides how many it holds at a time and in which order it finishes them.
pub trait Engine {
    /// The engine's name in records: `qwen`, `text-layer`, …
    fn name(&self) -> &'static str;

    /// The model that answers, as the user named it; none for engines without one.
    fn model(&self) -> Option<&str>;

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
}
