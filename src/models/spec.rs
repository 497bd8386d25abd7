//! What a model is, from its small files alone, so that one that can't be computed is refused before its weights are
//! fetched: by its family, its quantization, and whether it thinks aloud.

use std::path::Path;

use anyhow::{Error, Result};
use serde_json::Value;

use crate::{generation::chat_template::ChatTemplate, model_files::read_json};

/// What works for every model that is refused.
const SERVER: &str = "serve it with vLLM and use --engine server";
/// What works for everybody.
const PUBLISHED: &str = "a Qwen3-VL model like Qwen/Qwen3-VL-2B-Instruct";

/// What a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelSpec {
    /// Which code computes it.
    pub family: Family,
    /// How its weights are kept in its files.
    pub quantization: Quantization,
}

/// Models of one architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Qwen2-VL.
    Qwen2Vl,
    /// Qwen2.5-VL.
    Qwen25Vl,
    /// Qwen3-VL, without experts.
    Qwen3Vl,
    /// Qwen3.5, without experts.
    Qwen35,
}

impl Family {
    /// By `model_type`.
    const READ: [(&str, Self); 4] = [
        ("qwen2_vl", Self::Qwen2Vl),
        ("qwen2_5_vl", Self::Qwen25Vl),
        ("qwen3_vl", Self::Qwen3Vl),
        ("qwen3_5", Self::Qwen35),
    ];
    /// By the name in `architectures`, for configurations whose `model_type` got lost.
    const ARCHITECTURES: [(&str, Self); 4] = [
        ("Qwen2VLForConditionalGeneration", Self::Qwen2Vl),
        ("Qwen2_5_VLForConditionalGeneration", Self::Qwen25Vl),
        ("Qwen3VLForConditionalGeneration", Self::Qwen3Vl),
        ("Qwen3_5ForConditionalGeneration", Self::Qwen35),
    ];

    /// That of the model in `folder`.
    ///
    /// # Errors
    /// As [`ModelSpec::read`].
    pub fn of(folder: &Path) -> Result<Self> {
        let name = folder.display().to_string();
        family(&read_json(folder, "config.json")?, &name)
    }
}

/// What people call families that are not read.
const NOT_READ: [(&str, &str); 9] = [
    ("qwen3_vl_moe", "Qwen3-VL mixture-of-experts"),
    ("qwen3_5_moe", "Qwen3.5 mixture-of-experts"),
    ("qwen2_5_omni", "Qwen2.5-Omni"),
    ("qwen3_omni_moe", "Qwen3-Omni"),
    ("gemma3", "Gemma 3"),
    ("internvl", "InternVL"),
    ("internvl_chat", "InternVL"),
    ("paddleocr_vl", "PaddleOCR-VL"),
    ("deepseek_vl_v2", "DeepSeek-VL2 or DeepSeek-OCR"),
];

/// How the weights are kept in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// As numbers.
    None,
    /// In FP8 (E4M3) with a scale for each block of 128 × 128, which is read as numbers.
    Fp8Blocks,
}

impl ModelSpec {
    /// Reads the small files in `folder` of the model that people call `name`.
    ///
    /// # Errors
    /// A file can't be read, or the model is one that can't be computed: the error says what it is and what would work.
    pub fn read(folder: &Path, name: &str) -> Result<Self> {
        let config: Value = read_json(folder, "config.json")?;
        let spec = Self {
            family: family(&config, name)?,
            quantization: quantization(&config, name)?,
        };
        check_thinking(folder, name)?;
        Ok(spec)
    }
}

