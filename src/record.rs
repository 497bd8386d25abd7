//! The record: one line of the output for one page.

mod one_line;

use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    error::PageError,
    options::OutputFormat,
    page::{EngineInfo, FinishReason, Format, PageAnswer, PageOutcome, PageRef, Warning},
};

/// The schema version of a record.
pub const SCHEMA: u32 = 1;
/// The schema versions of outputs that can be resumed or merged.
pub const READABLE: RangeInclusive<u32> = 1..=2;

/// A side above this many pixels is a [`Warning::LargeImage`].
const LARGE: u32 = 4000;
/// A side below this many pixels is a [`Warning::LowResolution`].
const LOW: u32 = 600;
/// An answer above this many words is a [`Warning::VeryLongOutput`].
const MANY_WORDS: usize = 5000;

/// How a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The page was read.
    Ok,
    /// The page, or its document, could not be read; `error` says why.
    Failed,
    /// The page is blank.
    Blank,
}

/// The page's timings, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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

/// The record of one page. Fields that are unknown for a failed page are null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The path as given, or below the given folder.
    pub path: String,
    /// The last part of `path`.
    pub filename: String,
    /// SHA-256 of the file's bytes, in hex.
    pub doc_id: Option<String>,
    /// The format, detected by content.
    pub format: Option<Format>,
    /// The file's size in bytes.
    pub size_bytes: Option<u64>,
    /// 1-based; 0 for a document that can't be opened.
    pub page: u32,
    /// Pages in the document.
    pub page_count: Option<u32>,
    /// Width in pixels that the model saw.
    pub width: Option<u32>,
    /// Height in pixels that the model saw.
    pub height: Option<u32>,
    /// The page's status.
    pub status: Status,
    /// The page's content; null if it failed, empty if it is blank.
    pub content: Option<String>,
    /// The format of `content`.
    pub output_format: OutputFormat,
    /// Number of Unicode scalar values in `content`.
    pub content_length: usize,
    /// Number of words in `content`, split at white space.
    pub word_count: usize,
    /// Why generation stopped.
    pub finish_reason: Option<FinishReason>,
    /// The engine that answered, or the last one that failed.
    pub engine: String,
    /// The model that answered, as the user named it.
    pub model: Option<String>,
    /// Number of attempts.
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

/// What is known of a page besides the engine's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFacts {
    /// The page.
    pub page: PageRef,
    /// (width, height) in pixels as prepared; `None` if not rendered.
    pub size: Option<(u32, u32)>,
    /// (width, height) in pixels before that.
    pub original: Option<(u32, u32)>,
    /// Preparation time.
    pub prepare: Duration,
    /// Number of attempts at preparation.
    pub attempts: u32,
}

