//! The model: parity with the reference implementation, and what happens when its files don't fit each other.

mod ahead;
mod draft_head;
mod drafts;
mod families;
#[path = "../common/fuzz.rs"]
mod feeding;
mod folder;
mod fp8;
mod fuzz;
mod not_finite;
mod parity;
mod positions;
mod published;
mod published_sizes;
mod quantized;
mod qwen3_5;
mod spec;
mod together;

use std::{
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use omnidocs::{
    generation::{
        generator::Generator,
        sampler::Sampling,
        tokenizer::{ChatTokenizer, Prompt},
    },
    models::{self, common::model::QwenVl, pixel_budget},
    nn::precision::Precision,
};
use serde::{Deserialize, de::DeserializeOwned};

/// Two tiny random models of each family, which between them have every trait of the published ones.
const TINY_MODELS: [&str; 8] = [
    "tiny-tied",
    "tiny-untied",
    "tiny-qwen2_5_vl-tied",
    "tiny-qwen2_5_vl-untied",
    "tiny-qwen2_vl-tied",
    "tiny-qwen2_vl-untied",
    "tiny-qwen3_5-tied",
    "tiny-qwen3_5-untied",
];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// A model with its intermediates.
fn load(folder: &Path) -> anyhow::Result<QwenVl> {
    models::load_parts(folder, &Device::Cpu, DType::F32.into(), None)
}

/// The reader, as an engine has it.
fn reader(precision: impl Into<Precision>) -> Generator {
    let model = models::load(&example("reader"), &Device::Cpu, precision.into(), None);
    model.map(Generator::new).unwrap()
}

const GREEDY: Sampling = Sampling {
    max_new_tokens: 320,
    temperature: 0.0,
    seed: 0,
};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

fn max_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .max_all()
        .unwrap()
        .to_scalar()
        .unwrap()
}

fn read_json<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&fs::read(golden(name)).unwrap()).unwrap()
}

/// A page, and what the reference implementation reads on it with the reader's weights, greedily, in f32.
struct ReaderCase {
    file: String,
    image: RgbImage,
    instruction: String,
    text: String,
    /// Without the token that ends the answer.
    tokens: Vec<u32>,
}

impl ReaderCase {
    fn prompt(&self, tokenizer: &ChatTokenizer) -> Prompt {
        tokenizer.prompt(&self.instruction).unwrap()
    }
}

impl std::fmt::Debug for ReaderCase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.file, self.instruction)
    }
}

/// The pages that the reader sees at their own size.
fn reader_cases() -> Vec<ReaderCase> {
    #[derive(Deserialize)]
    struct Golden {
        image: String,
        prompt: String,
        text: String,
        tokens: Vec<u32>,
    }

    let limits = pixel_budget(&example("reader")).unwrap();
    let cases: Vec<Golden> = read_json("reader.json");
    let opened = cases.into_iter().map(|mut case| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&case.image);
        case.tokens.pop();
        ReaderCase {
            file: case.image,
            image: image::open(path).unwrap().to_rgb8(),
            instruction: case.prompt,
            text: case.text,
            tokens: case.tokens,
        }
    });
    opened
        .filter(|case| u64::from(case.image.width() * case.image.height()) <= limits.max_pixels)
        .collect()
}

/// How alike two vectors are, 1.0 at most.
fn cosine(a: &Tensor, b: &Tensor) -> f32 {
    let dot = |a: &Tensor, b: &Tensor| (a * b).unwrap().sum_all().unwrap();
    let dot = |a: &Tensor, b: &Tensor| dot(a, b).to_scalar::<f32>().unwrap();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
