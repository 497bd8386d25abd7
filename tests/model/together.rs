//! Pages read together come out as they do alone.

use candle_core::DType;
use omnidocs::{
    generation::{
        generator::{GenerateOptions, Generator},
        sampler::Sampling,
        sequence::Generated,
    },
    nn::precision::Precision,
};

use super::{GREEDY, ReaderCase, reader, reader_cases};

/// Reads `cases` with `slots` of them under way at a time; a page that is done makes room for the next.
pub fn read_together(
    model: &mut Generator,
    cases: &[ReaderCase],
    slots: usize,
    sampling: Sampling,
    draft: bool,
) -> Vec<Generated> {
    let mut waiting = cases.iter().enumerate();
    let mut held = Vec::new();
    let mut done: Vec<Option<Generated>> = vec![None; cases.len()];
    loop {
        while held.len() < slots
            && let Some((i, case)) = waiting.next()
        {
            let options = GenerateOptions {
                draft: draft.then_some(&case.text),
                ..GenerateOptions::default()
            };
            let prompt = case.prompt(model.tokenizer());
            let sequence = model
                .begin(&case.image, &prompt, sampling, options)
                .unwrap();
            held.push((i, sequence));
        }
        if held.is_empty() {
            return done.into_iter().map(Option::unwrap).collect();
        }
        for (i, sequence) in std::mem::take(&mut held) {
            match sequence.ending() {
                Some(ending) => done[i] = Some(model.finish(sequence, ending)),
                None => held.push((i, sequence)),
            }
        }
        if held.len() == slots || waiting.len() == 0 && !held.is_empty() {
            let mut sequences: Vec<_> = held.iter_mut().map(|held| &mut held.1).collect();
            model.advance(&mut sequences).unwrap();
        }
    }
}

#[test]
fn batches_change_no_answer() {
    let mut model = reader(DType::F32);
    let cases = reader_cases();
    for slots in [2, 3, cases.len()] {
        for draft in [false, true] {
            let answers = read_together(&mut model, &cases, slots, GREEDY, draft);
            for (case, answer) in cases.iter().zip(answers) {
                assert_eq!(answer.tokens, case.tokens, "{case:?}, {slots} at a time");
                assert_eq!(answer.draft_accepted > 0, draft, "{case:?}");
            }
        }
    }
}

#[test]
fn batches_change_no_answer_quantized_or_sampled() {
    let cases = reader_cases();
    let hot = Sampling {
        temperature: 0.8,
        seed: 5,
        ..GREEDY
    };
    for precision in [Precision::Q8_0, Precision::Q4_K] {
        let mut model = reader(precision);
        for sampling in [GREEDY, hot] {
            let together = read_together(&mut model, &cases, 3, sampling, false);
            for (case, together) in cases.iter().zip(together) {
                let prompt = case.prompt(model.tokenizer());
                let alone = model
                    .generate(&case.image, &prompt, sampling, GenerateOptions::default())
                    .unwrap();
                assert_eq!(together.tokens, alone.tokens, "{precision:?}, {case:?}");
            }
        }
    }
}
