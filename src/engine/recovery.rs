//! What becomes of a page that an engine failed on, for every engine: a rule without state or clocks.
//!
//! | what happened | what is done |
//! |---|---|
//! | an answer that is whole | it is kept |
//! | an answer that looped, was cut off or can't be parsed | one more, sampled; the better of the two is kept |
//! | a failure that may pass (a crash, nonsense from a server) | tried again up to `--retries` times, after a pause |
//! | too little memory | tried again with 0.7 of the pixels, twice, after a pause |
//! | any other failure | the page fails, or goes to the fallback |

use super::PageResult;
use crate::{
    error::{ErrorKind, PageError},
    page::{FinishReason, PageAnswer, Warning},
};

/// The factor by which a page's pixels shrink when memory runs out, and the maximum number of times.
const SHRINK: [f64; 2] = [0.7, 0.7];

/// What has happened to a page so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Number of attempts.
    pub attempts: u32,
    /// Number of reductions.
    pub shrunk: usize,
    /// Tries since then that ended in a failure that may pass.
    passing_failures: u32,
    /// The answer that looped, was cut off or can't be parsed, while another one is tried for.
    best: Option<PageAnswer>,
}

/// The next step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// This is what becomes of the page.
    Finish(PageResult),
    /// The same again, after a pause.
    Again,
    /// The same with this part of the pixels, after a pause. If it can't be made smaller, it fails with this error.
    Shrink(f64, PageError),
    /// Another answer, at once.
    Resample,
}

impl History {
    /// Takes down how a try ended and says what is done next, where a page may be tried again `retries` times.
    pub fn after(&mut self, result: PageResult, retries: u32) -> Step {
        self.attempts += 1;
        if let Some(first) = self.best.take() {
            // Whatever became of the second answer, there is the first one.
            let better = result.ok().filter(|second| worth(second) > worth(&first));
            return Step::Finish(Ok(better.unwrap_or(first)));
        }
        match result {
            Ok(answer) if retries > 0 && !is_whole(&answer) => {
                self.best = Some(answer);
                Step::Resample
            }
            Err(error) if error.may_pass() && self.passing_failures < retries => {
                self.passing_failures += 1;
                Step::Again
            }
            Err(error) if error.kind == ErrorKind::OutOfMemory => match SHRINK.get(self.shrunk) {
                Some(&part) => {
                    self.shrunk += 1;
                    self.passing_failures = 0;
                    Step::Shrink(part, error)
                }
                None => Step::Finish(Err(error)),
            },
            result => Step::Finish(result),
        }
    }

    /// The warnings for the record.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let shrunk = (self.shrunk > 0).then_some(Warning::DownscaledAfterOom);
        shrunk.into_iter().collect()
    }
}

/// Whether the engine came to the end of its answer, which is in the form that was asked for.
#[must_use]
pub fn is_whole(answer: &PageAnswer) -> bool {
    let has_ended = matches!(answer.finish_reason, None | Some(FinishReason::Stop));
    has_ended && !answer.unparsed
}

/// Orders answers: whole ones before those that were cut off, and these before those that looped; among these, those that can
/// be parsed before others.
fn worth(answer: &PageAnswer) -> (u8, bool) {
    let ending = match answer.finish_reason {
        None | Some(FinishReason::Stop) => 2,
        Some(FinishReason::Length) => 1,
        Some(FinishReason::Repetition) => 0,
    };
    (ending, !answer.unparsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Stage;

    /// A try's end in a word: an error's kind, or an answer's finish reason.
    fn result(word: &str) -> PageResult {
        let error = |kind| Err(PageError::new(kind, Stage::Engine, word));
        let answer = |finish_reason| {
            Ok(PageAnswer {
                content: word.to_owned(),
                finish_reason: Some(finish_reason),
                ..PageAnswer::default()
            })
        };
        match word {
            "stop" => answer(FinishReason::Stop),
            "length" => answer(FinishReason::Length),
            "loop" => answer(FinishReason::Repetition),
            "unparsed" => answer(FinishReason::Stop).map(|answer| PageAnswer {
                unparsed: true,
                ..answer
            }),
            "crash" => error(ErrorKind::Crashed),
            "nonsense" => error(ErrorKind::Server),
            "memory" => error(ErrorKind::OutOfMemory),
            "late" => error(ErrorKind::Timeout),
            _ => error(ErrorKind::Engine),
        }
    }

    fn word(step: &Step) -> String {
        match step {
            Step::Finish(Ok(answer)) => format!("keep {}", answer.content),
            Step::Finish(Err(error)) => format!("fail {}", error.message),
            Step::Again => "again".to_owned(),
            Step::Shrink(part, _) => format!("shrink {part}"),
            Step::Resample => "resample".to_owned(),
        }
    }

    #[test]
    fn recovery_policy_chooses_the_next_step() {
        for (retries, happened, done) in [
            (2, "stop", "keep stop"),
            (2, "wrong", "fail wrong"),
            (2, "late", "fail late"),
            (0, "crash", "fail crash"),
            (2, "crash stop", "again, keep stop"),
            (2, "crash crash crash", "again, again, fail crash"),
            (2, "nonsense late", "again, fail late"),
            (0, "loop", "keep loop"),
            (2, "loop stop", "resample, keep stop"),
            (2, "length stop", "resample, keep stop"),
            (2, "loop length", "resample, keep length"),
            (2, "loop loop", "resample, keep loop"),
            (2, "length loop", "resample, keep length"),
            (2, "length late", "resample, keep length"),
            (2, "length crash", "resample, keep length"),
            (
                2,
                "memory memory memory",
                "shrink 0.7, shrink 0.7, fail memory",
            ),
            (0, "memory stop", "shrink 0.7, keep stop"),
            (
                1,
                "crash memory crash crash",
                "again, shrink 0.7, again, fail crash",
            ),
            (2, "memory loop stop", "shrink 0.7, resample, keep stop"),
            (0, "unparsed", "keep unparsed"),
            (2, "unparsed stop", "resample, keep stop"),
            (2, "unparsed unparsed", "resample, keep unparsed"),
            (2, "unparsed length", "resample, keep unparsed"),
            (2, "length unparsed", "resample, keep unparsed"),
            (2, "unparsed crash", "resample, keep unparsed"),
        ] {
            let mut history = History::default();
            let steps: Vec<_> = happened
                .split(' ')
                .map(|word| history.after(result(word), retries))
                .collect();
            let words: Vec<_> = steps.iter().map(word).collect();
            assert_eq!(words.join(", "), done, "{happened}");
            assert_eq!(history.attempts as usize, steps.len());
        }
    }
}
