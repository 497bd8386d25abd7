//! Checkpoints that can't be computed are told by their small files, and refused by name with what would work.

use std::fs;

use omnidocs::models::spec::{Family, ModelSpec, Quantization};
use serde_json::{Value, json};

/// What is made of a model called `name` with these files.
fn read(name: &str, config: &Value, template: Option<&str>) -> Result<ModelSpec, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    if let Some(template) = template {
        fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    }
    ModelSpec::read(folder.path(), name).map_err(|error| format!("{error:#}"))
}

#[track_caller]
fn refused(name: &str, config: &Value, template: Option<&str>, words: &[&str]) {
    let error = read(name, config, template).unwrap_err();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
}

fn config_with(field: &str, value: Value) -> Value {
    let mut config = json!({
        "architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl",
        "text_config": {"model_type": "qwen3_vl_text"}, "vision_config": {"model_type": "qwen3_vl"},
    });
    config[field] = value;
    config
}

#[test]
fn other_families_are_refused_by_name() {
    for (config, words) in [
        (
            json!({"model_type": "qwen2_5_omni", "vision_config": {}}),
            "org/it is a Qwen2.5-Omni model (model_type qwen2_5_omni), which omnidocs cannot run; serve it with vLLM \
             and use --engine server",
        ),
        (
            json!({"model_type": "qwen3_vl_moe"}),
            "is a Qwen3-VL mixture-of-experts model",
        ),
        (
            json!({"model_type": "qwen3_5_moe"}),
            "is a Qwen3.5 mixture-of-experts model (model_type qwen3_5_moe), which omnidocs cannot run",
        ),
        (json!({"model_type": "qwen3"}), "is a text model"),
        (
            json!({"model_type": "florence2", "vision_config": {}}),
            "is a model of the type florence2",
        ),
        (
            json!({"architectures": ["LlavaForConditionalGeneration"], "text_config": {}, "vision_config": {}}),
            "its architecture is LlavaForConditionalGeneration",
        ),
        (json!({}), "neither model_type nor architectures"),
        (
            config_with("text_config", json!({"num_experts": 128})),
            "is a mixture of 128 experts (num_experts",
        ),
        (
            config_with("architectures", json!(["Qwen3VLForSequenceClassification"])),
            "does not write text",
        ),
    ] {
        refused("org/it", &config, None, &[words, "--engine server"]);
    }
}

#[test]
fn family_is_detected_without_model_type() {
    let spec = ModelSpec {
        family: Family::Qwen3Vl,
        quantization: Quantization::None,
    };
    for config in [
        config_with("quantization_config", Value::Null),
        config_with("model_type", Value::Null),
        json!({"text_config": {"model_type": "qwen3_vl_text"}}),
        json!({"text_config": {}, "vision_config": {"deepstack_visual_indexes": [5]}}),
        config_with("num_experts", json!(0)),
    ] {
        assert_eq!(read("org/it", &config, None), Ok(spec), "{config}");
    }
}

#[test]
fn each_family_is_detected_by_its_type_or_architecture() {
    for (model_type, architecture, family) in [
        (
            "qwen2_vl",
            "Qwen2VLForConditionalGeneration",
            Family::Qwen2Vl,
        ),
        (
            "qwen2_5_vl",
            "Qwen2_5_VLForConditionalGeneration",
            Family::Qwen25Vl,
        ),
        (
            "qwen3_vl",
            "Qwen3VLForConditionalGeneration",
            Family::Qwen3Vl,
        ),
        ("qwen3_5", "Qwen3_5ForConditionalGeneration", Family::Qwen35),
    ] {
        for config in [
            json!({"model_type": model_type}),
            json!({"architectures": [architecture]}),
            json!({"text_config": {"model_type": format!("{model_type}_text")}}),
        ] {
            let spec = read("org/it", &config, None).unwrap();
            assert_eq!(spec.family, family, "{config}");
        }
    }
}