fn family(config: &Value, name: &str) -> Result<Family> {
    let refused = |what: &str| Error::msg(format!("{name} {what}; {SERVER}, or use {PUBLISHED}"));
    let architectures = strings(&config["architectures"]);
    let family = match (
        config["model_type"].as_str(),
        by_shape(config, &architectures),
    ) {
        (Some(model_type), _) => match find(&Family::READ, model_type) {
            Some(family) => family,
            None => return Err(refused(&describe_family(config, model_type))),
        },
        (None, Some(family)) => family,
        (None, None) => {
            let known_by = match architectures.first() {
                Some(architecture) => format!("its architecture is {architecture}"),
                None => "its config.json has neither model_type nor architectures".to_owned(),
            };
            return Err(refused(&format!(
                "is not a model that omnidocs can run ({known_by})"
            )));
        }
    };
    for part in [config, &config["text_config"]] {
        for field in ["num_experts", "num_local_experts", "n_routed_experts"] {
            if let Some(count @ 1..) = part[field].as_u64() {
                return Err(refused(&format!(
                    "is a mixture of {count} experts ({field} in its config.json), which omnidocs cannot run"
                )));
            }
        }
    }
    // An embedder or a classifier on the same decoder, which writes no text.
    let writes = |name: &&str| {
        ["ForConditionalGeneration", "ForCausalLM", "Model"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    if let Some(other) = architectures.first()
        && !architectures.iter().any(writes)
    {
        return Err(refused(&format!(
            "does not write text (its architecture is {other})"
        )));
    }
    Ok(family)
}

fn describe_family(config: &Value, model_type: &str) -> String {
    let sees = config.get("vision_config").is_some();
    match find(&NOT_READ, model_type) {
        Some(label) => {
            format!("is a {label} model (model_type {model_type}), which omnidocs cannot run")
        }
        None if model_type.starts_with("qwen") && !sees => {
            format!("is a text model (model_type {model_type}), which cannot read images")
        }
        None => format!("is a model of the type {model_type}, which omnidocs cannot run"),
    }
}

/// For configurations whose `model_type` got lost.
fn by_shape(config: &Value, architectures: &[&str]) -> Option<Family> {
    let (text, vision) = (&config["text_config"], &config["vision_config"]);
    let named = architectures
        .iter()
        .find_map(|name| find(&Family::ARCHITECTURES, name));
    let text_type = text["model_type"].as_str().unwrap_or_default();
    let named = named.or_else(|| find(&Family::READ, text_type.strip_suffix("_text")?));
    let seems_qwen3_vl = architectures.is_empty()
        && text.is_object()
        && vision["deepstack_visual_indexes"].is_array();
    named.or(seems_qwen3_vl.then_some(Family::Qwen3Vl))
}

fn quantization(config: &Value, name: &str) -> Result<Quantization> {
    let parts = [config, &config["text_config"], &config["vision_config"]];
    let fields = ["quantization_config", "compression_config", "quantization"];
    let mut said = parts
        .into_iter()
        .flat_map(|part| fields.map(|field| (field, &part[field])));
    let Some((field, scheme)) = said.find(|(_, scheme)| {
        let object = scheme.as_object();
        object.is_some_and(|object| !object.is_empty())
    }) else {
        return Ok(Quantization::None);
    };
    let method = scheme["quant_method"].as_str();
    let what = match method {
        Some("fp8") => match unsupported_fp8(scheme) {
            None => return Ok(Quantization::Fp8Blocks),
            Some(what) => what,
        },
        Some("awq") => "AWQ".to_owned(),
        Some("gptq") => "GPTQ".to_owned(),
        Some("auto-round") => "AutoRound".to_owned(),
        Some("bitsandbytes") if scheme["load_in_4bit"] == true => "bitsandbytes, 4 bits".to_owned(),
        Some("bitsandbytes") => "bitsandbytes".to_owned(),
        Some("compressed-tensors") => match scheme["format"].as_str() {
            Some(format) => format!("compressed-tensors, {format}"),
            None => "compressed-tensors".to_owned(),
        },
        Some(method) => method.to_owned(),
        None => match (field, scheme["bits"].as_u64()) {
            ("quantization", Some(bits)) => format!("MLX, {bits} bits"),
            (_, Some(bits)) => format!("{bits} bits of an unnamed method"),
            (_, None) => "a method without a name".to_owned(),
        },
    };
    let instead = published_name(name).map_or_else(
        || "the checkpoint that it was made from".to_owned(),
        |name| name.replace("-Thinking", "-Instruct"),
    );
    let field = method.map_or_else(
        || format!("{field} in its config.json"),
        |method| format!("{field} in its config.json, quant_method {method}"),
    );
    Err(Error::msg(format!(
        "{name} is quantized with {what} ({field}), which omnidocs cannot read; use {instead}, which --dtype q8_0 or \
         q4_k quantizes as it loads, or {SERVER}"
    )))
}

/// What is not read of a checkpoint in FP8, if anything is not.
fn unsupported_fp8(scheme: &Value) -> Option<String> {
    let (format, activations) = (&scheme["fmt"], &scheme["activation_scheme"]);
    match &scheme["weight_block_size"] {
        Value::Null => return Some("FP8 without block scales".to_owned()),
        size if *size != serde_json::json!([128, 128]) => {
            return Some(format!("FP8 in blocks of {size}"));
        }
        _ => {}
    }
    if !(format.is_null() || *format == "e4m3") {
        return Some(format!("FP8 in the format {format}"));
    }
    if !(activations.is_null() || *activations == "dynamic") {
        return Some(format!("FP8 with activation_scheme {activations}"));
    }
    None
}

/// Refuses a model that writes its reasoning before the page's text.
fn check_thinking(folder: &Path, name: &str) -> Result<()> {
    const INSTRUCTION: &str = "Read this page.";
    let template = ChatTemplate::read(folder)?;
    let prompt = template.render(INSTRUCTION)?;
    let begins = prompt
        .rsplit_once(INSTRUCTION)
        .map_or("", |(_, after)| after);
    let why = match (begins.rfind("<think>"), begins.rfind("</think>")) {
        (Some(opened), closed) if closed.is_none_or(|closed| closed < opened) => {
            "its chat template opens a <think> block"
        }
        (None, None) if is_named_thinking(name) && !template.can_skip_thinking() => {
            "its name says Thinking, and its chat template has no way to turn that off"
        }
        _ => return Ok(()),
    };
    let instead = published_name(name)
        .map(|name| name.replace("-Thinking", "-Instruct"))
        .filter(|name| name.ends_with("-Instruct"));
    let instead = instead.as_deref().unwrap_or("an Instruct checkpoint of it");
    Err(Error::msg(format!(
        "{name} thinks before it answers ({why}), so its reasoning would become part of the page's text; use \
         {instead}, or {SERVER}, with a reasoning parser"
    )))
}

/// Whether a model is named like the published Thinking ones.
fn is_named_thinking(name: &str) -> bool {
    published_name(name).is_some_and(|name| name.split('-').any(|part| part == "Thinking"))
}

/// The hub's name of the checkpoint by Qwen that `name` is a copy of, quantized or not. None if that is not known.
fn published_name(name: &str) -> Option<String> {
    const MARKS: [&str; 30] = [
        "autoround",
        "awq",
        "bf16",
        "bit",
        "block",
        "bnb",
        "dynamic",
        "exl2",
        "exl3",
        "fp8",
        "gguf",
        "gptq",
        "hqq",
        "int3",
        "int4",
        "int8",
        "marlin",
        "mlx",
        "mxfp4",
        "nvfp4",
        "quantized",
        "sym",
        "unsloth",
        "w4a16",
        "w8a16",
        "w8a8",
        "2bit",
        "3bit",
        "4bit",
        "8bit",
    ];
    let base = name.trim_end_matches('/').rsplit('/').next()?;
    let base = base.split_once('@').map_or(base, |(base, _)| base);
    let mut parts: Vec<&str> = base.split('-').collect();
    while parts
        .last()
        .is_some_and(|last| MARKS.contains(&last.to_ascii_lowercase().as_str()))
    {
        parts.pop();
    }
    match parts[..] {
        [
            "Qwen2" | "Qwen2.5" | "Qwen3",
            "VL",
            ..,
            "Instruct" | "Thinking",
        ]
        | ["Qwen3.5", _] => Some(format!("Qwen/{}", parts.join("-"))),
        _ => None,
    }
}

fn find<T: Copy>(table: &[(&str, T)], key: &str) -> Option<T> {
    let mut rows = table.iter();
    rows.find(|row| row.0 == key).map(|row| row.1)
}

fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}
