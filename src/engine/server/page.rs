//! One page's way to the server and back.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBackoff};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use image::{
    ExtendedColorType, ImageEncoder, RgbImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use serde_json::json;

use super::{
    client::{Client, Failure, Written},
    outage::Health,
};
use crate::{
    backoff::pauses,
    cancel::Interrupt,
    engine::{
        FinishReason, PageAnswer,
        page_by_page::{Policy, is_whole, worth},
        qwen::Task,
    },
    error::{ErrorKind, PageError, Stage},
    generation::{prefill::Sampling, repetition::LoopDetector},
    page::PreparedPage,
};

/// What all pages of a run share.
#[derive(Debug)]
pub(super) struct Reader {
    pub client: Client,
    pub model: String,
    pub task: Task,
    pub policy: Policy,
    pub health: Health,
    /// Nobody waits for answers any more.
    pub stopped: AtomicBool,
    /// The run is to end after the pages in hand.
    pub interrupt: Interrupt,
}

/// A server that asks to be left alone for less time than this is not taken at its word.
const LEAST_PAUSE: Duration = Duration::from_millis(200);

/// The failures of a page so far.
struct Trouble {
    pauses: ExponentialBackoff,
    /// Answers that made no sense.
    garbled: u32,
    /// When the server was first found unable to answer.
    since: Option<Instant>,
}

/// How a page ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was read, or failed for good.
    Page(Result<PageAnswer, PageError>),
    /// The server does not want it; whether that is the page's fault is for others to say.
    Refused(String),
    /// The server wants no page.
    Final(String),
    /// The run was to end while the server could not answer.
    Undone,
}

impl Reader {
    /// Reads a page, and again as long as that may help. Says also how many requests that took.
    pub(super) fn read(&self, page: &PreparedPage) -> (Ended, u32) {
        let Some(image) = &page.pixels else {
            return (Ended::Page(Err(failed("the page came without pixels"))), 1);
        };
        let url = match data_url(image) {
            Ok(url) => url,
            Err(error) => {
                let message = format!("the page can't be sent as PNG: {error}");
                return (Ended::Page(Err(failed(message))), 1);
            }
        };
        let sampling = self.task.sampling;
        let (ended, mut attempts) = self.ask(&url, sampling);
        let Ended::Page(Ok(answer)) = ended else {
            return (ended, attempts);
        };
        if self.policy.retries == 0 || answer.finish_reason.is_none_or(is_whole) {
            return (Ended::Page(Ok(answer)), attempts);
        }
        let (second, tried) = self.ask(&url, sampling.raised());
        attempts += tried;
        let better = match second {
            Ended::Page(Ok(second)) if worth(&second) > worth(&answer) => second,
            _ => answer,
        };
        (Ended::Page(Ok(better)), attempts)
    }

    /// Asks until there is an answer, or no hope for one.
    fn ask(&self, url: &str, sampling: Sampling) -> (Ended, u32) {
        let request = self.request(url, sampling).to_string().into_bytes();
        let mut trouble = Trouble {
            pauses: pauses(u32::MAX).build(),
            garbled: 0,
            since: None,
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let sent = Instant::now();
            let failure = match self.client.complete(&request, self.policy.page_timeout) {
                Ok(written) => {
                    self.health.answered();
                    return (Ended::Page(answer(written, sent.elapsed())), attempts);
                }
                Err(failure) => failure,
            };
            tracing::debug!("{}", failure.message());
            match self.after(failure, sent, &mut trouble) {
                ControlFlow::Continue(pause) if self.sleep(pause) => {}
                ControlFlow::Continue(_) => return (Ended::Undone, attempts),
                ControlFlow::Break(ended) => return (ended, attempts),
            }
        }
    }