#[test]
fn dense_qwen3_5_is_read_and_experts_are_refused() {
    let spec = |quantization| {
        Ok(ModelSpec {
            family: Family::Qwen35,
            quantization,
        })
    };
    let config = json!({
        "architectures": ["Qwen3_5ForConditionalGeneration"], "model_type": "qwen3_5",
        "text_config": {"model_type": "qwen3_5_text"}, "vision_config": {"deepstack_visual_indexes": []},
    });
    let with = |field: &str, value: Value| {
        let mut config = config.clone();
        config[field] = value;
        config
    };
    let read = |config: &Value| read("Qwen/Qwen3.5-4B", config, None);
    assert_eq!(read(&config), spec(Quantization::None));
    assert_eq!(
        read(&with("model_type", Value::Null)),
        spec(Quantization::None)
    );
    assert_eq!(
        read(&json!({"text_config": {"model_type": "qwen3_5_text"}, "vision_config": {}})),
        spec(Quantization::None)
    );
    let fp8 = json!({"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]});
    assert_eq!(
        read(&with("quantization_config", fp8)),
        spec(Quantization::Fp8Blocks)
    );
    let experts = with("text_config", json!({"num_experts": 256}));
    refused(
        "org/it",
        &experts,
        None,
        &["a mixture of 256 experts", "--engine server"],
    );
    let four_bits = with("quantization_config", json!({"quant_method": "awq"}));
    refused(
        "org/Qwen3.5-4B-AWQ",
        &four_bits,
        None,
        &["with AWQ", "use Qwen/Qwen3.5-4B, which --dtype"],
    );
}

#[test]
fn quantized_checkpoints_are_refused_by_method_with_what_works() {
    let base = "use Qwen/Qwen3-VL-8B-Instruct, which --dtype q8_0";
    let unknown = "use the checkpoint that it was made from";
    for (name, scheme, words) in [
        (
            "cyankiwi/Qwen3-VL-8B-Instruct-AWQ-4bit",
            json!({"quant_method": "awq", "bits": 4}),
            ["is quantized with AWQ (quantization_config in its", base],
        ),
        (
            "models/Qwen3-VL-8B-Instruct-GPTQ-Int4/",
            json!({"quant_method": "gptq"}),
            ["with GPTQ", base],
        ),
        (
            "unsloth/Qwen3-VL-8B-Instruct-unsloth-bnb-4bit",
            json!({"quant_method": "bitsandbytes", "load_in_4bit": true}),
            ["with bitsandbytes, 4 bits", base],
        ),
        (
            "org/ocr",
            json!({"quant_method": "compressed-tensors", "format": "float-quantized"}),
            ["with compressed-tensors, float-quantized", unknown],
        ),
        (
            "org/ocr-FP8",
            json!({"quant_method": "fp8", "activation_scheme": "dynamic"}),
            ["with FP8 without block scales", unknown],
        ),
        (
            "org/ocr",
            json!({"quant_method": "fp8", "weight_block_size": [64, 64]}),
            ["with FP8 in blocks of [64,64]", unknown],
        ),
        (
            "org/ocr",
            json!({"quant_method": "fp8", "weight_block_size": [128, 128], "fmt": "e5m2"}),
            ["e5m2", unknown],
        ),
        (
            "org/ocr",
            json!({"quant_method": "quark"}),
            ["with quark", unknown],
        ),
        ("org/ocr", json!({"bits": 3}), ["3 bits", unknown]),
    ] {
        let config = config_with("quantization_config", scheme);
        refused(name, &config, None, &words);
    }
    let inner =
        json!({"model_type": "qwen3_vl_text", "quantization_config": {"quant_method": "awq"}});
    refused(
        "org/ocr",
        &config_with("text_config", inner),
        None,
        &["with AWQ"],
    );
    let mlx = config_with("quantization", json!({"group_size": 64, "bits": 4}));
    refused(
        "mlx-community/Qwen3-VL-8B-Instruct-4bit",
        &mlx,
        None,
        &["MLX, 4 bits", base],
    );
}

#[test]
fn fp8_with_block_scales_is_read() {
    let scheme = json!({
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128],
        "modules_to_not_convert": ["lm_head", "model.visual.merger.linear_fc1"],
    });
    let spec = read(
        "Qwen/Qwen3-VL-8B-Instruct-FP8",
        &config_with("quantization_config", scheme),
        None,
    );
    assert_eq!(spec.unwrap().quantization, Quantization::Fp8Blocks);
}

/// Published templates, cut to what matters.
const PAGE: &str = "<|im_start|>user\n<|image_pad|>{{ messages[0].content[1].text }}<|im_end|>\n<|im_start|>assistant\n";

#[test]
fn template_with_think_block_is_refused() {
    let thinking =
        PAGE.to_owned() + "{%- if add_generation_prompt %}{{- '\\n<think>\\n' }}{%- endif %}";
    let config = config_with("quantization_config", Value::Null);
    let words = [
        "thinks before it answers (its chat template opens a <think> block)",
        "use Qwen/Qwen3-VL-8B-Instruct, or serve it",
    ];
    refused(
        "Qwen/Qwen3-VL-8B-Thinking",
        &config,
        Some(&thinking),
        &words,
    );
    refused(
        "org/ocr",
        &config,
        Some(&thinking),
        &["use an Instruct checkpoint"],
    );
    refused(
        "Qwen/Qwen3-VL-2B-Thinking",
        &config,
        Some(PAGE),
        &["its name says Thinking"],
    );
    for name in ["org/thinking-about-pages", "Qwen/Qwen3-VL-2B-Instruct"] {
        read(name, &config, Some(PAGE)).unwrap();
    }
}

#[test]
fn optional_thinking_is_turned_off() {
    let hybrid = PAGE.to_owned()
        + "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}\
           {%- else %}{{- '<think>\\n' }}{%- endif %}";
    let config = config_with("quantization_config", Value::Null);
    read("Qwen/Qwen3-VL-2B-Thinking", &config, Some(&hybrid)).unwrap();
    // What a page's instruction or a system turn says of such blocks does not matter.
    let talk = format!("<|im_start|>system\nNever write <think>.<|im_end|>\n{PAGE}");
    read("org/ocr", &config, Some(&talk)).unwrap();
}
