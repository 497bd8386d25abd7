//! What the files of published models are read as, without their weights.
//!
//! Files are cut to what is looked at. Each names where it was found.

use std::{fs, path::Path};

use omnidocs::{
    generation::chat_template::{ChatTemplate, Question},
    models::{
        self,
        preset::Preset,
        qwen2_5_vl, qwen2_vl,
        spec::{Family, ModelSpec, Quantization},
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// `config.json` of Qwen/Qwen2.5-VL-7B-Instruct as transformers 4.53.1 saves it, with the decoder's fields at the root and in
/// `text_config` (kohya-ss/musubi-tuner, `hunyuan_image_text_encoder.py`).
fn qwen2_5_vl_7b() -> Value {
    let json = r#"{
        "architectures": ["Qwen2_5_VLForConditionalGeneration"], "attention_dropout": 0.0, "bos_token_id": 151643,
        "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 3584, "image_token_id": 151655,
        "initializer_range": 0.02, "intermediate_size": 18944, "max_position_embeddings": 128000,
        "max_window_layers": 28, "model_type": "qwen2_5_vl", "num_attention_heads": 28, "num_hidden_layers": 28,
        "num_key_value_heads": 4, "rms_norm_eps": 1e-06,
        "rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default", "type": "default"},
        "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "transformers_version": "4.53.1", "use_cache": true, "use_sliding_window": false, "video_token_id": 151656,
        "vision_config": {
            "depth": 32, "fullatt_block_indexes": [7, 15, 23, 31], "hidden_act": "silu", "hidden_size": 1280,
            "in_channels": 3, "in_chans": 3, "initializer_range": 0.02, "intermediate_size": 3420,
            "model_type": "qwen2_5_vl", "num_heads": 16, "out_hidden_size": 3584, "patch_size": 14,
            "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2, "tokens_per_second": 2,
            "torch_dtype": "float32", "window_size": 112
        },
        "vision_end_token_id": 151653, "vision_start_token_id": 151652, "vision_token_id": 151654,
        "vocab_size": 152064
    }"#;
    let mut config: Value = serde_json::from_str(json).unwrap();
    let mut text = config.clone();
    let fields = text.as_object_mut().unwrap();
    fields.remove("vision_config");
    fields.insert("model_type".to_owned(), json!("qwen2_5_vl_text"));
    fields.insert("image_token_id".to_owned(), Value::Null);
    fields.insert("sliding_window".to_owned(), Value::Null);
    config["text_config"] = text;
    config
}

/// The same model's `preprocessor_config.json`, as tests of public servers quote it.
fn qwen2_5_vl_preprocessor() -> Value {
    json!({
        "min_pixels": 3136, "max_pixels": 12_845_056, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
        "image_mean": [0.481_454_66, 0.457_827_5, 0.408_210_73], "image_std": [0.268_629_54, 0.261_302_58, 0.275_777_11],
        "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor",
    })
}

/// Qwen2-VL's and Qwen2.5-VL's `chat_template`, which their fine-tunes share.
const TEMPLATE: &str = "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}\
    {% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n\
    You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n\
    {% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}\
    {% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}\
    {% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}\
    <|vision_start|><|image_pad|><|vision_end|>{% elif content['type'] == 'video' or 'video' in content %}\
    {% set video_count.value = video_count.value + 1 %}{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}\
    <|vision_start|><|video_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}\
    <|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

fn folder(config: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, json: &Value| {
        fs::write(folder.path().join(name), json.to_string()).unwrap();
    };
    write("config.json", config);
    write("preprocessor_config.json", &qwen2_5_vl_preprocessor());
    write("tokenizer_config.json", &json!({"chat_template": TEMPLATE}));
    folder
}

fn flat(mut config: Value) -> Value {
    config.as_object_mut().unwrap().remove("text_config");
    config
}

fn vision(folder: &Path) -> qwen2_5_vl::config::VisionConfig {
    qwen2_vl::config::Config::read(folder).unwrap().vision
}

