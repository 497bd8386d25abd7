use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    error::{ErrorKind, Stage},
    page::{Document, EngineInfo, PageAnswer, PageId, PageOutcome, PageRef, Rotation},
};

fn facts() -> PageFacts {
    let document = Arc::new(Document {
        path: "pdfs/a.pdf".into(),
        size_bytes: Some(81_234),
        doc_id: Some("c0ffee".to_owned()),
        format: Some(Format::Pdf),
        page_count: Some(12),
        stamp: None,
    });
    PageFacts {
        page: PageRef {
            document,
            number: 3,
            last_number: None,
        },
        size: Some((1376, 1792)),
        original: Some((1654, 2339)),
        rotation: Rotation::None,
        in_parts: false,
        warnings: Vec::new(),
        prepare: Duration::from_micros(41_900),
        attempts: 1,
        page_size: Some((595, 842)),
    }
}

fn engine() -> EngineInfo {
    EngineInfo {
        engine: "qwen",
        model: Some("Qwen/Qwen3-VL-8B-Instruct".to_owned()),
        output_format: OutputFormat::Markdown,
        device: Some("cuda:0".to_owned()),
        dtype: Some("bf16"),
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

pub(super) fn record(answer: PageAnswer) -> Record {
    Record::read(&facts(), outcome(Ok(answer)))
}

#[test]
fn record_has_names_and_order_of_schema_2() {
    let record = record(PageAnswer {
        content: "# Größe\n\ntwo  words".to_owned(),
        blocks: None,
        unparsed: false,
        finish_reason: Some(FinishReason::Stop),
        prompt_tokens: Some(2_011),
        image_tokens: Some(1_960),
        completion_tokens: Some(402),
        confidence: Confidence::of(&[-0.25, -0.05]),
        forward_passes: Some(97),
        draft_accepted: Some(305),
        parts: None,
        turned: Rotation::None,
        prefill: Duration::from_millis(310),
        decode: Duration::from_millis(2_900),
    });
    let line = serde_json::to_string(&record).unwrap();
    insta::assert_snapshot!(line, @r##"{"schema":2,"path":"pdfs/a.pdf","path_bytes":null,"filename":"a.pdf","doc_id":"c0ffee","copy_of":null,"format":"pdf","size_bytes":81234,"page":3,"last_page":null,"page_count":12,"original_width":595,"original_height":842,"rotation":0,"width":1376,"height":1792,"parts":null,"status":"ok","skip_reason":null,"content":"# Größe\n\ntwo  words","blocks":null,"output_format":"markdown","content_length":19,"word_count":4,"finish_reason":"stop","confidence":{"mean":-0.15,"worst":-0.15},"engine":"qwen","model":"Qwen/Qwen3-VL-8B-Instruct","device":"cuda:0","dtype":"bf16","attempts":1,"prompt_tokens":2011,"image_tokens":1960,"completion_tokens":402,"forward_passes":97,"draft_accepted":305,"timings_ms":{"prepare":41,"prefill":310,"decode":2900,"total":3262},"warnings":[],"error":null}"##);
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

#[test]
fn turns_before_and_by_the_model_add_up_in_the_record() {
    let facts = PageFacts {
        rotation: Rotation::Quarter,
        ..facts()
    };
    let answer = |turned| PageAnswer {
        turned,
        ..PageAnswer::default()
    };
    for (turned, rotation, size) in [
        (Rotation::None, 90, (1376, 1792)),
        (Rotation::Half, 270, (1376, 1792)),
        (Rotation::ThreeQuarters, 0, (1792, 1376)),
        (Rotation::Quarter, 180, (1792, 1376)),
    ] {
        let record = Record::read(&facts, outcome(Ok(answer(turned))));
        assert_eq!(record.rotation, Some(rotation), "{turned:?}");
        let (width, height) = size;
        assert_eq!((record.width, record.height), (Some(width), Some(height)));
        // Those of the page as it is stored.
        let original = (record.original_width, record.original_height);
        assert_eq!(original, (Some(595), Some(842)));
    }
    let failed = PageError::new(ErrorKind::Engine, Stage::Engine, "no");
    let record = Record::read(&facts, outcome(Err(failed)));
    assert_eq!(record.rotation, Some(90));
}
