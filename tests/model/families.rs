//! What every family has, shown on its tiny random models: drafts, batches and weights of few bits.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use image::{Rgb, RgbImage};
use omnidocs::{
    generation::{
        generator::{GenerateOptions, Generator},
        model::VisionLanguageModel,
        sampler::Sampling,
        sequence::Sequence,
    },
    models,
    nn::precision::Precision,
};

use super::{TINY_MODELS, golden};

const SAMPLING: Sampling = Sampling {
    max_new_tokens: 24,
    temperature: 0.0,
    seed: 0,
};

fn model(folder: &str, precision: Precision) -> Arc<dyn VisionLanguageModel> {
    models::load(&golden(folder), &Device::Cpu, precision, None).unwrap()
}

/// Pages of several sizes, in image tokens: those with edge windows among them.
fn pages(folder: &str) -> Vec<RgbImage> {
    let factor = models::pixel_budget(&golden(folder)).unwrap().factor;
    [(5, 3), (2, 2), (1, 4)]
        .map(|(width, height)| {
            RgbImage::from_fn(width * factor, height * factor, |x, y| {
                Rgb([(x * 7) as u8, (y * 11) as u8, (x * y) as u8])
            })
        })
        .into()
}

#[test]
fn drafts_and_batches_change_no_answer_in_any_family() {
    for folder in TINY_MODELS {
        let mut generator = Generator::new(model(folder, DType::F32.into()));
        let prompt = generator.tokenizer().prompt("Read.").unwrap();
        let pages = pages(folder);
        let plain = GenerateOptions::default();
        let alone: Vec<Vec<u32>> = pages
            .iter()
            .map(|page| {
                let answer = generator.generate(page, &prompt, SAMPLING, plain).unwrap();
                answer.tokens
            })
            .collect();
        for (page, wanted) in pages.iter().zip(&alone) {
            let text = generator.tokenizer().decode(wanted).unwrap();
            let options = GenerateOptions {
                draft: Some(&text),
                ..plain
            };
            let drafted = generator
                .generate(page, &prompt, SAMPLING, options)
                .unwrap();
            assert_eq!(&drafted.tokens, wanted, "{folder}");
        }
        let mut sequences: Vec<Sequence> = pages
            .iter()
            .map(|page| generator.begin(page, &prompt, SAMPLING, plain).unwrap())
            .collect();
        loop {
            let mut open: Vec<&mut Sequence> = sequences
                .iter_mut()
                .filter(|sequence| sequence.ending().is_none())
                .collect();
            if open.is_empty() {
                break;
            }
            generator.advance(&mut open).unwrap();
        }
        for (sequence, wanted) in sequences.into_iter().zip(&alone) {
            let ending = sequence.ending().unwrap();
            assert_eq!(
                &generator.finish(sequence, ending).tokens,
                wanted,
                "{folder}"
            );
        }
    }
}

#[test]
fn odd_widths_are_quantized_or_stay_as_they_are() {
    for folder in TINY_MODELS {
        let page = &pages(folder)[0];
        let logits = |precision| -> Vec<f32> {
            let model = model(folder, precision);
            let prompt = model.tokenizer().prompt("Read.").unwrap();
            let prefilled = model.prefill(page, &prompt, 1, &mut model.new_cache());
            let logits: Tensor = prefilled.unwrap().logits;
            logits.flatten_all().unwrap().to_vec1().unwrap()
        };
        let exact = logits(DType::F32.into());
        // Gates and states of a tiny random model amplify what rounding leaves.
        let least_q8 = if folder.contains("qwen3_5") {
            0.995
        } else {
            0.998
        };
        for (precision, least) in [(Precision::Q8_0, least_q8), (Precision::Q4_K, 0.98)] {
            let found = logits(precision);
            let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
            let cosine = dot(&exact, &found) / (dot(&exact, &exact) * dot(&found, &found)).sqrt();
            assert!(cosine > least, "{folder} {precision:?}: {cosine}");
        }
    }
}
