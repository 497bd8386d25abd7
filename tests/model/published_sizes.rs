//! The sizes of published models, as others quote their `config.json`, are read to the right family and shape.
//!
//! Fields are facts about the models, cut to what is read. Each names where it was found.

use std::fs;

use omnidocs::models::{
    self, qwen2_5_vl, qwen2_vl, qwen3_5, qwen3_vl,
    spec::{Family, ModelSpec, Quantization},
};
use serde_json::{Value, json};
use tempfile::TempDir;

fn folder(config: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

/// The family, and what every family says: vocabulary, context, factor, and the token of an image.
fn read(config: &Value, name: &str) -> (Family, usize, usize, u32, u32) {
    let folder = folder(config);
    let spec = ModelSpec::read(folder.path(), name).unwrap();
    assert_eq!(spec.quantization, Quantization::None);
    let config = models::config(folder.path()).unwrap();
    let (vocabulary, context) = (config.vocab_size, config.max_position_embeddings);
    (
        spec.family,
        vocabulary,
        context,
        config.pixels.factor,
        config.image_token_id,
    )
}

#[test]
fn qwen2_vl_2b_and_olmocr_7b_0225_are_read() {
    // Qwen/Qwen2-VL-2B-Instruct, in the tests of PaddlePaddle/PaddleMIX.
    let small = json!({
        "_name_or_path": "./", "architectures": ["Qwen2VLForConditionalGeneration"], "eos_token_id": 151_645,
        "image_token_id": 151_655, "hidden_act": "silu", "hidden_size": 1536, "intermediate_size": 8960,
        "max_position_embeddings": 32_768, "max_window_layers": 28, "model_type": "qwen2_vl",
        "num_attention_heads": 12, "num_hidden_layers": 28, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "sliding_window": 32_768, "tie_word_embeddings": true, "use_sliding_window": false,
        "vision_config": {
            "depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "in_chans": 3, "hidden_size": 1536,
            "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2,
        },
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}, "vocab_size": 151_936,
    });
    let wanted = (Family::Qwen2Vl, 151_936, 32_768, 28, 151_655);
    assert_eq!(read(&small, "Qwen/Qwen2-VL-2B-Instruct"), wanted);
    // The checkpoint of olmOCR-7B-0225-preview in BrianYAU-NTEC/olmOCR, where it differs.
    let mut olmocr = small.clone();
    for (field, value) in [
        ("hidden_size", 3584),
        ("intermediate_size", 18_944),
        ("num_attention_heads", 28),
        ("num_key_value_heads", 4),
        ("vocab_size", 152_064),
    ] {
        olmocr[field] = json!(value);
    }
    olmocr["tie_word_embeddings"] = json!(false);
    olmocr["vision_config"]["hidden_size"] = json!(3584);
    olmocr["rope_scaling"] = json!({"rope_type": "mrope", "mrope_section": [16, 24, 24]});
    let wanted = (Family::Qwen2Vl, 152_064, 32_768, 28, 151_655);
    assert_eq!(read(&olmocr, "allenai/olmOCR-7B-0225-preview"), wanted);
    for (config, tied, kv_heads) in [(small, true, 2), (olmocr, false, 4)] {
        let folder = folder(&config);
        let config =
            qwen2_vl::config::Config::<qwen2_vl::config::VisionConfig>::read(folder.path());
        let config = config.unwrap();
        assert_eq!(config.text.tie_word_embeddings, tied);
        assert_eq!(
            (config.text.head_dim, config.text.num_key_value_heads),
            (128, kv_heads)
        );
        assert_eq!(config.vision.intermediate_size, 5120);
    }
}

#[test]
fn qwen2_5_vl_3b_is_read() {
    // Qwen/Qwen2.5-VL-3B-Instruct, in notes on the model that print it whole.
    let config = json!({
        "architectures": ["Qwen2_5_VLForConditionalGeneration"], "eos_token_id": 151_645,
        "image_token_id": 151_655, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 11_008,
        "max_position_embeddings": 128_000, "max_window_layers": 70, "model_type": "qwen2_5_vl",
        "num_attention_heads": 16, "num_hidden_layers": 36, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "sliding_window": 32_768, "tie_word_embeddings": true, "transformers_version": "4.41.2",
        "use_sliding_window": false,
        "vision_config": {
            "depth": 32, "hidden_act": "silu", "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
            "in_chans": 3, "out_hidden_size": 2048, "patch_size": 14, "spatial_merge_size": 2,
            "spatial_patch_size": 14, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
            "tokens_per_second": 2, "temporal_patch_size": 2,
        },
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}, "vocab_size": 151_936,
    });
    let wanted = (Family::Qwen25Vl, 151_936, 128_000, 28, 151_655);
    assert_eq!(read(&config, "Qwen/Qwen2.5-VL-3B-Instruct"), wanted);
    let folder = folder(&config);
    let config =
        qwen2_vl::config::Config::<qwen2_5_vl::config::VisionConfig>::read(folder.path()).unwrap();
    assert!(config.text.tie_word_embeddings && config.text.biases.qkv);
    assert_eq!(
        (config.text.num_hidden_layers, config.text.head_dim),
        (36, 128)
    );
    let vision = config.vision;
    assert_eq!((vision.window_side, vision.intermediate_size), (4, 3420));
    assert_eq!(vision.out_hidden_size, 2048);
}

