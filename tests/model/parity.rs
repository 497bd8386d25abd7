//! The model computes what the reference implementation computes, and keeps its own invariants.
//!
//! The goldens come from `tests/golden/make.py`; its head says what each tensor is.

use std::{collections::HashMap, fs, sync::Arc};

use candle_core::{DType, Device, IndexOp, Tensor};
use image::RgbImage;
use omnidocs::{
    generation::{
        generator::{GenerateOptions, Generator},
        kv_cache::KvCache,
        model::VisionLanguageModel,
        sampler::Sampling,
        sequence::Ending,
    },
    models::{
        self,
        common::{
            model::QwenVl,
            parts::Deepstack,
            patches::{Grid, patchify},
            positions::{Position, prompt_positions},
        },
    },
};

use super::{GREEDY, TINY_MODELS, cosine, golden, load, max_difference, reader, reader_cases};

/// What f32 sums in another order may differ by.
const TOLERANCE: f32 = 1e-4;

pub fn tiny(name: &str) -> QwenVl {
    load(&golden(name)).unwrap()
}

/// One page of a tiny model with all that the reference computed for it.
pub struct Case {
    tensors: HashMap<String, Tensor>,
    pub name: String,
    pub prompt: String,
}

impl Case {
    pub fn all(folder: &str) -> Vec<Self> {
        let path = golden(folder).join("expected.safetensors");
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        let bytes = fs::read(&path).unwrap();
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let prompts: Vec<String> =
            serde_json::from_str(&metadata.metadata().as_ref().unwrap()["prompts"]).unwrap();
        let case = |(i, prompt)| Self {
            tensors: tensors.clone(),
            name: format!("{folder} case{i}"),
            prompt,
        };
        prompts.into_iter().enumerate().map(case).collect()
    }

    pub fn get(&self, name: &str) -> &Tensor {
        &self.tensors[&format!("{}.{name}", self.name.rsplit(' ').next().unwrap())]
    }

    fn find(&self, name: &str) -> Option<&Tensor> {
        let case = self.name.rsplit(' ').next().unwrap();
        self.tensors.get(&format!("{case}.{name}"))
    }

    pub fn ints(&self, name: &str) -> Vec<u32> {
        let values: Vec<i64> = self.get(name).flatten_all().unwrap().to_vec1().unwrap();
        values.into_iter().map(|value| value as u32).collect()
    }

    /// How many tensors are called `{name}.{i}`, counted from `first`.
    fn count(&self, name: &str, first: usize) -> usize {
        let case = self.name.rsplit(' ').next().unwrap();
        (first..99)
            .take_while(|i| self.tensors.contains_key(&format!("{case}.{name}.{i}")))
            .count()
    }

    pub fn image(&self) -> RgbImage {
        let tensor = self.get("image");
        let (height, width, _) = tensor.dims3().unwrap();
        RgbImage::from_raw(
            width as u32,
            height as u32,
            tensor.flatten_all().unwrap().to_vec1().unwrap(),
        )
        .unwrap()
    }

    pub fn assert_close(&self, name: &str, found: &Tensor) {
        let difference = max_difference(self.get(name), found);
        assert!(
            difference < TOLERANCE,
            "{} {name}: differs by {difference}",
            self.name
        );
    }
}

fn for_each_case(test: impl Fn(&QwenVl, &Case)) {
    for folder in TINY_MODELS {
        let model = tiny(folder);
        for case in Case::all(folder) {
            test(&model, &case);
        }
    }
}

/// Embeddings with the image in place, positions and deepstack features of a case's whole prompt.
pub fn inputs(model: &QwenVl, case: &Case) -> (Tensor, Vec<Position>, Vec<Tensor>, usize) {
    let (patches, grid) = patchify(
        &case.image(),
        &model.config.patches,
        &Device::Cpu,
        DType::F32,
    )
    .unwrap();
    let vision = model.vision.forward(&patches, grid).unwrap();
    let tokens = case.ints("input_ids");
    let merged = grid.merged(model.config.patches.merge_size);
    let start = tokens
        .iter()
        .position(|&token| token == model.config.image_token_id)
        .unwrap();
    let text = model
        .text
        .embed(&Tensor::new(&*tokens, &Device::Cpu).unwrap())
        .unwrap();
    let parts = [
        text.i(..start).unwrap(),
        vision.embeddings,
        text.i(start + merged.len()..).unwrap(),
    ];
    let positions = prompt_positions(&tokens, model.config.image_token_id, &[merged]).unwrap();
    (
        Tensor::cat(&parts, 0).unwrap(),
        positions.tokens,
        vision.deepstack,
        start,
    )
}