    /// What comes after a request that was sent then and failed: the end, or another one after a pause.
    fn after(
        &self,
        failure: Failure,
        sent: Instant,
        trouble: &mut Trouble,
    ) -> ControlFlow<Ended, Duration> {
        let pause = trouble.pauses.next().unwrap_or_default();
        match failure {
            Failure::Final(message) | Failure::NotFound(message) => {
                ControlFlow::Break(Ended::Final(message))
            }
            Failure::Refused(message) => {
                self.health.answered();
                ControlFlow::Break(Ended::Refused(message))
            }
            Failure::Garbled(message) => {
                self.health.answered();
                trouble.garbled += 1;
                if trouble.garbled > self.policy.retries {
                    let error = server_error(ErrorKind::Server, message);
                    return ControlFlow::Break(Ended::Page(Err(error)));
                }
                ControlFlow::Continue(pause)
            }
            Failure::Passing {
                kind,
                message,
                pause: asked,
                ..
            } => {
                let now = Instant::now();
                // A request that took all its time has waited already.
                let is_timeout = kind == ErrorKind::Timeout;
                let since = if is_timeout { sent } else { now };
                let own = *trouble.since.get_or_insert(since) + self.health.wait();
                let until = own.min(self.health.failing(since));
                let left = until.saturating_duration_since(now);
                if left.is_zero() {
                    return ControlFlow::Break(Ended::Page(Err(server_error(kind, message))));
                }
                let pause = asked.map_or(pause, |asked| asked.max(LEAST_PAUSE));
                ControlFlow::Continue(pause.min(left))
            }
        }
    }

    /// Says whether the run still goes on after the pause, which is cut short if not.
    fn sleep(&self, pause: Duration) -> bool {
        const LOOK_UP: Duration = Duration::from_millis(50);
        let end = Instant::now() + pause;
        while !self.stopped.load(Ordering::Relaxed) && self.interrupt.signal().is_none() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(LOOK_UP));
        }
        false
    }

    /// A chat completion's request, as all servers take it: the image first, as the model was trained.
    fn request(&self, url: &str, sampling: Sampling) -> serde_json::Value {
        json!({
            "model": self.model,
            "messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": self.task.prompt},
            ]}],
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "stream": false,
        })
    }
}

fn data_url(image: &RgbImage) -> image::ImageResult<String> {
    let mut file = Vec::new();
    let (width, height) = image.dimensions();
    PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive)
        .write_image(image, width, height, ExtendedColorType::Rgb8)?;
    Ok(format!(
        "data:image/png;base64,{}",
        BASE64_STANDARD.encode(file)
    ))
}

/// What a server wrote, as the answer of an engine.
fn answer(written: Written, took: Duration) -> Result<PageAnswer, PageError> {
    let Written {
        mut text,
        finish,
        prompt_tokens,
        completion_tokens,
    } = written;
    let finish_reason = match finish.as_deref() {
        Some("stop" | "eos_token" | "stop_sequence") => Some(FinishReason::Stop),
        Some("length") => Some(match loop_at_the_end(&text) {
            Some(keep) => {
                text.truncate(keep);
                FinishReason::Repetition
            }
            None => FinishReason::Length,
        }),
        Some("content_filter") => return Err(failed("the server's filter kept its answer back")),
        Some("abort" | "error") => {
            let message = "the server broke off its answer";
            return Err(server_error(ErrorKind::Server, message));
        }
        _ => None,
    };
    Ok(PageAnswer {
        content: text,
        finish_reason,
        prompt_tokens,
        completion_tokens,
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

    fn answered(text: &str, finish: &str) -> Result<PageAnswer, PageError> {
        let written = Written {
            text: text.to_owned(),
            finish: Some(finish.to_owned()),
            prompt_tokens: None,
            completion_tokens: None,
        };
        answer(written, Duration::ZERO)
    }

    #[test]
    fn why_a_server_stopped_is_told_in_the_words_of_the_records() {
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

    #[test]
    fn a_page_is_sent_as_it_is() {
        let image = RgbImage::from_fn(96, 64, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let url = data_url(&image).unwrap();
        let file = BASE64_STANDARD.decode(url.strip_prefix("data:image/png;base64,").unwrap());
        let back = image::load_from_memory(&file.unwrap()).unwrap().into_rgb8();
        assert_eq!(back, image);
    }
}