#[test]
fn qwen2_5_vl_7b_is_read_in_both_styles() {
    for config in [qwen2_5_vl_7b(), flat(qwen2_5_vl_7b())] {
        let folder = folder(&config);
        let spec = ModelSpec::read(folder.path(), "Qwen/Qwen2.5-VL-7B-Instruct").unwrap();
        let wanted = (Family::Qwen25Vl, Quantization::None);
        assert_eq!((spec.family, spec.quantization), wanted);
        let config = models::config(folder.path()).unwrap();
        assert_eq!(
            (
                config.pixels.factor,
                config.pixels.min_pixels,
                config.pixels.max_pixels
            ),
            (28, 3136, 12_845_056)
        );
        assert_eq!(
            (config.vocab_size, config.max_position_embeddings),
            (152_064, 128_000)
        );
        assert_eq!(
            (config.image_token_id, &*config.eos_token_ids),
            (151_655, &[151_645][..])
        );
        let vision = vision(folder.path());
        assert_eq!((vision.window_side, vision.shape.depth), (4, 32));
        assert_eq!(vision.fullatt_block_indexes, [7, 15, 23, 31]);
    }
}

#[test]
fn fine_tune_of_it_in_fp8_has_its_presets_prompt_before_the_image() {
    let mut config = qwen2_5_vl_7b();
    config["quantization_config"] = json!({
        "quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128],
    });
    config["_name_or_path"] = json!("allenai/olmOCR-2-7B-1025");
    let folder = folder(&config);
    let spec = ModelSpec::read(folder.path(), "models/mine").unwrap();
    assert_eq!(spec.quantization, Quantization::Fp8Blocks);
    let preset = Preset::of("models/mine", Some(folder.path())).unwrap();
    assert_eq!(preset.short, "olmocr2");
    let prompt = ChatTemplate::read(folder.path())
        .unwrap()
        .render_as(Question {
            instruction: preset.prompt.unwrap(),
            text_first: preset.text_first,
        })
        .unwrap();
    let (before, after) = prompt
        .split_once("<|vision_start|><|image_pad|><|vision_end|>")
        .unwrap();
    assert!(before.starts_with(
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nThis image is one page"
    ));
    assert_eq!(after, "<|im_end|>\n<|im_start|>assistant\n");
}

#[test]
fn prompts_may_be_the_image_alone() {
    let folder = folder(&qwen2_5_vl_7b());
    let template = ChatTemplate::read(folder.path()).unwrap();
    assert!(template.render("").unwrap().ends_with(
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"
    ));
}

/// Qwen2-VL-7B's sizes (`configuration_qwen2_vl.py` of transformers has the tower's as its defaults).
#[test]
fn qwen2_vl_7b_is_read() {
    let mut config = flat(qwen2_5_vl_7b());
    config["model_type"] = json!("qwen2_vl");
    config["architectures"] = json!(["Qwen2VLForConditionalGeneration"]);
    config["rope_scaling"] = json!({"type": "mrope", "mrope_section": [16, 24, 24]});
    config["vision_config"] = json!({
        "depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "in_chans": 3, "hidden_size": 3584,
        "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2,
    });
    let folder = folder(&config);
    let spec = ModelSpec::read(folder.path(), "Qwen/Qwen2-VL-7B-Instruct").unwrap();
    assert_eq!(spec.family, Family::Qwen2Vl);
    let config =
        qwen2_vl::config::Config::<qwen2_vl::config::VisionConfig>::read(folder.path()).unwrap();
    assert_eq!(config.vision.intermediate_size, 5120);
    assert_eq!(config.text.mrope_section, [16, 24, 24]);
    assert_eq!(config.common.pixels.factor, 28);
}

#[test]
fn config_that_cannot_be_right_names_the_field() {
    for (pointer, value, words) in [
        (
            "/text_config/num_key_value_heads",
            json!(5),
            "num_key_value_heads",
        ),
        (
            "/text_config/use_sliding_window",
            json!(true),
            "use_sliding_window",
        ),
        (
            "/text_config/rope_scaling/rope_type",
            json!("yarn"),
            "rope_type yarn",
        ),
        (
            "/vision_config/out_hidden_size",
            json!(2048),
            "hidden_size of the decoder is 3584",
        ),
        ("/vision_config/window_size", json!(20), "window_size 20"),
        (
            "/vision_config/hidden_act",
            json!("gelu"),
            "hidden_act gelu",
        ),
        ("/vision_config/num_heads", json!(7), "multiple of 4"),
    ] {
        let mut config = qwen2_5_vl_7b();
        *config.pointer_mut(pointer).unwrap() = value;
        let error = format!("{:#}", models::config(folder(&config).path()).unwrap_err());
        assert!(error.contains(words), "{words:?} is not in {error:?}");
    }
}
