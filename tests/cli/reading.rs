//! Reading with a model: the small reader in `examples/reader`, on pages whose true text is known.

use std::path::PathBuf;

use assert_cmd::Command;
use image::ImageFormat;
use omnidocs::{
    error::{ErrorKind, Stage},
    options::OutputFormat,
    page::{FinishReason, Warning},
    record::{Record, Status, Timings},
};
use serde::Deserialize;

use crate::{
    common::{Ran, Room, image_of},
    hub_server::HubServer,
};

fn example(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(path)
}

/// `omnidocs extract examples/pages/FILE --model examples/reader ARGS…`.
fn reading(file: &str, args: &str) -> Command {
    let mut command = Room::new().omnidocs("extract");
    command
        .current_dir(example(""))
        .arg(format!("pages/{file}"))
        .args(["--model", "reader"])
        .args(args.split_whitespace());
    command
}

/// The one record of a page that was read.
#[track_caller]
fn read(file: &str, args: &str) -> Record {
    let mut records = Ran::of(&mut reading(file, args)).expect(0).records();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

/// Records without what differs from run to run.
fn without_times(mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        record.timings_ms = Timings::default();
    }
    records
}

/// Records by page, since pages that are read together are done in any order.
fn by_page(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by(|a, b| (&a.path, a.page).cmp(&(&b.path, b.page)));
    // Which of several instances read it is by chance.
    for record in &mut records {
        record.device = None;
    }
    without_times(records)
}

#[test]
fn batch_size_changes_no_record() {
    let read = |args: &str| {
        let ran = Ran::of(&mut reading("", &format!("--dtype f32 {args}"))).expect(0);
        by_page(ran.records())
    };
    let alone = read("");
    assert!(alone.len() > 5);
    for args in ["--batch-size 3", "--batch-size 8 --threads 1"] {
        assert_eq!(read(args), alone, "{args}");
    }
}

#[test]
fn two_instances_write_the_records_of_one() {
    for args in ["", "--batch-size 2 --threads 3", "--fallback text-layer"] {
        let read = |device: &str| {
            let args = format!("--dtype f32 {args} --device {device}");
            Ran::of(&mut reading("", &args)).expect(0)
        };
        let (one, two) = (read("cpu"), read("cpu:2"));
        assert_eq!(by_page(two.records()), by_page(one.records()), "{args}");
        assert!(!one.stderr.contains("devices"), "{}", one.stderr);
        let pages: Vec<usize> = ["cpu 1: ", "cpu 2: "]
            .into_iter()
            .map(|device| {
                let (_, rest) = two.stderr.split_once(device).expect(&two.stderr);
                assert!(rest.contains(" a minute\n"), "{rest}");
                rest.split(' ').next().unwrap().parse().unwrap()
            })
            .collect();
        assert_eq!(pages.iter().sum::<usize>(), two.records().len());
        assert!(!pages.contains(&0), "{pages:?}");
    }
}

#[derive(Deserialize)]
struct Truth {
    file: String,
    page: u32,
    text: String,
}

#[test]
fn quick_start_reads_every_example_page() {
    let truth = include_str!("../golden/pages.json");
    let truth: Vec<Truth> = serde_json::from_str(truth).unwrap();
    let mut command = Room::new().omnidocs("extract pages --model reader");
    let records = Ran::of(command.current_dir(example("")))
        .expect(0)
        .records();
    assert_eq!(records.len(), truth.len());
    for Truth { file, page, text } in truth {
        let record = records
            .iter()
            .find(|record| record.filename == file && record.page == page)
            .unwrap();
        assert_eq!(record.content.as_deref(), Some(text.as_str()), "{file}");
        assert_eq!(record.finish_reason, Some(FinishReason::Stop));
        assert_eq!(record.model.as_deref(), Some("reader"));
    }
}

#[test]
fn no_model_is_loaded_when_all_pages_are_done() {
    let room = Room::new();
    let mut command = room.omnidocs("extract pages/label.png --model reader -o");
    command.current_dir(example("")).arg(room.path("out.jsonl"));
    let first = Ran::of(&mut command).expect(0);
    assert!(
        first.stderr.contains("loading the model"),
        "{}",
        first.stderr
    );
    let written = room.read("out.jsonl");
    let again = Ran::of(&mut command).expect(0);
    assert!(
        again.stderr.contains("before    1 page"),
        "{}",
        again.stderr
    );
    assert!(
        !again.stderr.contains("loading the model"),
        "{}",
        again.stderr
    );
    assert_eq!(room.read("out.jsonl"), written);
}

