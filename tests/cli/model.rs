//! What the model's options do, shown with the small model of `examples/reader`.

use omnidocs::{
    document::OutputFormat,
    engine::FinishReason,
    record::{Record, Warning},
};

use crate::common::{Ran, Room};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
/// The reader was trained with this prompt and loses the page under long ones.
const PROMPT: &str = "Transcribe this page.";

/// Reads one of `examples/pages` with the reader, its prompt and more options.
fn read(page: &str, args: &str) -> Ran {
    let room = Room::new();
    let args = format!("extract {EXAMPLES}/pages/{page} --model {EXAMPLES}/reader {args}");
    Ran::of(room.omnidocs(&args).env("OMNIDOCS_PROMPT", PROMPT))
}

fn record(page: &str, args: &str) -> Record {
    let mut records = read(page, args).expect(0).records();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

#[test]
fn a_page_is_read_from_its_pixels() {
    let record = record("label.png", "");
    assert_eq!(record.content.as_deref(), Some("This way up"));
    assert_eq!(record.engine, "qwen");
    assert_eq!(record.model, Some(format!("{EXAMPLES}/reader")));
    assert_eq!(record.finish_reason, Some(FinishReason::Stop));
    assert_eq!((record.width, record.height), (Some(160), Some(32)));
    assert_eq!(record.image_tokens, Some(160 * 32 / 32 / 32));
    assert!(record.prompt_tokens > record.image_tokens && record.completion_tokens > Some(0));
    assert!(record.timings_ms.prefill > 0 && record.warnings.is_empty());
}

#[test]
fn every_page_of_a_document_is_read_and_none_twice() {
    let ran = read("receipts.pdf", "").expect(0);
    let pages: Vec<_> = ran
        .records()
        .iter()
        .map(|record| (record.page, record.page_count))
        .collect();
    assert_eq!(pages, [(1, Some(3)), (2, Some(3)), (3, Some(3))]);
    assert_eq!(
        read("receipts.pdf", "--pages 2").expect(0).records()[0].content,
        ran.records()[1].content
    );
}

#[test]
fn max_new_tokens_cuts_the_answer_and_says_so() {
    let record = record("label.png", "--max-new-tokens 2");
    assert_eq!(
        (record.completion_tokens, record.finish_reason),
        (Some(2), Some(FinishReason::Length))
    );
    assert_eq!(record.warnings, [Warning::Truncated]);
    assert!("This way up".starts_with(record.content.unwrap().as_str()));
}

#[test]
fn min_and_max_pixels_change_what_the_model_sees() {
    // 160 × 32 pixels; a side never falls below 32.
    for (args, size) in [
        ("--max-pixels 2048", (Some(96), Some(32))),
        ("--max-pixels 1024", (Some(64), Some(32))),
        ("--min-pixels 16384", (Some(288), Some(64))),
    ] {
        let record = record("label.png", &format!("{args} --max-new-tokens 1"));
        assert_eq!((record.width, record.height), size, "{args}");
    }
}

#[test]
fn dpi_sets_the_size_of_a_pdf_page() {
    // The limits of the reader would hide the difference.
    let limits = "--min-pixels 1024 --max-pixels 200000 --max-new-tokens 1";
    for (dpi, size) in [(72, (Some(288), Some(64))), (144, (Some(576), Some(128)))] {
        let record = record("note.pdf", &format!("{limits} --dpi {dpi}"));
        assert_eq!((record.width, record.height), size, "--dpi {dpi}");
    }
}

#[test]
fn format_and_prompt_change_what_is_asked() {
    let room = Room::new();
    room.put("prompt", "Transcribe this page.\n");
    let asked = |args: &str| {
        let args = format!(
            "extract {EXAMPLES}/pages/label.png --model {EXAMPLES}/reader --max-new-tokens 9 {args}"
        );
        Ran::of(&mut room.omnidocs(&args))
            .expect(0)
            .records()
            .remove(0)
    };
    let formats = [
        ("markdown", OutputFormat::Markdown),
        ("html", OutputFormat::Html),
        ("text", OutputFormat::Text),
    ];
    let lengths = formats.map(|(typed, format)| {
        let record = asked(&format!("--format {typed}"));
        assert_eq!(record.output_format, format);
        record.prompt_tokens.unwrap()
    });
    assert!(
        lengths[0] != lengths[1] && lengths[1] != lengths[2] && lengths[0] != lengths[2],
        "{lengths:?}"
    );
    let from_file = asked("--prompt-file prompt");
    assert_eq!(from_file.content.as_deref(), Some("This way up"));
    assert!(from_file.prompt_tokens.unwrap() < lengths[0]);
    assert!(asked("--prompt Read.").prompt_tokens < from_file.prompt_tokens);
}

#[test]
fn a_temperature_samples_as_the_seed_says() {
    let sampled = |seed: u64| {
        let args = format!("--temperature 2 --seed {seed} --max-new-tokens 40");
        record("notice.png", &args).content
    };
    assert_eq!(sampled(1), sampled(1));
    assert_ne!(sampled(1), sampled(2));
    assert_eq!(
        record("notice.png", "--seed 1").content,
        record("notice.png", "--seed 2").content
    );
}

#[test]
fn device_and_dtype_are_chosen() {
    for args in [
        "--device cpu",
        "--device auto --dtype auto",
        "--dtype f32",
        "--dtype bf16",
        "--dtype f16",
    ] {
        assert_eq!(
            record("label.png", args).content.as_deref(),
            Some("This way up"),
            "{args}"
        );
    }
    if !cfg!(feature = "cuda") {
        let ran = read("label.png", "--device cuda").expect(1);
        assert!(
            ran.stderr.starts_with("error: ") && ran.stderr.contains("CUDA"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_model_that_is_not_there_ends_the_run() {
    let room = Room::new();
    room.put("empty/readme", "no model here");
    for (model, named) in [("empty", "empty"), ("./gone", "gone")] {
        let args = format!("extract {EXAMPLES}/pages --model {model}");
        let ran = Ran::of(room.omnidocs(&args).env("HF_HUB_OFFLINE", "1")).expect(1);
        assert!(
            ran.stderr.starts_with("error: ") && ran.stderr.contains(named),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "");
    }
}
