//! Which models are read: what can't be computed is refused by name before its weights are fetched, and another content
//! is another model.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::{
    common::{Ran, Room, spawn},
    hub_server::HubServer,
};

#[path = "../common/fp8.rs"]
mod fp8;

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(path)
}

/// A room with a copy of the reader in `model`.
fn with_reader() -> Room {
    let room = Room::new();
    for entry in fs::read_dir(example("reader")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.extension() != Some("py".as_ref()) {
            room.put(&format!("model/{name}"), fs::read(&path).unwrap());
        }
    }
    room
}

/// Changes the model's `config.json`.
fn configure(room: &Room, change: impl FnOnce(&mut Value)) {
    let mut config: Value = serde_json::from_str(&room.read("model/config.json")).unwrap();
    change(&mut config);
    room.put("model/config.json", config.to_string());
}

/// `omnidocs extract label.png ARGS…`, in the room, with caches there.
fn label(room: &Room, args: &str) -> Command {
    let mut command = room.omnidocs("extract");
    command
        .arg(example("pages/label.png"))
        .args(args.split_whitespace())
        .env("XDG_CACHE_HOME", room.path("caches"));
    for variable in ["HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"] {
        command.env_remove(variable);
    }
    command
}

/// As [`label`], with the model `name` from the hub.
fn by_name(room: &Room, endpoint: &str, name: &str, args: &str) -> Command {
    let mut command = label(room, &format!("--model {name} {args}"));
    command.env("HF_ENDPOINT", endpoint);
    command
}

/// Whether anything of a file whose name ends so was asked for.
fn was_asked_for(hub: &HubServer, name_end: &str) -> bool {
    let log = hub.log();
    log.iter().any(|request| request.path.ends_with(name_end))
}

/// The room's model is refused with all of `words`, and nothing of its weights was asked for.
#[track_caller]
fn refused(room: &Room, name: &str, words: &[&str]) {
    let hub = HubServer::new(name, &room.path("model"));
    for args in ["", "--dry-run"] {
        let ran = Ran::of(&mut by_name(room, &hub.url(), name, args)).expect(1);
        for word in words {
            assert!(ran.stderr.contains(word), "{word:?}: {}", ran.stderr);
        }
        assert_eq!(ran.stdout, "");
    }
    assert!(was_asked_for(&hub, "config.json"));
    assert!(!was_asked_for(&hub, ".safetensors"), "{:?}", hub.log());

    let ran = Ran::of(&mut label(room, "--model model")).expect(1);
    let by_folder = words[0].replace(name, "model");
    assert!(ran.stderr.contains(&by_folder), "{}", ran.stderr);
}

#[test]
fn other_family_is_refused_before_download() {
    let room = with_reader();
    configure(&room, |config| config["model_type"] = "qwen2_5_omni".into());
    let words = [
        "org/ocr is a Qwen2.5-Omni model (model_type qwen2_5_omni), which omnidocs cannot run",
        "serve it with vLLM and use --engine server",
    ];
    refused(&room, "org/ocr", &words);

    let room = with_reader();
    configure(&room, |config| {
        config["text_config"]["num_experts"] = 128.into();
    });
    refused(&room, "org/ocr", &["is a mixture of 128 experts"]);
}

#[test]
fn quantized_checkpoint_is_refused_before_download() {
    for (method, words) in [
        ("awq", "is quantized with AWQ"),
        ("gptq", "is quantized with GPTQ"),
        ("fp8", "is quantized with FP8 without block scales"),
    ] {
        let room = with_reader();
        configure(&room, |config| {
            config["quantization_config"] = json!({"quant_method": method, "bits": 4});
        });
        let instead = "use Qwen/Qwen3-VL-8B-Instruct";
        let room_words = [words, "--engine server"];
        refused(&room, "org/ocr", &room_words);
        refused(
            &room,
            "org/Qwen3-VL-8B-Instruct-AWQ-4bit",
            &[words, instead],
        );
    }
}

#[test]
fn thinking_checkpoint_is_refused_before_download() {
    let room = with_reader();
    let template = "{%- for part in messages[0].content %}{%- if part.type == 'image' %}<|image_pad|>\
                    {%- else %}{{ part.text }}{%- endif %}{%- endfor %}<|im_end|>\n<|im_start|>assistant\n";
    room.put(
        "model/chat_template.jinja",
        template.to_owned() + "<think>\n",
    );
    refused(
        &room,
        "Qwen/Qwen3-VL-2B-Thinking",
        &[
            "thinks before it answers",
            "use Qwen/Qwen3-VL-2B-Instruct",
            "--engine server",
        ],
    );
}

#[test]
fn optional_thinking_template_renders_without_thinking() {
    let room = with_reader();
    let own: Value = serde_json::from_str(&room.read("model/tokenizer_config.json")).unwrap();
    let own = own["chat_template"].as_str().unwrap();
    let choice = "{%- if enable_thinking is not defined or enable_thinking %}{{- '<think>\\n' }}{%- endif %}";
    room.put("model/chat_template.jinja", format!("{own}{choice}"));
    let ran = Ran::of(&mut label(&room, "--model model")).expect(0);
    assert_eq!(ran.records()[0].content.as_deref(), Some("This way up"));
}

