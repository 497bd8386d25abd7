//! Files of a model folder that don't fit each other are an error that says which, where and what was wanted.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::{TINY_MODELS, golden, load};

/// A copy of a tiny model to spoil.
fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

fn set(folder: &TempDir, file: &str, pointer: &str, value: impl Into<Value>) {
    let path = folder.path().join(file);
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    *json.pointer_mut(pointer).unwrap() = value.into();
    fs::write(&path, json.to_string()).unwrap();
}

fn error(folder: &TempDir) -> String {
    match load(folder.path()) {
        Ok(_) => panic!("the folder was accepted"),
        Err(error) => format!("{error:#}"),
    }
}

#[track_caller]
fn assert_says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn untouched_copies_load() {
    for name in TINY_MODELS {
        load(copy(name).path()).unwrap();
    }
}

#[test]
fn wrong_tensor_shape_is_named() {
    let folder = copy("tiny-tied");
    set(&folder, "config.json", "/text_config/intermediate_size", 96);
    assert_says(
        &error(&folder),
        &[".mlp.gate_proj.weight", "[80, 48]", "[96, 48]"],
    );
}

#[test]
fn missing_tensor_is_named() {
    let folder = copy("tiny-tied");
    set(&folder, "config.json", "/text_config/num_hidden_layers", 4);
    assert_says(
        &error(&folder),
        &["model.language_model.layers.3.", "is missing"],
    );
}

#[test]
fn untied_model_needs_its_lm_head() {
    let folder = copy("tiny-tied");
    set(
        &folder,
        "config.json",
        "/text_config/tie_word_embeddings",
        false,
    );
    assert_says(
        &error(&folder),
        &["lm_head.weight", "is missing", "[391, 48]"],
    );
}

#[test]
fn tokenizer_of_another_model_is_refused() {
    let folder = copy("tiny-tied");
    set(&folder, "config.json", "/image_token_id", 388);
    assert_says(
        &error(&folder),
        &[
            "tokenizer.json",
            "<|image_pad|> is 389",
            "image_token_id is 388",
        ],
    );

    let folder = copy("tiny-tied");
    set(&folder, "config.json", "/text_config/vocab_size", 380);
    assert_says(
        &error(&folder),
        &["tokenizer.json", "token 390", "vocab_size is 380"],
    );
}

#[test]
fn missing_weights_file_is_named() {
    let folder = copy("tiny-untied");
    fs::remove_file(folder.path().join("model-00002-of-00003.safetensors")).unwrap();
    assert_says(
        &error(&folder),
        &[
            "model.safetensors.index.json",
            "model-00002-of-00003.safetensors",
        ],
    );
}

#[test]
fn truncated_weights_are_detected() {
    let folder = copy("tiny-tied");
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_says(&error(&folder), &["damaged", "download them again"]);
}

#[test]
fn missing_model_files_are_named() {
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = copy("tiny-tied");
        fs::remove_file(folder.path().join(file)).unwrap();
        assert_says(&error(&folder), &[file]);
    }
}

#[test]
fn broken_json_is_named_with_its_line() {
    let folder = copy("tiny-tied");
    fs::write(
        folder.path().join("generation_config.json"),
        "{\"eos_token_id\": }",
    )
    .unwrap();
    assert_says(
        &error(&folder),
        &["generation_config.json", "line 1 column"],
    );
}

#[test]
fn chat_template_without_image_is_refused() {
    let folder = copy("tiny-tied");
    fs::write(
        folder.path().join("chat_template.jinja"),
        "{{ messages[0].content[1].text }}",
    )
    .unwrap();
    let model = load(folder.path()).unwrap();
    let error = format!("{:#}", model.tokenizer.prompt("Read.").unwrap_err());
    assert_says(&error, &["chat template", "one place for the image"]);
}

#[test]
fn chat_templates_support_published_syntax() {
    let folder = copy("tiny-tied");
    let template = "\
        {%- set count = namespace(value=0) %}\n\
        {%- if tools %}\n    {{- 'tools' | tojson }}\n{%- endif %}\n\
        {%- for message in messages %}\n\
            {%- if message.role == 'user' and not message.content is string %}\n\
                {{- '<|im_start|>' + message.role + '\\n' }}\n\
                {%- for content in message.content %}\n\
                    {%- if content.type == 'image' or 'image' in content %}\n\
                        {%- set count.value = count.value + 1 %}\n\
                        {%- if add_vision_id %}Picture {{ count.value }}: {% endif -%}\n\
                        <|vision_start|><|image_pad|><|vision_end|>\n\
                    {%- elif 'text' in content %}\n\
                        {{- content.text.strip() }}\n\
                    {%- endif %}\n\
                {%- endfor %}\n\
                {{- '<|im_end|>\\n' }}\n\
            {%- endif %}\n\
        {%- endfor %}\n\
        {%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n";
    let plain = load(folder.path())
        .unwrap()
        .tokenizer
        .prompt("Read.")
        .unwrap();
    fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    let published = load(folder.path())
        .unwrap()
        .tokenizer
        .prompt("Read.")
        .unwrap();
    assert_eq!(published, plain);
}