fn empty_cache(model: &QwenVl, capacity: usize) -> KvCache {
    let mut cache = model.new_cache();
    cache.reset(capacity).unwrap();
    cache
}

#[test]
fn patches_equal_the_reference_and_both_of_its_frames() {
    for_each_case(|model, case| {
        let (patches, grid) = patchify(
            &case.image(),
            &model.config.patches,
            &Device::Cpu,
            DType::F32,
        )
        .unwrap();
        assert_eq!(
            case.ints("grid_thw"),
            [1, grid.rows as u32, grid.cols as u32]
        );
        let side = model.config.patches.patch_size;
        // Of each model at least one case has them.
        let Some(reference) = case.find("patches") else {
            return;
        };
        // Some goldens hold one of the frames alone.
        let frames = reference.dim(1).unwrap() / (3 * side * side);
        let reference = reference
            .reshape((grid.len(), 3, frames, side * side))
            .unwrap();
        for frame in 0..frames {
            let frame = reference
                .i((.., .., frame, ..))
                .unwrap()
                .reshape((grid.len(), 3 * side * side))
                .unwrap();
            let difference = max_difference(&frame, &patches);
            assert!(difference < 1e-6, "{}: {difference}", case.name);
        }
    });
}

#[test]
fn prompt_tokens_and_positions_equal_the_reference() {
    for_each_case(|model, case| {
        let grid = Grid::of(
            case.image().width(),
            case.image().height(),
            &model.config.patches,
        )
        .unwrap();
        let merged = grid.merged(model.config.patches.merge_size);
        let tokens = model
            .tokenizer
            .prompt(&case.prompt)
            .unwrap()
            .tokens(merged.len());
        assert_eq!(tokens, case.ints("input_ids"), "{}", case.name);
        let positions = prompt_positions(&tokens, model.config.image_token_id, &[merged]).unwrap();
        let by_axis: Vec<u32> = (0..3)
            .flat_map(|axis| positions.tokens.iter().map(move |position| position[axis]))
            .collect();
        assert_eq!(by_axis, case.ints("position_ids"), "{}", case.name);
    });
}

#[test]
fn vision_output_and_each_deepstack_feature_equal_the_reference() {
    for_each_case(|model, case| {
        let (patches, grid) = patchify(
            &case.image(),
            &model.config.patches,
            &Device::Cpu,
            DType::F32,
        )
        .unwrap();
        let vision = model.vision.forward(&patches, grid).unwrap();
        case.assert_close("vision", &vision.embeddings);
        let taps = case.count("deepstack", 0);
        assert_eq!(vision.deepstack.len(), taps);
        assert_eq!(taps > 0, !case.name.contains("qwen"), "{}", case.name);
        for (i, feature) in vision.deepstack.iter().enumerate() {
            case.assert_close(&format!("deepstack.{i}"), feature);
        }
    });
}

#[test]
fn hidden_states_of_every_layer_and_logits_equal_the_reference() {
    for_each_case(|model, case| {
        let (embeddings, positions, features, start) = inputs(model, case);
        case.assert_close("hidden.0", &embeddings);
        let mut cache = empty_cache(model, positions.len());
        let mut layers = Vec::new();
        let deepstack = Deepstack {
            start,
            features: &features,
        };
        let last = model
            .text
            .forward(
                &embeddings,
                &positions,
                Some(&deepstack),
                &mut cache,
                &mut |x| {
                    layers.push(x.clone());
                },
            )
            .unwrap();
        assert_eq!(layers.len(), case.count("hidden", 1));
        for (i, layer) in layers.iter().enumerate() {
            case.assert_close(&format!("hidden.{}", i + 1), layer);
        }
        // Some goldens hold the logits of the last positions alone.
        let kept = case.get("logits").dim(0).unwrap();
        let last = last.i(positions.len() - kept..).unwrap();
        case.assert_close("logits", &model.text.logits(&last).unwrap());
    });
}

#[test]
fn thirty_two_greedy_tokens_equal_generate() {
    for folder in TINY_MODELS {
        let mut model = tiny(folder);
        model.config.eos_token_ids.clear();
        let mut generator = Generator::new(Arc::new(model));
        for case in Case::all(folder) {
            let prompt = generator.tokenizer().prompt(&case.prompt).unwrap();
            let sampling = Sampling {
                max_new_tokens: 32,
                temperature: 0.0,
                seed: 0,
            };
            let generated = generator
                .generate(&case.image(), &prompt, sampling, GenerateOptions::default())
                .unwrap();
            assert_eq!(generated.tokens, case.ints("generated"), "{}", case.name);
            assert_eq!(generated.ending, Ending::Length);
        }
    }
}