#[test]
fn two_runs_differ_only_in_times() {
    let run = || {
        without_times(
            Ran::of(&mut reading("receipts.pdf", ""))
                .expect(0)
                .records(),
        )
    };
    assert_eq!(run(), run());
}

#[test]
fn format_chooses_the_prompt() {
    let tokens = |format| {
        let record = read("label.png", &format!("--format {format}"));
        (record.output_format, record.prompt_tokens.unwrap())
    };
    let (markdown, html, text) = (tokens("markdown"), tokens("html"), tokens("text"));
    assert_eq!(markdown.0, OutputFormat::Markdown);
    assert_eq!(html.0, OutputFormat::Html);
    assert_eq!(text.0, OutputFormat::Text);
    assert!(markdown.1 != html.1 && html.1 != text.1 && markdown.1 != text.1);
}

#[test]
fn prompt_options_replace_the_prompt() {
    let room = Room::new();
    room.put("ask.txt", "Transcribe this page.\n");
    let typed = Ran::of(reading("label.png", "--prompt").arg("Transcribe this page.")).expect(0);
    let from_file =
        Ran::of(reading("label.png", "--prompt-file").arg(room.path("ask.txt"))).expect(0);
    let typed = without_times(typed.records());
    assert_eq!(typed, without_times(from_file.records()));
    assert!(typed[0].prompt_tokens < read("label.png", "").prompt_tokens);
    assert_eq!(typed[0].content.as_deref(), Some("This way up"));
}

#[test]
fn truncated_answer_has_a_warning() {
    let record = read("note.pdf", "--max-new-tokens 3");
    assert_eq!(record.status, Status::Ok);
    assert_eq!(record.finish_reason, Some(FinishReason::Length));
    assert_eq!(record.completion_tokens, Some(3));
    // The page is 640 × 352 pixels at 200 dpi.
    assert_eq!(
        record.warnings,
        [Warning::LowResolution, Warning::Truncated]
    );
    // A second look at a raised temperature was no better.
    assert_eq!(record.attempts, 2);
    let record = read("note.pdf", "--max-new-tokens 3 --retries 0");
    assert_eq!(record.attempts, 1);
}

#[test]
fn page_timeout_fails_the_page_or_uses_the_fallback() {
    let slow = "--min-pixels 1000000 --max-pixels 1000000 --page-timeout 0.2";
    let ran = Ran::of(&mut reading("note.pdf", slow)).expect(3);
    let record = ran.records().remove(0);
    let error = record.error.unwrap();
    assert_eq!(
        (error.kind, error.stage),
        (ErrorKind::Timeout, Stage::Engine)
    );
    assert!(
        error.message.contains("--page-timeout"),
        "{}",
        error.message
    );
    let record = read("note.pdf", &format!("{slow} --fallback text-layer"));
    let content = record.content.as_deref().unwrap();
    let printed = "Meeting on Tuesday\nThe next meeting is on Tuesday, 12 May\nat 10:30 in room 7";
    assert!(content.starts_with(printed), "{content}");
    let layer = read("note.pdf", "--engine text-layer");
    assert_eq!(layer.content.as_deref(), Some(content));
    assert_eq!((record.engine.as_str(), record.model), ("text-layer", None));
    assert_eq!(record.output_format, OutputFormat::Text);
    assert!(record.warnings.contains(&Warning::FallbackUsed));
}

#[test]
fn blank_page_is_not_passed_to_the_model() {
    let room = Room::new();
    room.put("blank.png", image_of(256, 64, ImageFormat::Png));
    let mut command = room.omnidocs("extract blank.png --model");
    let ran = Ran::of(command.arg(example("reader"))).expect(0);
    let record = ran.records().remove(0);
    assert_eq!(
        (record.status, record.content.as_deref(), record.word_count),
        (Status::Blank, Some(""), 0)
    );
    assert_eq!((record.prompt_tokens, record.finish_reason), (None, None));
    assert_eq!((record.width, record.height), (Some(256), Some(64)));
    assert!(
        ran.stderr.contains("0 ok, 0 failed, 1 blank"),
        "{}",
        ran.stderr
    );
}

#[test]
fn sampling_depends_only_on_the_seed() {
    let text = |args| read("note.pdf", args).content.unwrap();
    let sampled = text("--temperature 1.5 --seed 1 --max-new-tokens 40");
    assert_eq!(
        sampled,
        text("--temperature 1.5 --seed 1 --max-new-tokens 40")
    );
    assert_ne!(
        sampled,
        text("--temperature 1.5 --seed 2 --max-new-tokens 40")
    );
    assert_eq!(text(""), text("--temperature 0 --seed 9"));
}

