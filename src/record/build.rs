//! Makes records of what preparation and engines give.

use std::{path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Record, SCHEMA, Status, Timings};
use crate::{
    block::{Block, turned_back},
    error::PageError,
    page::{
        EngineInfo, FinishReason, PageAnswer, PageOutcome, PageRef, Preparation, PreparedPage,
        Rotation, Warning,
    },
};

/// A side above this many pixels is a [`Warning::LargeImage`].
const LARGE: u32 = 4000;
/// A side below this many pixels is a [`Warning::LowResolution`].
const LOW: u32 = 600;
/// An answer above this many words is a [`Warning::VeryLongOutput`].
const MANY_WORDS: usize = 5000;
/// An answer with a stretch of tokens whose mean log-probability is below this is a [`Warning::LowConfidence`].
const UNSURE: f64 = -0.7;

/// What is known of a page besides the engine's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFacts {
    /// The page.
    pub page: PageRef,
    /// (width, height) in pixels as prepared; `None` if not rendered.
    pub size: Option<(u32, u32)>,
    /// (width, height) in pixels before that.
    pub original: Option<(u32, u32)>,
    /// (width, height) in the file, in pixels, or in points for a PDF.
    pub page_size: Option<(u32, u32)>,
    /// How it was turned before the model saw it.
    pub rotation: Rotation,
    /// Whether it is read in parts.
    pub in_parts: bool,
    /// What preparation noticed.
    pub warnings: Vec<Warning>,
    /// Preparation time.
    pub prepare: Duration,
    /// Number of attempts at preparation.
    pub attempts: u32,
}

impl PageFacts {
    /// What is known of a page that could not be prepared.
    #[must_use]
    pub fn unprepared(page: PageRef, prepare: Duration, attempts: u32) -> Self {
        Self {
            page,
            size: None,
            original: None,
            page_size: None,
            rotation: Rotation::None,
            in_parts: false,
            warnings: Vec::new(),
            prepare,
            attempts,
        }
    }
}

/// What becomes of a page after its preparation.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
pub enum Admitted {
    /// It ends here: it could not be prepared, is blank, or is skipped.
    Record(Box<Record>),
    /// An engine reads it.
    Page(PageFacts, PreparedPage),
}

impl Record {
    /// The record of a page that could not be prepared, is blank or is skipped; else the page, and what its record will need.
    #[must_use]
    pub fn admit(preparation: Preparation, engine: &EngineInfo) -> Admitted {
        let Preparation {
            page,
            result,
            elapsed,
            attempts,
            passed_over: _,
        } = preparation;
        let mut facts = PageFacts::unprepared(page, elapsed, attempts);
        let record = match result {
            Err(error) => Self::failed(&facts, &unread(engine), error),
            Ok(page) => {
                facts.size = page.pixels.as_ref().map(|image| image.dimensions());
                facts.original = page.original;
                facts.page_size = page.page_size;
                facts.rotation = page.rotation;
                facts.in_parts = !page.parts.is_empty();
                facts.warnings.clone_from(&page.warnings);
                match page.skip {
                    Some(reason) => Self::skipped(&facts, &unread(engine), reason),
                    None if page.blank => Self::blank(&facts, &unread(engine)),
                    None => return Admitted::Page(facts, page),
                }
            }
        };
        Admitted::Record(Box::new(record))
    }

