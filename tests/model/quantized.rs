//! Weights of few bits: close to those in f32, and kept for the next start.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use candle_core::{DType, Device};
use omnidocs::{
    generation::{generator::GenerateOptions, model::VisionLanguageModel},
    models,
    nn::{precision::Precision, quantized::QuantizedFile},
};

use super::{GREEDY, cosine, example, reader, reader_cases};

#[test]
fn quantized_logits_are_close_to_f32() {
    let dense = reader(DType::F32);
    for (precision, least) in [(Precision::Q8_0, 0.999), (Precision::Q4_K, 0.99)] {
        let model = reader(precision);
        for case in reader_cases() {
            let prompt = case.prompt(model.tokenizer());
            let logits = |model: &dyn VisionLanguageModel| {
                model
                    .prefill(&case.image, &prompt, 1, &mut model.new_cache())
                    .unwrap()
                    .logits
            };
            let cosine = cosine(&logits(dense.model()), &logits(model.model()));
            assert!(cosine >= least, "{precision:?}, {case:?}: {cosine}");
        }
    }
}

#[test]
fn q8_0_reads_what_f32_reads() {
    let mut model = reader(Precision::Q8_0);
    let (mut wrong, mut all) = (0, 0);
    for case in reader_cases() {
        let prompt = case.prompt(model.tokenizer());
        let answer = model
            .generate(&case.image, &prompt, GREEDY, GenerateOptions::default())
            .unwrap();
        let text = model.tokenizer().decode(&answer.tokens).unwrap();
        let (found, wanted): (Vec<_>, Vec<_>) =
            (text.chars().collect(), case.text.chars().collect());
        all += wanted.len();
        wrong += distance(&found, &wanted);
    }
    println!("{wrong} of {all} characters differ");
    assert!(wrong * 100 <= all, "{wrong} of {all} characters differ");
}

/// How many characters must be put in, taken out or changed (Levenshtein).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[test]
fn quantized_weights_are_cached_and_rebuilt_if_invalid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("omnidocs/reader.safetensors");
    let case = &reader_cases()[0];
    let logits = |model: &dyn VisionLanguageModel| {
        let prompt = case.prompt(model.tokenizer());
        let prefilled = model
            .prefill(&case.image, &prompt, 1, &mut model.new_cache())
            .unwrap();
        prefilled
            .logits
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap()
    };
    let load = |precision| {
        let file = QuantizedFile::open(path.clone());
        models::load(&example("reader"), &Device::Cpu, precision, Some(file)).unwrap()
    };
    let made = logits(&*load(Precision::Q8_0));
    let written = fs::read(&path).unwrap();
    assert_eq!(logits(&*load(Precision::Q8_0)), made);
    assert_eq!(
        fs::read(&path).unwrap(),
        written,
        "it was not written again"
    );

    fs::write(&path, &written[..written.len() / 2]).unwrap();
    assert!(logits(&*load(Precision::Q8_0)) == made);
    assert!(fs::read(&path).unwrap() == written, "it is whole again");
    fs::write(&path, "no tensors").unwrap();
    assert!(logits(&*load(Precision::Q8_0)) == made);
    assert!(fs::read(&path).unwrap() == written, "it is made anew");

    // What dense weights have nothing to keep of.
    fs::remove_file(&path).unwrap();
    load(Precision::Dense(DType::F32));
    assert!(!path.exists());
}

#[test]
fn unused_quantized_weights_expire() {
    let folder = tempfile::tempdir().unwrap();
    let days_ago = |name: &str, days: u64| {
        let file = File::create(folder.path().join(name)).unwrap();
        let then = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
        file.set_modified(then).unwrap();
    };
    let load = |name: &str| {
        let file = QuantizedFile::open(folder.path().join(name));
        models::load(
            &example("reader"),
            &Device::Cpu,
            Precision::Q8_0,
            Some(file),
        )
        .unwrap();
    };
    load("used.safetensors");
    let used = File::open(folder.path().join("used.safetensors")).unwrap();
    used.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    load("used.safetensors");
    days_ago("old.safetensors", 91);
    days_ago("new.safetensors", 89);
    days_ago("notes.txt", 91);
    load("another.safetensors");
    let is_there = |name: &&str| Path::new(folder.path()).join(name).exists();
    let names = [
        "used.safetensors",
        "old.safetensors",
        "new.safetensors",
        "notes.txt",
        "another.safetensors",
    ];
    let left: Vec<_> = names.into_iter().filter(is_there).collect();
    assert_eq!(
        left,
        [
            "used.safetensors",
            "new.safetensors",
            "notes.txt",
            "another.safetensors"
        ]
    );
}
