//! Files of a model that somebody else has made: whatever is in them, they are read or refused, and nothing panics.

use std::{fs, path::Path};

use omnidocs::{
    generation::{
        chat_template::ChatTemplate,
        tokenizer::{ChatTokenizer, ModelTokens},
    },
    model_files::{missing, weight_files},
    models::{pixel_budget, qwen3_vl::config::Config, spec::ModelSpec},
    nn::mapped::MappedTensors,
};
use tempfile::TempDir;

use crate::feeding::feed;

/// A folder with the small files of the example's model.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        fs::write(folder.path().join(name), example(name)).unwrap();
    }
    folder
}

fn example(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("examples/reader")
            .join(name),
    )
    .unwrap()
}

#[test]
fn damaged_config_files_never_panic() {
    for name in [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
    ] {
        let folder = folder();
        feed(name, &[example(name)], |bytes| {
            fs::write(folder.path().join(name), bytes).unwrap();
            let _ = Config::read(folder.path());
            let _ = pixel_budget(folder.path());
            let _ = ModelSpec::read(folder.path(), "damaged");
        });
    }
}

#[test]
fn damaged_tokenizer_files_never_panic() {
    let tokens = ModelTokens {
        image_token: "<|image_pad|>",
        image_token_id: Config::read(folder().path()).unwrap().common.image_token_id,
        vocab_size: 1 << 20,
    };
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let folder = folder();
        feed(name, &[example(name)], |bytes| {
            fs::write(folder.path().join(name), bytes).unwrap();
            if let Ok(tokenizer) = ChatTokenizer::open(folder.path(), tokens) {
                let _ = tokenizer.prompt("Read this page.");
                let _ = tokenizer.decode(&[0, 1, 70_000]);
            }
        });
    }
}

#[test]
fn damaged_chat_templates_never_panic() {
    let folder = folder();
    let template = "{%- for message in messages %}{{- '<|im_start|>' + message.role }}{% for part in message.content %}\
        {%- if part.type == 'image' %}<|image_pad|>{% else %}{{ part.text | trim }}{% endif %}{% endfor %}{%- endfor %}";
    feed("chat_template.jinja", &[template.into()], |bytes| {
        fs::write(folder.path().join("chat_template.jinja"), bytes).unwrap();
        if let Ok(template) = ChatTemplate::read(folder.path()) {
            let _ = template.render("Read this page.");
        }
    });
}

#[test]
fn damaged_weights_and_indexes_never_panic() {
    let folder = folder();
    let index = br#"{"metadata":{"total_size":8},"weight_map":{"a":"model-1-of-2.safetensors","b":"model-2-of-2.safetensors"}}"#;
    feed("model.safetensors.index.json", &[index.to_vec()], |bytes| {
        fs::write(folder.path().join("model.safetensors.index.json"), bytes).unwrap();
        let _ = weight_files(folder.path());
        let _ = missing(folder.path());
    });
    let header = br#"{"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[8,12]}}"#;
    let file = [
        &(header.len() as u64).to_le_bytes(),
        header.as_slice(),
        &[7; 12],
    ]
    .concat();
    let path = folder.path().join("model.safetensors");
    feed("model.safetensors", &[file], |bytes| {
        // What is mapped must not be written to.
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
        if let Ok(file) = MappedTensors::open(&path) {
            for name in ["a", "b"] {
                if let Some(place) = file.place(name) {
                    let _ = file.load(place, &candle_core::Device::Cpu);
                    file.read(place, |bytes| {
                        bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>()
                    });
                }
            }
        }
    });
}