    /// The record of a page that went through an engine.
    #[must_use]
    pub fn read(facts: &PageFacts, outcome: PageOutcome) -> Self {
        let PageOutcome {
            id: _,
            result,
            by,
            attempts,
            size,
            warnings,
            elapsed,
        } = outcome;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                let mut record = Self::failed(facts, &by, error);
                record.attempts = facts.attempts - 1 + attempts;
                record.timings_ms.total = milliseconds(facts.prepare + elapsed);
                record.warnings.extend(warnings);
                return record;
            }
        };
        let PageAnswer {
            content,
            blocks,
            unparsed,
            finish_reason,
            prompt_tokens,
            image_tokens,
            completion_tokens,
            confidence,
            forward_passes,
            draft_accepted,
            parts,
            turned,
            prefill,
            decode,
        } = answer;
        let mut record = Self::new(facts, &by, Status::Ok);
        (record.width, record.height) = size.map(|size| turned.turn_size(size)).unzip();
        record.rotation = size.map(|_| facts.rotation.then(turned).degrees());
        record.content_length = content.chars().count();
        record.word_count = content.split_whitespace().count();
        record.content = Some(content);
        record.blocks = blocks.map(|blocks| as_stored(blocks, record.rotation.unwrap_or(0)));
        record.finish_reason = finish_reason;
        record.confidence = confidence;
        record.attempts = facts.attempts - 1 + attempts;
        record.prompt_tokens = prompt_tokens;
        record.image_tokens = image_tokens;
        record.completion_tokens = completion_tokens;
        record.forward_passes = forward_passes;
        record.draft_accepted = draft_accepted;
        record.parts = parts;
        record.timings_ms.prefill = milliseconds(prefill);
        record.timings_ms.decode = milliseconds(decode);
        record.timings_ms.total = milliseconds(facts.prepare + elapsed);
        record.warnings.extend(warnings);
        record.warnings.extend(finish_reason.and_then(cut_off));
        if record.word_count > MANY_WORDS {
            record.warnings.push(Warning::VeryLongOutput);
        }
        if confidence.is_some_and(|confidence| confidence.worst < UNSURE) {
            record.warnings.push(Warning::LowConfidence);
        }
        record
            .warnings
            .extend(unparsed.then_some(Warning::Unparsed));
        record
    }

    /// The record of a blank page, which is not passed to `engine`.
    #[must_use]
    pub fn blank(facts: &PageFacts, engine: &EngineInfo) -> Self {
        Self {
            content: Some(String::new()),
            ..Self::new(facts, engine, Status::Blank)
        }
    }

    /// The record of a page that is not passed to `engine`, by this rule of `--skip`.
    #[must_use]
    pub fn skipped(facts: &PageFacts, engine: &EngineInfo, reason: String) -> Self {
        Self {
            skip_reason: Some(reason),
            ..Self::new(facts, engine, Status::Skipped)
        }
    }

    /// The record of a page that failed in `engine` or in preparation.
    #[must_use]
    pub fn failed(facts: &PageFacts, engine: &EngineInfo, error: PageError) -> Self {
        Self {
            error: Some(error),
            ..Self::new(facts, engine, Status::Failed)
        }
    }

    /// The record's fields that are known before reading.
    fn new(facts: &PageFacts, engine: &EngineInfo, status: Status) -> Self {
        let document = &facts.page.document;
        let (original_width, original_height) = facts.page_size.unzip();
        let (width, height) = facts.size.unzip();
        Self {
            schema: SCHEMA,
            path: document.path.to_string_lossy().into_owned(),
            path_bytes: path_bytes(&document.path),
            filename: filename(&document.path),
            doc_id: document.doc_id.clone(),
            copy_of: None,
            format: document.format,
            size_bytes: document.size_bytes,
            page: facts.page.number,
            last_page: facts.page.last_number,
            page_count: document.page_count,
            original_width,
            original_height,
            rotation: facts.size.map(|_| facts.rotation.degrees()),
            width,
            height,
            parts: None,
            status,
            skip_reason: None,
            content: None,
            blocks: None,
            output_format: engine.output_format,
            content_length: 0,
            word_count: 0,
            finish_reason: None,
            confidence: None,
            engine: engine.engine.to_owned(),
            model: engine.model.clone(),
            device: engine.device.clone(),
            dtype: engine.dtype.map(str::to_owned),
            attempts: facts.attempts,
            prompt_tokens: None,
            image_tokens: None,
            completion_tokens: None,
            forward_passes: None,
            draft_accepted: None,
            timings_ms: Timings {
                prepare: milliseconds(facts.prepare),
                total: milliseconds(facts.prepare),
                ..Timings::default()
            },
            warnings: {
                let mut of_size = facts.original.map(of_size).unwrap_or_default();
                // Read in parts, a large page is not much reduced.
                of_size.retain(|&warning| !(facts.in_parts && warning == Warning::LargeImage));
                let noticed = facts.warnings.iter().copied();
                of_size.into_iter().chain(noticed).collect()
            },
            error: None,
        }
    }
}

/// An engine that did not get the page.
fn unread(engine: &EngineInfo) -> EngineInfo {
    EngineInfo {
        device: None,
        dtype: None,
        ..engine.clone()
    }
}

/// The last part of a path.
pub(super) fn filename(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The bytes of a path that is not UTF-8.
pub(super) fn path_bytes(path: &Path) -> Option<String> {
    let loses = path.to_str().is_none();
    loses.then(|| STANDARD.encode(path.as_os_str().as_encoded_bytes()))
}

/// Blocks of a page that was turned clockwise by so many degrees when it was prepared, on the page as it is stored.
fn as_stored(mut blocks: Vec<Block>, rotation: u16) -> Vec<Block> {
    for block in &mut blocks {
        block.bbox = block.bbox.map(|bbox| turned_back(bbox, rotation));
    }
    blocks
}

fn of_size((width, height): (u32, u32)) -> Vec<Warning> {
    let large = (width.max(height) > LARGE).then_some(Warning::LargeImage);
    let low = (width.min(height) < LOW).then_some(Warning::LowResolution);
    large.into_iter().chain(low).collect()
}

fn cut_off(reason: FinishReason) -> Option<Warning> {
    match reason {
        FinishReason::Stop => None,
        FinishReason::Length => Some(Warning::Truncated),
        FinishReason::Repetition => Some(Warning::Repetition),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
