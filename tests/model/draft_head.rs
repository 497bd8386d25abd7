//! A model's own head drafts what the reference's head does, and changes no answer.

use std::sync::Arc;

use candle_core::{D, DType, Device, IndexOp, Tensor};
use image::RgbImage;
use omnidocs::{
    generation::{
        generator::{GenerateOptions, Generator},
        kv_cache::KvCache,
        model::{DraftSlice, Prefilled, SequenceSlice, VisionLanguageModel},
        sampler::Sampling,
        sequence::{Generated, Sequence},
        tokenizer::{ChatTokenizer, Prompt},
    },
    models::{
        self,
        common::model::{QwenVl, Source},
    },
    nn::precision::Precision,
};

use super::{
    golden, max_difference,
    parity::{Case, inputs},
};

/// The one that has a head.
const FOLDER: &str = "tiny-qwen3_5-untied";
const GREEDY: Sampling = Sampling {
    max_new_tokens: 32,
    temperature: 0.0,
    seed: 0,
};

fn load(precision: impl Into<Precision>, draft_head: bool) -> QwenVl {
    let mut model = models::load_from(Source {
        folder: &golden(FOLDER),
        device: &Device::Cpu,
        precision: precision.into(),
        quantized: None,
        draft_head,
    })
    .unwrap();
    model.config.eos_token_ids.clear();
    model
}

/// The head's logits of the token after the next one, for all tokens of a prompt but the last, and for that if it is known
/// what is `written` next.
fn head_logits(model: &QwenVl, case: &Case, written: Option<u32>) -> Tensor {
    let (prompt, mut positions, ..) = inputs(model, case);
    let mut cache = model.new_cache();
    cache.reset(positions.len() + 1).unwrap();
    let hidden = model
        .text
        .forward(&prompt, &positions, None, &mut cache, &mut |_| ())
        .unwrap();
    let mut embeddings = vec![prompt];
    if let Some(token) = written {
        let token = Tensor::new(&[token], &Device::Cpu).unwrap();
        embeddings.push(model.text.embed(&token).unwrap());
        let last = positions[positions.len() - 1];
        positions.push(last.map(|position| position + 1));
    }
    let embeddings = Tensor::cat(&embeddings, 0).unwrap();
    let states = model.text.states(&hidden).unwrap();
    let count = positions.len() - 1;
    let mut slices = [SequenceSlice {
        tokens: count,
        position: 0,
        cache: &mut cache.head().unwrap().cache,
    }];
    let states = model
        .text
        .head()
        .unwrap()
        .forward(
            &embeddings.i(1..).unwrap(),
            &states.i(..count).unwrap(),
            &positions[1..],
            &mut slices,
        )
        .unwrap();
    model.text.logits_of(&states).unwrap()
}

#[test]
fn draft_head_equals_the_reference() {
    let model = load(DType::F32, true);
    for case in Case::all(FOLDER) {
        let wanted = case.get("drafts");
        let found = head_logits(&model, &case, None);
        let (all, kept) = (found.dim(0).unwrap(), wanted.dim(0).unwrap());
        let difference = max_difference(&found.i(all - kept..).unwrap(), wanted);
        assert!(difference < 1e-4, "{}: {difference}", case.name);
    }
}

/// What the model drafts after a case's prompt and `tokens`, which it was shown in `runs` of the decoder.
fn drafted(model: &QwenVl, case: &Case, tokens: &[u32], runs: &[usize], count: usize) -> Vec<u32> {
    let mut cache = model.new_cache();
    let prompt = model.tokenizer.prompt(&case.prompt).unwrap();
    let prefilled = model
        .prefill(&case.image(), &prompt, 60, &mut cache)
        .unwrap();
    let mut at = 0;
    for &run in runs {
        // Three tokens more, which turn out wrong.
        let run_tokens = [&tokens[at..at + run], &[7, 7, 7]].concat();
        let kept = cache.len() + run;
        let mut slices = [SequenceSlice {
            tokens: run_tokens.len(),
            position: prefilled.next + at as u32,
            cache: &mut cache,
        }];
        let run_tokens = Tensor::new(run_tokens, &Device::Cpu).unwrap();
        model.forward(&run_tokens, &mut slices).unwrap();
        cache.truncate(kept).unwrap();
        at += run;
    }
    assert_eq!(at + 1, tokens.len(), "the decoder has not seen the last");
    let mut draft = || {
        let mut slices = [DraftSlice {
            tokens,
            first: prefilled.next,
            count,
            cache: &mut cache,
        }];
        model.draft(&mut slices).map(|mut drafts| drafts.remove(0))
    };
    let drafted = draft().unwrap();
    assert!(draft().is_err(), "nothing is new to it");
    drafted
}

#[test]
fn draft_head_sees_the_same_however_the_answer_was_written() {
    let model = load(DType::F32, true);
    for case in Case::all(FOLDER) {
        let tokens = &case.ints("generated")[..9];
        let logits = head_logits(&model, &case, Some(tokens[0]));
        let last = logits.i(logits.dim(0).unwrap() - 1).unwrap();
        let likeliest: u32 = last.argmax(D::Minus1).unwrap().to_scalar().unwrap();
        assert_eq!(drafted(&model, &case, &tokens[..1], &[], 1), [likeliest]);
        let wanted = drafted(&model, &case, tokens, &[8], 4);
        assert_eq!(wanted.len(), 4);
        for runs in [&[1; 8][..], &[3, 1, 4], &[1, 7]] {
            let found = drafted(&model, &case, tokens, runs, 4);
            assert_eq!(found, wanted, "{} {runs:?}", case.name);
        }
    }
}