#[test]
fn text_layer_drafts_change_only_forward_passes() {
    let plain = read("note.pdf", "--draft off");
    assert_eq!(plain.draft_accepted, Some(0));
    let tokens = plain.completion_tokens.unwrap();
    assert_eq!(plain.forward_passes, Some(tokens + 1));
    for args in ["", "--draft auto", "--draft text-layer"] {
        let drafted = read("note.pdf", args);
        assert!(drafted.forward_passes.unwrap() * 3 <= tokens, "{drafted:?}");
        assert!(
            drafted.draft_accepted.unwrap() * 3 >= tokens * 2,
            "{drafted:?}"
        );
        assert_eq!(drafted.content, plain.content);
    }
    // Sampled answers are not guessed.
    let sampled = read("note.pdf", "--temperature 0.5");
    assert_eq!(sampled.draft_accepted, Some(0));
}

#[test]
fn every_dtype_reads() {
    for dtype in ["auto", "f32", "bf16", "f16", "q8_0", "q4_k"] {
        let record = read("label.png", &format!("--device cpu --dtype {dtype}"));
        assert_eq!(record.content.as_deref(), Some("This way up"), "{dtype}");
    }
}

#[test]
#[cfg(not(feature = "cuda"))]
fn cpu_build_refuses_cuda() {
    for device in ["cuda", "cuda:1"] {
        let ran = Ran::of(&mut reading("label.png", &format!("--device {device}"))).expect(1);
        assert!(
            ran.stderr.contains("built for the CPU only"),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("--features cuda"), "{}", ran.stderr);
    }
}

#[test]
fn pixel_limits_and_dpi_set_the_page_size() {
    // The page is 3.2 × 1.76 inches.
    for (args, width, height) in [
        ("", 640, 352),
        ("--max-pixels 8192", 96, 64),
        ("--dpi 72 --min-pixels 1024", 224, 128),
        ("--dpi 300 --max-pixels 1000000", 960, 512),
        ("--dpi 72 --min-pixels 100000", 448, 256),
    ] {
        let record = read("note.pdf", &format!("{args} --max-new-tokens 1"));
        assert_eq!(
            (record.width, record.height),
            (Some(width), Some(height)),
            "{args}"
        );
        let patches = record.image_tokens.unwrap();
        assert_eq!(patches, (width / 32 * (height / 32)) as usize, "{args}");
    }
}

#[test]
fn impossible_pixel_limit_is_a_usage_error() {
    let ran = Ran::of(&mut reading("note.pdf", "--max-pixels 100")).expect(2);
    assert!(ran.stderr.contains("--max-pixels 100"), "{}", ran.stderr);
}

#[test]
fn invalid_model_folder_is_refused_before_reading() {
    let room = Room::new();
    room.put("empty/readme.txt", "nothing");
    let mut command = room.omnidocs("extract --model ./empty");
    let ran = Ran::of(command.arg(example("pages"))).expect(1);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("config.json"), "{}", ran.stderr);
    let mut command = room.omnidocs("extract --model ./nowhere");
    let ran = Ran::of(command.arg(example("pages"))).expect(1);
    assert!(ran.stderr.contains("./nowhere"), "{}", ran.stderr);
}

/// `extract label.png --model org/reader`, with the hub at `endpoint` and a cache of its own.
fn by_name(room: &Room, endpoint: &str) -> Command {
    let mut command = room.omnidocs("extract --model org/reader");
    command
        .arg(example("pages/label.png"))
        .env("HF_HOME", room.path("cache"))
        .env("HF_ENDPOINT", endpoint);
    for variable in ["HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"] {
        command.env_remove(variable);
    }
    command
}

#[test]
fn hub_model_is_downloaded_and_cached() {
    let hub = HubServer::new("org/reader", &example("reader"));
    let room = Room::new();
    let first = Ran::of(&mut by_name(&room, &hub.url())).expect(0);
    assert!(
        first.stderr.contains("fetching model.safetensors"),
        "{}",
        first.stderr
    );
    assert_eq!(first.records()[0].content.as_deref(), Some("This way up"));
    assert_eq!(first.records()[0].model.as_deref(), Some("org/reader"));
    drop(hub);

    let offline =
        Ran::of(by_name(&room, "http://127.0.0.1:9").env("HF_HUB_OFFLINE", "1")).expect(0);
    assert_eq!(
        without_times(offline.records()),
        without_times(first.records())
    );
}

#[test]
fn no_network_says_what_to_do() {
    let ran = Ran::of(&mut by_name(&Room::new(), "http://127.0.0.1:9")).expect(1);
    assert_eq!(ran.stdout, "");
    for words in ["127.0.0.1", "--model DIR"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}