#[test]
fn qwen3_vl_4b_is_read() {
    // Qwen/Qwen3-VL-4B-Instruct, in the encoder `WanMLLMEncoder` for DiffSynth, and in a Rust port's tests.
    let config = json!({
        "architectures": ["Qwen3VLForConditionalGeneration"], "image_token_id": 151_655, "model_type": "qwen3_vl",
        "text_config": {
            "attention_bias": false, "eos_token_id": 151_645, "head_dim": 128, "hidden_act": "silu",
            "hidden_size": 2560, "intermediate_size": 9728, "max_position_embeddings": 262_144,
            "model_type": "qwen3_vl_text", "num_attention_heads": 32, "num_hidden_layers": 36,
            "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "rope_theta": 5_000_000, "tie_word_embeddings": true,
            "rope_scaling": {"mrope_interleaved": true, "mrope_section": [24, 20, 20], "rope_type": "default"},
            "vocab_size": 151_936,
        },
        "tie_word_embeddings": true, "transformers_version": "4.57.0.dev0",
        "vision_config": {
            "deepstack_visual_indexes": [5, 11, 17], "depth": 24, "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 1024, "in_channels": 3, "intermediate_size": 4096, "model_type": "qwen3_vl",
            "num_heads": 16, "num_position_embeddings": 2304, "out_hidden_size": 2560, "patch_size": 16,
            "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
    });
    let wanted = (Family::Qwen3Vl, 151_936, 262_144, 32, 151_655);
    assert_eq!(read(&config, "Qwen/Qwen3-VL-4B-Instruct"), wanted);
    let config = qwen3_vl::config::Config::read(folder(&config).path()).unwrap();
    assert!(config.text.tie_word_embeddings);
    assert_eq!(
        (config.text.num_attention_heads, config.text.head_dim),
        (32, 128)
    );
    assert_eq!(config.vision.position_side, 48);
    assert_eq!(config.vision.deepstack_visual_indexes, [5, 11, 17]);
}

#[test]
fn qwen3_5_9b_is_read() {
    // Qwen/Qwen3.5-9B at revision c2022362, in the tests of the package medrl.
    let kinds = ["linear_attention"; 3]
        .into_iter()
        .chain(["full_attention"]);
    let layers: Vec<&str> = (0..8).flat_map(|_| kinds.clone()).collect();
    let config = json!({
        "architectures": ["Qwen3_5ForConditionalGeneration"], "model_type": "qwen3_5", "image_token_id": 248_056,
        "text_config": {
            "attention_bias": false, "attn_output_gate": true, "eos_token_id": 248_044,
            "full_attention_interval": 4, "head_dim": 256, "hidden_size": 4096, "intermediate_size": 12_288,
            "layer_types": layers, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
            "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_value_head_dim": 128,
            "num_attention_heads": 16, "num_key_value_heads": 4, "num_hidden_layers": 32, "rms_norm_eps": 1e-6,
            "vocab_size": 248_320, "mamba_ssm_dtype": "float32", "mtp_num_hidden_layers": 1,
            "mtp_use_dedicated_embeddings": false, "max_position_embeddings": 262_144,
            "rope_parameters": {
                "mrope_interleaved": true, "mrope_section": [11, 11, 10], "rope_type": "default",
                "rope_theta": 10_000_000, "partial_rotary_factor": 0.25,
            },
            "tie_word_embeddings": false,
        },
        "vision_config": {
            "depth": 27, "hidden_size": 1152, "in_channels": 3, "intermediate_size": 4304, "num_heads": 16,
            "num_position_embeddings": 2304, "out_hidden_size": 4096, "patch_size": 16, "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    });
    let wanted = (Family::Qwen35, 248_320, 262_144, 32, 248_056);
    assert_eq!(read(&config, "Qwen/Qwen3.5-9B"), wanted);
    let read = folder(&config);
    assert!(models::may_have_draft_head(read.path()).unwrap());
    let config = qwen3_5::config::Config::read(read.path()).unwrap();
    assert_eq!(
        (config.linear.channels(), config.text.rotary_dim),
        (8192, 64)
    );
    let full = config.layers.iter();
    let full = full.filter(|kind| **kind == qwen3_5::config::LayerType::Full);
    assert_eq!((config.layers.len(), full.count()), (32, 8));
    assert!(!config.text.tie_word_embeddings);
}
