//! Numbers that are not finite end an answer with an error, never with tokens that mean nothing.

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Device, Tensor};
use omnidocs::{
    generation::{
        generator::{GenerateOptions, Generator},
        sampler::{NotFinite, Sampling},
        sequence::Sequence,
    },
    models,
    nn::precision::Precision,
};
use tempfile::TempDir;

use super::{GREEDY, ReaderCase, golden, reader_cases};

const HOT: Sampling = Sampling {
    temperature: 0.8,
    ..GREEDY
};

/// A copy of a tiny model with some of its weights changed.
fn spoiled(name: &str, spoil: impl FnOnce(&mut HashMap<String, Tensor>)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = HashMap::new();
    for entry in fs::read_dir(golden(name)).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        if file.starts_with("model") && file.ends_with(".safetensors") {
            tensors.extend(candle_core::safetensors::load(&path, &Device::Cpu).unwrap());
        } else if !file.ends_with(".index.json") {
            fs::copy(&path, folder.path().join(file)).unwrap();
        }
    }
    spoil(&mut tensors);
    let path = folder.path().join("model.safetensors");
    candle_core::safetensors::save(&tensors, path).unwrap();
    folder
}

fn open(folder: &Path, precision: Precision) -> Generator {
    let model = models::load(folder, &Device::Cpu, precision, None);
    model.map(Generator::new).unwrap()
}

fn fill(tensors: &mut HashMap<String, Tensor>, name: &str, value: f32) {
    let tensor = tensors.get_mut(name).unwrap();
    let filled = Tensor::full(value, tensor.shape(), &Device::Cpu).unwrap();
    *tensor = filled.to_dtype(tensor.dtype()).unwrap();
}

/// Makes row `row` of a matrix NaN.
fn fill_row(tensors: &mut HashMap<String, Tensor>, name: &str, row: usize) {
    let tensor = tensors.get_mut(name).unwrap();
    let mut rows: Vec<Vec<f32>> = tensor.to_dtype(DType::F32).unwrap().to_vec2().unwrap();
    rows[row].fill(f32::NAN);
    let changed = Tensor::new(rows, &Device::Cpu).unwrap();
    *tensor = changed.to_dtype(tensor.dtype()).unwrap();
}

fn begin(
    generator: &mut Generator,
    case: &ReaderCase,
    sampling: Sampling,
) -> anyhow::Result<Sequence> {
    let prompt = case.prompt(generator.tokenizer());
    let options = GenerateOptions::default();
    generator.begin(&case.image, &prompt, sampling, options)
}

/// A page that the tiny models see at its own size.
fn page() -> ReaderCase {
    let mut cases = reader_cases().into_iter();
    cases.next().unwrap()
}

fn assert_not_finite(error: &anyhow::Error) {
    assert!(error.is::<NotFinite>(), "{error:#}");
    let said = error.to_string();
    assert!(
        said.contains("not finite") && said.contains("--dtype"),
        "{said}"
    );
}

#[test]
fn non_finite_logits_fail_the_page() {
    for value in [f32::NAN, f32::INFINITY] {
        let folder = spoiled("tiny-tied", |tensors| {
            fill(tensors, "model.language_model.norm.weight", value);
        });
        for precision in [
            Precision::Dense(DType::F32),
            Precision::Dense(DType::BF16),
            Precision::Q8_0,
            Precision::Q4_K,
        ] {
            let mut generator = open(folder.path(), precision);
            for sampling in [GREEDY, HOT] {
                let begun = begin(&mut generator, &page(), sampling);
                assert_not_finite(&begun.err().expect("no token"));
            }
        }
    }
}

/// The first two tokens of an answer of the model in `folder` to a page.
fn first_tokens(folder: &Path, case: &ReaderCase) -> [u32; 2] {
    let mut generator = open(folder, Precision::Dense(DType::F32));
    let prompt = case.prompt(generator.tokenizer());
    let options = GenerateOptions::default();
    let answer = generator.generate(&case.image, &prompt, GREEDY, options);
    let tokens = answer.unwrap().tokens;
    [tokens[0], tokens[1]]
}

#[test]
fn non_finite_answer_leaves_the_batch_unchanged() {
    let case = page();
    let other = reader_cases().into_iter().last().unwrap();
    let whole = spoiled("tiny-untied", |_| ());
    let [first, _] = first_tokens(whole.path(), &case);
    // What the decoder sees once it has written the first token.
    let folder = spoiled("tiny-untied", |tensors| {
        let name = "model.language_model.embed_tokens.weight";
        fill_row(tensors, name, first as usize);
    });
    assert_ne!(
        first_tokens(whole.path(), &other)[0],
        first,
        "the other page must be one that does not meet the NaN at once"
    );
    for pipelined in [false, true] {
        let mut generator = open(folder.path(), Precision::Dense(DType::F32));
        generator.pipelined = pipelined;
        let mut bad = begin(&mut generator, &case, GREEDY).unwrap();
        let mut good = begin(&mut generator, &other, GREEDY).unwrap();
        // What a pipelined run wrote is known after the next one.
        for _ in 0..=usize::from(pipelined) {
            generator.advance(&mut [&mut bad, &mut good]).unwrap();
        }
        assert_not_finite(&bad.check().unwrap_err());
        assert!(good.check().is_ok());

        let prompt = case.prompt(generator.tokenizer());
        let options = GenerateOptions::default();
        let alone = generator.generate(&case.image, &prompt, GREEDY, options);
        assert_not_finite(&alone.unwrap_err());
    }
}