/// A model whose head knows what is written: all of it, or with every fourth token wrong.
struct Knowing {
    model: QwenVl,
    answers: Vec<Vec<u32>>,
    is_wrong_at_times: bool,
}

impl VisionLanguageModel for Knowing {
    fn prefill(
        &self,
        page: &RgbImage,
        prompt: &Prompt,
        max_new_tokens: usize,
        cache: &mut KvCache,
    ) -> anyhow::Result<Prefilled> {
        self.model.prefill(page, prompt, max_new_tokens, cache)
    }

    fn forward(&self, tokens: &Tensor, slices: &mut [SequenceSlice]) -> anyhow::Result<Tensor> {
        self.model.forward(tokens, slices)
    }

    fn has_draft_head(&self) -> bool {
        true
    }

    fn draft(&self, slices: &mut [DraftSlice]) -> anyhow::Result<Vec<Vec<u32>>> {
        // So that the head keeps what it keeps; and beyond the end of an answer nothing is known.
        let mut drafts = self.model.draft(slices)?;
        for (slice, draft) in slices.iter().zip(&mut drafts) {
            let mut answers = self.answers.iter();
            let Some(answer) = answers.find(|answer| answer.starts_with(slice.tokens)) else {
                continue;
            };
            let written = slice.tokens.len();
            for (i, (draft, &next)) in draft.iter_mut().zip(&answer[written..]).enumerate() {
                let is_wrong = self.is_wrong_at_times && (written + i).is_multiple_of(4);
                *draft = next ^ u32::from(is_wrong);
            }
        }
        Ok(drafts)
    }

    fn tokenizer(&self) -> &ChatTokenizer {
        &self.model.tokenizer
    }

    fn eos_token_ids(&self) -> &[u32] {
        &[]
    }

    fn new_cache(&self) -> KvCache {
        self.model.new_cache()
    }

    fn device(&self) -> &Device {
        self.model.device()
    }
}

fn begin(generator: &mut Generator, case: &Case, draft: Option<&str>) -> Sequence {
    let prompt = generator.tokenizer().prompt(&case.prompt).unwrap();
    let options = GenerateOptions {
        draft,
        ..GenerateOptions::default()
    };
    generator
        .begin(&case.image(), &prompt, GREEDY, options)
        .unwrap()
}

/// Reads all cases together, each as the one before it is under way.
fn generate(generator: &mut Generator, cases: &[Case], draft: Option<&str>) -> Vec<Generated> {
    let mut sequences: Vec<Sequence> = Vec::new();
    for case in cases {
        sequences.push(begin(generator, case, draft));
        let mut open: Vec<_> = sequences.iter_mut().collect();
        generator.advance(&mut open).unwrap();
    }
    while sequences.iter().any(|sequence| sequence.ending().is_none()) {
        let open = sequences.iter_mut();
        let mut open: Vec<_> = open.filter(|one| one.ending().is_none()).collect();
        generator.advance(&mut open).unwrap();
    }
    let end = |sequence: Sequence| {
        let ending = sequence.ending().unwrap();
        generator.finish(sequence, ending)
    };
    sequences.into_iter().map(end).collect()
}

fn tokens(answers: &[Generated]) -> Vec<Vec<u32>> {
    let tokens = answers.iter().map(|answer| answer.tokens.clone());
    tokens.collect()
}

#[test]
fn drafts_of_the_head_change_no_answer_alone_or_together() {
    let cases = Case::all(FOLDER);
    let mut accepted = 0;
    for precision in [DType::F32.into(), Precision::Q8_0, Precision::Q4_K] {
        let mut plain = Generator::new(Arc::new(load(precision, false)));
        let wanted = tokens(&generate(&mut plain, &cases, None));
        let mut headed = Generator::new(Arc::new(load(precision, true)));
        for draft in ["", "What does it say?"] {
            let found = generate(&mut headed, &cases, Some(draft));
            assert_eq!(tokens(&found), wanted, "{precision:?}");
        }
        for (case, wanted) in cases.iter().zip(&wanted) {
            let alone = generate(&mut headed, std::slice::from_ref(case), Some(""));
            assert_eq!(&alone[0].tokens, wanted, "{} {precision:?}", case.name);
        }
        // The random head is hardly ever right, so that here is one that is.
        for (is_wrong_at_times, pipelined) in [(false, false), (true, false), (true, true)] {
            let mut knowing = Generator::new(Arc::new(Knowing {
                model: load(precision, true),
                answers: wanted.clone(),
                is_wrong_at_times,
            }));
            knowing.pipelined = pipelined;
            let found = generate(&mut knowing, &cases, Some(""));
            assert_eq!(tokens(&found), wanted, "{precision:?}");
            for answer in found {
                assert!(answer.forward_passes + answer.draft_accepted >= answer.tokens.len());
                accepted += answer.draft_accepted;
            }
        }
    }
    assert!(accepted > 150, "{accepted} drafted tokens were right");
}

#[test]
fn checkpoint_without_a_head_names_what_is_missing() {
    let error = models::load_from(Source {
        folder: &golden("tiny-qwen3_5-tied"),
        device: &Device::Cpu,
        precision: DType::F32.into(),
        quantized: None,
        draft_head: true,
    });
    let error = format!("{:#}", error.err().unwrap());
    assert!(
        error.contains("mtp.") && error.contains("missing"),
        "{error}"
    );
    assert!(models::has_draft_head(&golden(FOLDER)).unwrap());
    for other in ["tiny-qwen3_5-tied", "tiny-tied"] {
        assert!(!models::has_draft_head(&golden(other)).unwrap(), "{other}");
    }
}
