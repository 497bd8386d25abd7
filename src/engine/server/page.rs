//! One page's way to the server and back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use image::RgbImage;

use super::{
    client::{Client, Failure},
    completion::Completed,
    outage::Health,
    request::Request,
};
use crate::{
    answer,
    backoff::Backoff,
    cancel::Cancel,
    clock,
    confidence::Confidence,
    engine::{
        PageResult,
        recovery::{History, Step},
        scheduler::Policy,
        task::Task,
    },
    error::{ErrorKind, PageError, Stage},
    generation::repetition::LoopDetector,
    page::{FinishReason, PageAnswer},
};

/// What all pages of a run share.
#[derive(Debug)]
pub(super) struct Reader {
    pub client: Client,
    pub model: String,
    pub task: Task,
    pub policy: Policy,
    pub health: Health,
    /// Whether the server may be asked for the tokens' probabilities; it refused no request because of that.
    pub says_probabilities: AtomicBool,
    /// Cancelled when the answers are not needed any more, or when the run is ending.
    pub cancel: Cancel,
}

/// A server that asks to be left alone for less time than this is not taken at its word.
const MIN_PAUSE: Duration = Duration::from_millis(200);

/// A trivial question is answered in this time.
const PROBE: Duration = Duration::from_secs(30);

/// How a page ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was read, or failed for good.
    Page(PageResult),
    /// The server does not want it; whether that is the page's fault is for others to say.
    Refused(String),
    /// The server wants no page.
    Final(String),
    /// The run was to end while the server could not answer.
    Undone,
}

/// The result of one request, with its retries while the server was unavailable.
enum Asked {
    /// An answer, or one that made no sense.
    Answered(PageResult),
    /// No answer, and no use in asking again.
    Ended(Ended),
}

/// What has been done for a page so far.
#[derive(Default)]
struct Requests {
    sent: u32,
    backoff: Backoff,
    /// When the server was first found unable to answer.
    failing_since: Option<Instant>,
}

impl Reader {
    /// Reads a page, and again as long as that may help. Says also how many requests that took. While it waits, it holds
    /// neither pixels nor what is sent.
    pub(super) fn read(&self, pixels: Option<Arc<RgbImage>>) -> (Ended, u32) {
        let Some(image) = pixels else {
            return (Ended::Page(Err(failed("the page came without pixels"))), 1);
        };
        let says = self.says_probabilities.load(Ordering::Relaxed);
        let encoded = Request::new(&image, &self.model, &self.task, says);
        drop(image);
        let mut request = match encoded {
            Ok(request) => request,
            Err(error) => {
                let message = format!("cannot encode the page as PNG: {error}");
                return (Ended::Page(Err(failed(message))), 1);
            }
        };
        let mut sampling = self.task.sampling;
        let mut requests = Requests::default();
        let mut history = History::default();
        let mut resamples = false;
        loop {
            let result = match self.ask(&mut request, &mut requests) {
                Asked::Answered(result) => result,
                // There is the first answer.
                Asked::Ended(_) if resamples => Err(failed("no second answer")),
                Asked::Ended(ended) => return (ended, requests.sent),
            };
            match history.after(result, self.policy.retries) {
                Step::Again => {
                    if requests.backoff.wait(&self.cancel).is_err() {
                        return (Ended::Undone, requests.sent);
                    }
                }
                Step::Resample => {
                    resamples = true;
                    sampling = sampling.with_higher_temperature();
                    request.set_sampling(sampling);
                }
                Step::Shrink(_, error) => return (Ended::Page(Err(error)), requests.sent),
                Step::Finish(result) => return (Ended::Page(result), requests.sent),
            }
        }
    }

    /// Whether the server answers a trivial question.
    pub(super) fn probe(&self) -> bool {
        let timeout = self.policy.page_timeout.min(PROBE);
        self.client.probe(&self.model, timeout).is_ok()
    }

    /// Asks until the server answers, or there is no hope for that.
    fn ask(&self, request: &mut Request, requests: &mut Requests) -> Asked {
        loop {
            requests.sent += 1;
            let sent = clock::now();
            let failure = match self.client.complete(request, self.policy.page_timeout) {
                Ok(completed) => {
                    self.health.answered();
                    let took = clock::since(sent);
                    return Asked::Answered(answer(completed, &self.task, request.seen, took));
                }
                Err(failure) => failure,
            };
            tracing::debug!("{}", failure.message());
            let pause = match failure {
                Failure::Final(message) | Failure::NotFound(message) => {
                    return Asked::Ended(Ended::Final(message));
                }
                Failure::Refused(message)
                    if request.wants_probabilities && message.contains("logprob") =>
                {
                    self.health.answered();
                    self.says_probabilities.store(false, Ordering::Relaxed);
                    request.ask_without_probabilities();
                    continue;
                }
                Failure::Refused(message) => {
                    self.health.answered();
                    return Asked::Ended(Ended::Refused(message));
                }
                Failure::Garbled(message) => {
                    self.health.answered();
                    return Asked::Answered(Err(server_error(ErrorKind::Server, message)));
                }
                Failure::Passing {
                    kind,
                    message,
                    pause,
                    ..
                } => match self.pause_after(kind, sent, pause, requests) {
                    Some(pause) => pause,
                    None => return Asked::Ended(Ended::Page(Err(server_error(kind, message)))),
                },
            };
            if self.cancel.sleep(pause).is_err() {
                return Asked::Ended(Ended::Undone);
            }
        }
    }

