//! One line of the output: what is known of one page, read or failed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    document::{Format, OutputFormat, PageRef},
    engine::{FinishReason, PageAnswer},
    error::PageError,
};

/// The version of the record's names and their meaning.
pub const SCHEMA: u32 = 1;

/// How a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The page was read.
    Ok,
    /// The page, or its document, could not be read; `error` says why.
    Failed,
    /// There is nothing on the page.
    Blank,
}

/// What a reader of a record should know about its content. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// The token budget ended the content.
    Truncated,
    /// The content ran in a loop and was cut there.
    Repetition,
    /// The page took far longer than others.
    SlowPage,
    /// The content is longer than a page of print can be.
    VeryLongOutput,
    /// The page was far larger than what the model sees.
    LargeImage,
    /// The page has too few pixels to be read well.
    LowResolution,
    /// Another engine than the run's first one answered.
    FallbackUsed,
    /// The page was read at a smaller size, since memory ran out at its own.
    DownscaledAfterOom,
}

/// Where the page's time went, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// Opening, rendering and resizing.
    pub prepare: u64,
    /// Vision tower and prompt.
    pub prefill: u64,
    /// Generation.
    pub decode: u64,
    /// The whole way of the page, without the time that it waited for its turn.
    pub total: u64,
}

/// The record of one page. A field that is not known of a failed page is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// As given on the command line, or below the folder given there.
    pub path: String,
    /// The last part of `path`.
    pub filename: String,
    /// SHA-256 of the file's bytes, in hex.
    pub doc_id: Option<String>,
    /// What the content shows, whatever the file is called.
    pub format: Option<Format>,
    /// The file's size.
    pub size_bytes: Option<u64>,
    /// 1-based; 0 for a document that can't be opened.
    pub page: u32,
    /// Pages in the document.
    pub page_count: Option<u32>,
    /// Width in pixels as the model saw the page.
    pub width: Option<u32>,
    /// Height in pixels as the model saw the page.
    pub height: Option<u32>,
    /// How the page ended.
    pub status: Status,
    /// What was read; null if the page failed.
    pub content: Option<String>,
    /// What `content` is written in.
    pub output_format: OutputFormat,
    /// Unicode scalar values in `content`.
    pub content_length: usize,
    /// Pieces of `content` between white space.
    pub word_count: usize,
    /// Why the engine stopped.
    pub finish_reason: Option<FinishReason>,
    /// The engine that answered.
    pub engine: String,
    /// The model that answered, as the user named it.
    pub model: Option<String>,
    /// How often the page was tried.
    pub attempts: u32,
    /// Tokens of the prompt, image included.
    pub prompt_tokens: Option<usize>,
    /// Tokens that stand for the image.
    pub image_tokens: Option<usize>,
    /// Tokens generated.
    pub completion_tokens: Option<usize>,
    /// Where the time went.
    pub timings_ms: Timings,
    /// What a reader should know about the content.
    pub warnings: Vec<Warning>,
    /// Why the page failed.
    pub error: Option<PageError>,
}

/// What all records of a run have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// The engine's name.
    pub engine: &'static str,
    /// The model, as the user named it.
    pub model: Option<String>,
    /// What the engine was asked for.
    pub output_format: OutputFormat,
}

/// What the pipeline learned about a page outside of its engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFacts {
    /// Which page this is.
    pub page: PageRef,
    /// (width, height) in pixels as the model saw the page; none if it was not rendered.
    pub size: Option<(u32, u32)>,
    /// Time spent on preparing it.
    pub prepare: Duration,
    /// Time from the engine's taking it to the engine's answer.
    pub engine: Duration,
}

impl Record {
    /// The record of a page that ended in `result`.
    #[must_use]
    pub fn new(run: &RunFacts, facts: &PageFacts, result: Result<PageAnswer, PageError>) -> Self {
        let document = &facts.page.document;
        let (answer, error) = match result {
            Ok(answer) => (Some(answer), None),
            Err(error) => (None, Some(error)),
        };
        let status = if error.is_none() {
            Status::Ok
        } else {
            Status::Failed
        };
        let PageAnswer {
            content,
            finish_reason,
            prompt_tokens,
            image_tokens,
            completion_tokens,
            prefill,
            decode,
        } = answer.unwrap_or_default();
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
            content_length: content.chars().count(),
            word_count: content.split_whitespace().count(),
            content: (status == Status::Ok).then_some(content),
            output_format: run.output_format,
            finish_reason,
            engine: run.engine.to_owned(),
            model: run.model.clone(),
            attempts: 1,
            prompt_tokens,
            image_tokens,
            completion_tokens,
            timings_ms: Timings {
                prepare: milliseconds(facts.prepare),
                prefill: milliseconds(prefill),
                decode: milliseconds(decode),
                total: milliseconds(facts.prepare + facts.engine),
            },
            warnings: finish_reason.and_then(warning).into_iter().collect(),
            error,
        }
    }
}

fn warning(reason: FinishReason) -> Option<Warning> {
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

    use super::*;
    use crate::document::Document;

    fn record(answer: PageAnswer) -> Record {
        let document = Arc::new(Document {
            path: "pdfs/a.pdf".into(),
            size_bytes: Some(81_234),
            doc_id: Some("c0ffee".to_owned()),
            format: Some(Format::Pdf),
            page_count: Some(12),
        });
        let run = RunFacts {
            engine: "qwen",
            model: Some("Qwen/Qwen3-VL-8B-Instruct".to_owned()),
            output_format: OutputFormat::Markdown,
        };
        let facts = PageFacts {
            page: PageRef {
                document,
                number: 3,
            },
            size: Some((1376, 1792)),
            prepare: Duration::from_micros(41_900),
            engine: Duration::from_millis(3_221),
        };
        Record::new(&run, &facts, Ok(answer))
    }

    #[test]
    fn a_record_is_written_with_the_names_and_the_order_of_schema_1() {
        let record = record(PageAnswer {
            content: "# Größe\n\ntwo  words".to_owned(),
            finish_reason: Some(FinishReason::Stop),
            prompt_tokens: Some(2_011),
            image_tokens: Some(1_960),
            completion_tokens: Some(402),
            prefill: Duration::from_millis(310),
            decode: Duration::from_millis(2_900),
        });
        let line = serde_json::to_string(&record).unwrap();
        insta::assert_snapshot!(line, @r##"{"schema":1,"path":"pdfs/a.pdf","filename":"a.pdf","doc_id":"c0ffee","format":"pdf","size_bytes":81234,"page":3,"page_count":12,"width":1376,"height":1792,"status":"ok","content":"# Größe\n\ntwo  words","output_format":"markdown","content_length":19,"word_count":4,"finish_reason":"stop","engine":"qwen","model":"Qwen/Qwen3-VL-8B-Instruct","attempts":1,"prompt_tokens":2011,"image_tokens":1960,"completion_tokens":402,"timings_ms":{"prepare":41,"prefill":310,"decode":2900,"total":3262},"warnings":[],"error":null}"##);
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        let with_more = line.replacen('{', r#"{"more":1,"#, 1);
        assert!(serde_json::from_str::<Record>(&with_more).is_err());
    }

    #[test]
    fn content_that_was_cut_has_a_warning() {
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
}