#[test]
fn fp8_checkpoint_reads_like_its_dequantized_weights() {
    let room = Room::new();
    room.put("fp8/it", "").put("dense/it", "");
    fp8::quantize(&example("reader"), &room.path("fp8"), &room.path("dense"));
    let hub = HubServer::new("org/reader-FP8", &room.path("fp8"));
    for dtype in ["f32", "q8_0", "q4_k"] {
        let text = |command: &mut Command| {
            let ran = Ran::of(command.arg(example("pages/notice.png"))).expect(0);
            let records = ran.records().into_iter();
            records
                .map(|record| record.content.unwrap())
                .collect::<Vec<_>>()
        };
        let args = format!("--dtype {dtype}");
        let found = text(&mut by_name(&room, &hub.url(), "org/reader-FP8", &args));
        let dense = text(&mut label(&room, &format!("--model dense {args}")));
        assert_eq!(found, dense, "{dtype}");
        if dtype != "q4_k" {
            assert_eq!(found[0], "This way up", "{dtype}");
        }
    }
}

#[test]
fn changed_weights_or_template_refuse_a_resume() {
    let room = with_reader();
    let args = "--model model -o out.jsonl";
    Ran::of(&mut label(&room, args)).expect(0);
    let whole = fs::read(room.path("model/model.safetensors")).unwrap();
    Ran::of(&mut label(&room, args)).expect(0);

    let path = room.path("model/model.safetensors");
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(9_000_001)).unwrap();
    file.write_all(&vec![0; 1 << 20]).unwrap();
    let ran = Ran::of(&mut label(&room, args)).expect(10);
    assert!(ran.stderr.contains("weights: "), "{}", ran.stderr);
    fs::write(&path, whole).unwrap();
    Ran::of(&mut label(&room, args)).expect(0);

    let text = room.read("model/tokenizer_config.json");
    let changed = text.replace("<|im_start|>assistant\\n", "<|im_start|>assistant\\n# ");
    assert_ne!(changed, text);
    room.put("model/tokenizer_config.json", changed);
    Ran::of(&mut label(&room, args)).expect(10);
}

#[test]
fn hub_model_and_copied_folder_have_the_same_weights() {
    let room = with_reader();
    let hub = HubServer::new("org/reader", &example("reader"));
    let weights = |path: &str| -> Value {
        let meta: Value = serde_json::from_str(&room.read(path)).unwrap();
        meta["settings"]["weights"].clone()
    };
    let args = "-o hub.jsonl";
    Ran::of(&mut by_name(&room, &hub.url(), "org/reader", args)).expect(0);
    Ran::of(&mut label(&room, "--model model -o copy.jsonl")).expect(0);
    assert_eq!(
        weights("hub.jsonl.meta.json"),
        weights("copy.jsonl.meta.json")
    );
}

#[test]
fn dry_run_fetches_small_files_only_and_needs_no_network() {
    let room = with_reader();
    let hub = HubServer::new("org/reader", &example("reader"));
    let dry = |endpoint: &str, args: &str| {
        let args = format!("--dry-run -o out.jsonl {args}");
        Ran::of(&mut by_name(&room, endpoint, "org/reader", &args))
    };
    let ran = dry(&hub.url(), "").expect(0);
    assert!(ran.stdout.ends_with("label.png: 1 of 1 pages\n"));
    assert!(!was_asked_for(&hub, ".safetensors"), "{:?}", hub.log());
    assert!(was_asked_for(&hub, "tokenizer.json"));

    let nowhere = "http://127.0.0.1:9";
    let elsewhere = |args: &str| {
        let args = format!("--dry-run -o out.jsonl {args}");
        Ran::of(&mut by_name(&room, nowhere, "org/other", &args))
    };
    for ran in [dry(nowhere, ""), elsewhere("")] {
        let ran = ran.expect(0);
        assert!(ran.stdout.ends_with("label.png: 1 of 1 pages\n"));
        assert!(ran.stderr.contains("cannot check the files of org/"));
    }
    let mut offline = by_name(&room, nowhere, "org/other", "--dry-run");
    Ran::of(offline.env("HF_HUB_OFFLINE", "1")).expect(0);
    // What can be compared is: all but the weights and the model's own limits.
    Ran::of(&mut by_name(
        &room,
        &hub.url(),
        "org/reader",
        "-o out.jsonl",
    ))
    .expect(0);
    for endpoint in [nowhere, hub.url().as_str()] {
        let ran = dry(endpoint, "").expect(0);
        assert_eq!(ran.stdout, "", "{endpoint}");
        dry(endpoint, "--dtype f32").expect(10);
        dry(endpoint, "--max-pixels 99999").expect(10);
    }
    elsewhere("").expect(10);
}

#[test]
fn closed_stderr_does_not_stop_a_download() {
    let room = Room::new();
    let hub = HubServer::new("org/reader", &example("reader"));
    let mut child = spawn(&mut by_name(&room, &hub.url(), "org/reader", ""));
    drop(child.stderr.take());
    let mut records = String::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut records).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(records.contains("This way up"), "{records}");
}

#[test]
fn mistyped_model_folder_suggests_the_nearest() {
    let room = with_reader();
    room.put("models/small-reader/config.json", "{}");
    let hub = HubServer::new("models/small-raeder", &example("reader"));
    let asked = |model: &str, code| {
        let ran = Ran::of(&mut by_name(&room, &hub.url(), model, "")).expect(code);
        ran.stderr
    };
    let message = asked("models/small-raeder", 1);
    for words in [
        "the model folder models/small-raeder does not exist; did you mean models/small-reader?",
        "models/small-raeder@main is the one on the hub",
    ] {
        assert!(message.contains(words), "{message}");
    }
    assert!(hub.log().is_empty());
    let message = asked("./models/small-readr", 1);
    assert!(message.contains("did you mean ./models/small-reader?"));
    asked("models/small-raeder@main", 0);
    // Another size is another model.
    room.put("org/ocr-2B/config.json", "{}");
    let message = asked("org/ocr-4B", 1);
    assert!(!message.contains("did you mean"), "{message}");
}
