//! A decoder that goes on before its tokens are read, as on a GPU, writes what one does that waits for them.

use candle_core::DType;
use omnidocs::generation::{
    generator::{GenerateOptions, Generator},
    sampler::Sampling,
    sequence::{Ending, Generated},
};

use super::{GREEDY, ReaderCase, reader, reader_cases, together::read_together};

fn alone(
    model: &mut Generator,
    case: &ReaderCase,
    sampling: Sampling,
    draft: Option<&str>,
) -> Generated {
    let options = GenerateOptions {
        draft,
        ..GenerateOptions::default()
    };
    let prompt = case.prompt(model.tokenizer());
    model
        .generate(&case.image, &prompt, sampling, options)
        .unwrap()
}

/// Whether there is time for all cases.
fn long() -> bool {
    std::env::var_os("OMNIDOCS_LONG_TESTS").is_some()
}

/// What must not depend on when tokens are read.
fn facts(answer: &Generated) -> (&[u32], Ending, usize, usize) {
    let Generated {
        tokens,
        ending,
        forward_passes,
        draft_accepted,
        ..
    } = answer;
    (tokens, *ending, *forward_passes, *draft_accepted)
}

#[test]
fn pipelined_decoding_changes_no_answer() {
    let mut waiting = reader(DType::F32);
    let mut pipelined = waiting.share();
    pipelined.pipelined = true;
    let hot = Sampling {
        temperature: 0.8,
        ..GREEDY
    };
    let cut_off = [1, 2, 3, 9].map(|max_new_tokens| Sampling {
        max_new_tokens,
        ..GREEDY
    });
    let step = if long() { 4 } else { 10 };
    for case in reader_cases().into_iter().step_by(step) {
        // Of the second draft nothing is right, so that guesses rest for a while and are then made again.
        for draft in [None, Some("zqx ZQX zqx ZQX"), Some(&*case.text)] {
            for sampling in cut_off.into_iter().chain([GREEDY, hot]) {
                let wanted = alone(&mut waiting, &case, sampling, draft);
                let answer = alone(&mut pipelined, &case, sampling, draft);
                assert_eq!(
                    facts(&answer),
                    facts(&wanted),
                    "{case:?} {sampling:?} {draft:?}"
                );
            }
        }
    }
}

#[test]
fn pipelined_batches_change_no_answer() {
    let mut model = reader(DType::F32);
    model.pipelined = true;
    let cases = reader_cases();
    let all = [3, 2, cases.len()];
    for &slots in if long() { &all[..] } else { &all[..1] } {
        for draft in [false, true] {
            let answers = read_together(&mut model, &cases, slots, GREEDY, draft);
            for (case, answer) in cases.iter().zip(answers) {
                assert_eq!(answer.tokens, case.tokens, "{case:?}, {slots} at a time");
            }
        }
    }
}