    /// How long to wait before a request that was sent then, and to which the server could give no answer, is sent again;
    /// none if that was waited for long enough.
    fn pause_after(
        &self,
        kind: ErrorKind,
        sent: Instant,
        asked: Option<Duration>,
        requests: &mut Requests,
    ) -> Option<Duration> {
        let now = clock::now();
        // A request that took all its time has waited already.
        let since = match kind {
            ErrorKind::Timeout => sent,
            _ => now,
        };
        let own = *requests.failing_since.get_or_insert(since) + self.health.wait();
        let until = own.min(self.health.failing(since));
        let left = until.saturating_duration_since(now);
        let pause = match asked {
            Some(asked) => asked.max(MIN_PAUSE),
            None => requests.backoff.pause(),
        };
        (!left.is_zero()).then(|| pause.min(left))
    }
}

/// A server's answer as an engine's answer.
fn answer(completed: Completed, task: &Task, seen: (u32, u32), took: Duration) -> PageResult {
    let Completed {
        mut text,
        finish,
        prompt_tokens,
        completion_tokens,
        log_probabilities,
    } = completed;
    let finish_reason = match finish.as_deref() {
        Some("stop" | "eos_token" | "stop_sequence") => Some(FinishReason::Stop),
        Some("length") => Some(match loop_at_the_end(&text) {
            Some(keep) => {
                text.truncate(keep);
                FinishReason::Repetition
            }
            None => FinishReason::Length,
        }),
        Some("content_filter") => return Err(failed("the server's filter withheld its answer")),
        Some("abort" | "error") => {
            let message = "the server cut off its answer";
            return Err(server_error(ErrorKind::Server, message));
        }
        _ => None,
    };
    let answer = answer::read(text, task.reading, task.wanted, Some(seen));
    Ok(PageAnswer {
        content: answer.content,
        blocks: answer.blocks,
        unparsed: answer.unparsed,
        finish_reason,
        prompt_tokens,
        completion_tokens,
        confidence: Confidence::of(&log_probabilities),
        decode: took,
        ..PageAnswer::default()
    })
}

/// Where to cut an answer that used up its tokens in a loop, in bytes. Servers have no word for that.
fn loop_at_the_end(text: &str) -> Option<usize> {
    let characters: Vec<u32> = text.chars().map(u32::from).collect();
    let mut detector = LoopDetector::default();
    let mut found = None;
    for end in 1..=characters.len() {
        found = detector.push(&characters[..end]);
    }
    let keep = found?.keep;
    text.char_indices().nth(keep).map(|(at, _)| at)
}

fn server_error(kind: ErrorKind, message: impl Into<String>) -> PageError {
    PageError::new(kind, Stage::Engine, message)
}

fn failed(message: impl Into<String>) -> PageError {
    PageError::new(ErrorKind::Engine, Stage::Engine, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::server::tests::task;

    fn answered(text: &str, finish: &str) -> Result<PageAnswer, PageError> {
        let completed = Completed {
            text: text.to_owned(),
            finish: Some(finish.to_owned()),
            prompt_tokens: None,
            completion_tokens: None,
            log_probabilities: Vec::new(),
        };
        answer(completed, &task(), (64, 64), Duration::ZERO)
    }

    #[test]
    fn finish_reason_of_a_server_maps_to_that_of_records() {
        use FinishReason::{Length, Repetition, Stop};
        let lead = "Größe und Gewicht: ";
        let looped = format!("{lead}{}", "| a | b |\n".repeat(300));
        for (text, finish, reason, content) in [
            ("text", "stop", Some(Stop), "text"),
            ("text", "length", Some(Length), "text"),
            ("text", "something else", None, "text"),
            (
                &looped,
                "length",
                Some(Repetition),
                "Größe und Gewicht: | a | b |\n",
            ),
            (&looped, "stop", Some(Stop), &looped),
        ] {
            let answer = answered(text, finish).unwrap();
            assert_eq!(
                (answer.finish_reason, answer.content.as_str()),
                (reason, content)
            );
        }
        assert_eq!(
            answered("", "content_filter").unwrap_err().kind,
            ErrorKind::Engine
        );
        assert_eq!(answered("", "abort").unwrap_err().kind, ErrorKind::Server);
    }
}