impl Record {
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
            finish_reason,
            prompt_tokens,
            image_tokens,
            completion_tokens,
            forward_passes,
            draft_accepted,
            prefill,
            decode,
        } = answer;
        let mut record = Self::new(facts, &by, Status::Ok);
        (record.width, record.height) = size.unzip();
        record.content_length = content.chars().count();
        record.word_count = content.split_whitespace().count();
        record.content = Some(content);
        record.finish_reason = finish_reason;
        record.attempts = facts.attempts - 1 + attempts;
        record.prompt_tokens = prompt_tokens;
        record.image_tokens = image_tokens;
        record.completion_tokens = completion_tokens;
        record.forward_passes = forward_passes;
        record.draft_accepted = draft_accepted;
        record.timings_ms.prefill = milliseconds(prefill);
        record.timings_ms.decode = milliseconds(decode);
        record.timings_ms.total = milliseconds(facts.prepare + elapsed);
        record.warnings.extend(warnings);
        record.warnings.extend(finish_reason.and_then(cut_off));
        if record.word_count > MANY_WORDS {
            record.warnings.push(Warning::VeryLongOutput);
        }
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
        Self {
            schema: SCHEMA,
            path: document.path.to_string_lossy().into_owned(),
            filename: document
                .path
                .file_name()
                .unwrap_or(document.path.as_os_str())
                .to_string_lossy()
                .into_owned(),
            doc_id: document.doc_id.clone(),
            format: document.format,
            size_bytes: document.size_bytes,
            page: facts.page.number,
            page_count: document.page_count,
            width: facts.size.map(|(width, _)| width),
            height: facts.size.map(|(_, height)| height),
            status,
            content: None,
            output_format: engine.output_format,
            content_length: 0,
            word_count: 0,
            finish_reason: None,
            engine: engine.engine.to_owned(),
            model: engine.model.clone(),
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
            warnings: facts.original.map(of_size).unwrap_or_default(),
            error: None,
        }
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        error::{ErrorKind, Stage},
        page::{Document, PageId},
    };

    fn facts() -> PageFacts {
        let document = Arc::new(Document {
            path: "pdfs/a.pdf".into(),
            size_bytes: Some(81_234),
            doc_id: Some("c0ffee".to_owned()),
            format: Some(Format::Pdf),
            page_count: Some(12),
        });
        PageFacts {
            page: PageRef {
                document,
                number: 3,
            },
            size: Some((1376, 1792)),
            original: Some((1654, 2339)),
            prepare: Duration::from_micros(41_900),
            attempts: 1,
        }
    }

    fn engine() -> EngineInfo {
        EngineInfo {
            engine: "qwen",
            model: Some("Qwen/Qwen3-VL-8B-Instruct".to_owned()),
            output_format: OutputFormat::Markdown,
        }
    }

    fn outcome(result: Result<PageAnswer, PageError>) -> PageOutcome {
        PageOutcome {
            id: PageId(0),
            result,
            by: engine(),
            attempts: 1,
            size: Some((1376, 1792)),
            warnings: Vec::new(),
            elapsed: Duration::from_millis(3_221),
        }
    }

    fn record(answer: PageAnswer) -> Record {
        Record::read(&facts(), outcome(Ok(answer)))
    }

    #[test]
    fn record_has_names_and_order_of_schema_1() {
        let record = record(PageAnswer {
            content: "# Größe\n\ntwo  words".to_owned(),
            finish_reason: Some(FinishReason::Stop),
            prompt_tokens: Some(2_011),
            image_tokens: Some(1_960),
            completion_tokens: Some(402),
            forward_passes: Some(97),
            draft_accepted: Some(305),
            prefill: Duration::from_millis(310),
            decode: Duration::from_millis(2_900),
        });
        let line = serde_json::to_string(&record).unwrap();
        insta::assert_snapshot!(line, @r##"{"schema":1,"path":"pdfs/a.pdf","filename":"a.pdf","doc_id":"c0ffee","format":"pdf","size_bytes":81234,"page":3,"page_count":12,"width":1376,"height":1792,"status":"ok","content":"# Größe\n\ntwo  words","output_format":"markdown","content_length":19,"word_count":4,"finish_reason":"stop","engine":"qwen","model":"Qwen/Qwen3-VL-8B-Instruct","attempts":1,"prompt_tokens":2011,"image_tokens":1960,"completion_tokens":402,"forward_passes":97,"draft_accepted":305,"timings_ms":{"prepare":41,"prefill":310,"decode":2900,"total":3262},"warnings":[],"error":null}"##);
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        let with_more = line.replacen('{', r#"{"more":1,"#, 1);
        assert!(serde_json::from_str::<Record>(&with_more).is_err());
    }

    #[test]
    fn cut_content_has_a_warning() {
        let warnings = |finish_reason| {
            record(PageAnswer {
                finish_reason,
                ..PageAnswer::default()
            })
            .warnings
        };
        assert_eq!(warnings(Some(FinishReason::Length)), [Warning::Truncated]);
        assert_eq!(
            warnings(Some(FinishReason::Repetition)),
            [Warning::Repetition]
        );
        assert_eq!(warnings(Some(FinishReason::Stop)), []);
        assert_eq!(warnings(None), []);
    }

    #[test]
    fn unusual_size_or_length_has_a_warning() {
        let of = |original, words: usize| {
            let facts = PageFacts {
                original: Some(original),
                ..facts()
            };
            let answer = PageAnswer {
                content: "word ".repeat(words),
                ..PageAnswer::default()
            };
            Record::read(&facts, outcome(Ok(answer))).warnings
        };
        assert_eq!(of((4000, 600), 5000), []);
        assert_eq!(of((4001, 600), 1), [Warning::LargeImage]);
        assert_eq!(of((700, 599), 1), [Warning::LowResolution]);
        assert_eq!(
            of((599, 4001), 5001),
            [
                Warning::LargeImage,
                Warning::LowResolution,
                Warning::VeryLongOutput
            ]
        );
    }

    #[test]
    fn failed_record_keeps_engine_and_blank_has_no_words() {
        let error = PageError::new(ErrorKind::OutOfMemory, Stage::Engine, "out of memory");
        let failed = Record::read(
            &PageFacts {
                attempts: 2,
                ..facts()
            },
            PageOutcome {
                attempts: 3,
                warnings: vec![Warning::DownscaledAfterOom],
                ..outcome(Err(error.clone()))
            },
        );
        assert_eq!(
            (failed.status, failed.attempts, failed.content, failed.error),
            (Status::Failed, 4, None, Some(error))
        );
        assert_eq!(failed.warnings, [Warning::DownscaledAfterOom]);
        let blank = Record::blank(&facts(), &engine());
        assert_eq!(
            (blank.status, blank.content.as_deref(), blank.word_count),
            (Status::Blank, Some(""), 0)
        );
    }

    proptest! {
        #[test]
        fn record_round_trips_any_content_on_one_line(content in any::<String>(), path in any::<String>(), page in any::<u32>()) {
            let mut record = record(PageAnswer { content, ..PageAnswer::default() });
            (record.path, record.page) = (path, page);
            let line = String::from_utf8(record.to_line().unwrap()).unwrap();
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            prop_assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        }

        #[test]
        fn record_parser_never_panics(line in any::<String>(), at in any::<prop::sample::Index>()) {
            let _ = serde_json::from_str::<Record>(&line);
            let whole = serde_json::to_string(&record(PageAnswer::default())).unwrap();
            let at = at.index(whole.len());
            let _ = serde_json::from_str::<Record>(&format!("{}{line}{}", &whole[..at], &whole[at..]));
        }
    }
}