#[test]
fn a_late_token_does_not_change_earlier_hidden_states() {
    for_each_case(|model, case| {
        let (embeddings, positions, features, start) = inputs(model, case);
        let run = |embeddings: &Tensor| {
            let deepstack = Deepstack {
                start,
                features: &features,
            };
            let mut cache = empty_cache(model, positions.len());
            model
                .text
                .forward(
                    embeddings,
                    &positions,
                    Some(&deepstack),
                    &mut cache,
                    &mut |_| (),
                )
                .unwrap()
        };
        let last = positions.len() - 1;
        let other = Tensor::cat(
            &[
                embeddings.i(..last).unwrap(),
                model
                    .text
                    .embed(&Tensor::new(&[5_u32], &Device::Cpu).unwrap())
                    .unwrap(),
            ],
            0,
        )
        .unwrap();
        let (before, after) = (run(&embeddings), run(&other));
        let earlier = |x: &Tensor| x.i(..last).unwrap();
        assert!(
            max_difference(&earlier(&before), &earlier(&after)) < 1e-6,
            "{}",
            case.name
        );
        assert!(
            max_difference(&before, &after) > 1e-3,
            "the last state must change"
        );
    });
}

#[test]
fn token_by_token_through_the_cache_equals_all_at_once() {
    for_each_case(|model, case| {
        let (embeddings, positions, ..) = inputs(model, case);
        let forward = |x: &Tensor, positions: &[Position], cache: &mut KvCache| {
            model
                .text
                .forward(x, positions, None, cache, &mut |_| ())
                .unwrap()
        };
        let at_once = forward(
            &embeddings,
            &positions,
            &mut empty_cache(model, positions.len()),
        );
        let mut cache = empty_cache(model, positions.len());
        // A prefix, a second piece of several tokens, then single ones.
        let mut parts = Vec::new();
        for (from, to) in [(0, 10), (10, 20)]
            .into_iter()
            .chain((20..positions.len()).map(|i| (i, i + 1)))
        {
            parts.push(forward(
                &embeddings.i(from..to).unwrap(),
                &positions[from..to],
                &mut cache,
            ));
        }
        let difference = max_difference(&at_once, &Tensor::cat(&parts, 0).unwrap());
        assert!(difference < TOLERANCE, "{}: {difference}", case.name);
    });
}

#[test]
fn the_second_page_of_a_process_equals_the_same_page_in_a_fresh_one() {
    for folder in TINY_MODELS {
        let cases = Case::all(folder);
        let sampling = Sampling {
            max_new_tokens: 24,
            temperature: 0.7,
            seed: 11,
        };
        let tiny = || Generator::new(Arc::new(tiny(folder)));
        let read = |model: &mut Generator, case: &Case, budget| {
            let prompt = model.tokenizer().prompt(&case.prompt).unwrap();
            let sampling = Sampling {
                max_new_tokens: budget,
                ..sampling
            };
            model
                .generate(&case.image(), &prompt, sampling, GenerateOptions::default())
                .unwrap()
                .tokens
        };
        let fresh = read(&mut tiny(), &cases[1], 24);
        let mut used = tiny();
        // A longer page first, so that the cache is used again and holds old values beyond the new page's end.
        read(&mut used, &cases[0], 40);
        assert_eq!(read(&mut used, &cases[1], 24), fresh, "{folder}");
        assert!(!fresh.is_empty());
    }
}

#[test]
fn half_precision_stays_close_to_f32() {
    for folder in TINY_MODELS {
        let case = &Case::all(folder)[0];
        let logits = |dtype: DType| {
            let model =
                models::load_parts(&golden(folder), &Device::Cpu, dtype.into(), None).unwrap();
            let prompt = model.tokenizer.prompt(&case.prompt).unwrap();
            let logits = model
                .prefill(&case.image(), &prompt, 1, &mut model.new_cache())
                .unwrap()
                .logits;
            logits.to_dtype(DType::F32).unwrap()
        };
        let exact = logits(DType::F32);
        for dtype in [DType::BF16, DType::F16] {
            let cosine = cosine(&exact, &logits(dtype));
            assert!(cosine > 0.99, "{folder} {dtype:?}: {cosine}");
        }
    }
}

#[test]
fn the_reader_writes_what_the_reference_writes_character_by_character() {
    let mut reader = reader(DType::F32);
    let cases = reader_cases();
    assert!(cases.len() >= 30);
    for case in cases {
        let answer = reader
            .generate(
                &case.image,
                &case.prompt(reader.tokenizer()),
                GREEDY,
                GenerateOptions::default(),
            )
            .unwrap();
        let text = reader.tokenizer().decode(&answer.tokens).unwrap();
        assert_eq!(text, case.text, "{case:?}");
        assert_eq!(answer.tokens, case.tokens, "{case:?}");
    }
}
