//! The protocol: what is asked over HTTP, and what an answer, or none, means.

use std::{
    io::{self, Read},
    time::{Duration, SystemTime},
};

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::{
    Agent, Body, SendBody, Timeout,
    http::{
        Response, StatusCode,
        header::{LOCATION, RETRY_AFTER},
    },
};

use super::{
    completion::{Completed, Completion},
    request::Request,
    settings::{API_KEY, ApiKey, Server},
};
use crate::{
    error::ErrorKind,
    http::{Route, certificate_advice},
};

/// To connect takes no longer than this, or the server is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// Longer answers than this are none, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// Maximum length of a server's own words in a message, in characters.
const MAX_WORDS: usize = 400;

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The same request may be answered a little later: the server is not there, busy or broken.
    Passing {
        kind: ErrorKind,
        message: String,
        /// Whether the server itself answered so.
        answered: bool,
        /// How long the server wants to be left alone.
        pause: Option<Duration>,
    },
    /// What came is no answer, though the server says that it is one.
    Garbled(String),
    /// The server does not want this request.
    Refused(String),
    /// The server does not want any request.
    Final(String),
    /// There is no such address, or no such model.
    NotFound(String),
}

impl Failure {
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Passing { message, .. }
            | Self::Garbled(message)
            | Self::Refused(message)
            | Self::Final(message)
            | Self::NotFound(message) => message,
        }
    }
}

/// Speaks to one server. Cheap to share: connections are kept and used again.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    route: Route,
    url: String,
    key: Option<ApiKey>,
}

impl Client {
    /// A client of `server`, which sends nothing yet. Neither pages nor the key follow redirects.
    ///
    /// # Errors
    /// What is set for the connection can't be used.
    pub(super) fn new(server: &Server) -> Result<Self> {
        let route = Route::to(&server.url).map_err(anyhow::Error::msg)?;
        let config = route
            .config()
            .timeout_connect(Some(CONNECT))
            .max_idle_connections(server.concurrency)
            .max_idle_connections_per_host(server.concurrency)
            .build();
        Ok(Self {
            agent: config.new_agent(),
            route,
            url: server.url.clone(),
            key: server.key.clone(),
        })
    }

    /// The names of the server's models.
    pub(super) fn models(&self, timeout: Duration) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        struct Models {
            data: Vec<Model>,
        }
        #[derive(Deserialize)]
        struct Model {
            id: String,
        }
        let request = self.agent.get(format!("{}/models", self.url));
        let request = match &self.key {
            Some(key) => request.header("Authorization", key.header()),
            None => request,
        };
        let answer = request
            .config()
            .timeout_global(Some(timeout))
            .build()
            .call();
        let models: Models = self.parse(&self.body(answer)?)?;
        Ok(models.data.into_iter().map(|model| model.id).collect())
    }

    /// Sends a chat completion's request, and waits for the answer.
    pub(super) fn complete(
        &self,
        request: &Request,
        timeout: Duration,
    ) -> Result<Completed, Failure> {
        let body = request.body();
        let body = body.map_err(|error| self.no_answer(&ureq::Error::Io(error)))?;
        self.post(request.length(), body, timeout)
    }

    /// Sends so many bytes of JSON text, and waits for the answer.
    fn post(
        &self,
        length: u64,
        mut body: impl Read,
        timeout: Duration,
    ) -> Result<Completed, Failure> {
        let post = self.agent.post(format!("{}/chat/completions", self.url));
        let post = post
            .header("Content-Type", "application/json")
            .header("Content-Length", length);
        let post = match &self.key {
            Some(key) => post.header("Authorization", key.header()),
            None => post,
        };
        let post = post.config().timeout_global(Some(timeout)).build();
        let body = self.body(post.send(SendBody::from_reader(&mut body)))?;
        let completion: Completion = self.parse(&body)?;
        completion
            .completed()
            .ok_or_else(|| self.garbled("it has no text", &body))
    }

    /// Whether the server answers at all, to the smallest question that there is.
    pub(super) fn probe(&self, model: &str, timeout: Duration) -> Result<(), Failure> {
        let request = json!({
            "model": model,
            "messages": [{"role": "user", "content": "Say yes."}],
            "max_tokens": 4,
        });
        let request = request.to_string();
        match self.post(request.len() as u64, request.as_bytes(), timeout) {
            Ok(_) | Err(Failure::Garbled(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// The body of an answer that says that all is well.
    fn body(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, Failure> {
        let mut answer = answer.map_err(|error| self.no_answer(&error))?;
        let body = answer
            .body_mut()
            .with_config()
            .limit(MAX_BYTES)
            .read_to_vec();
        let body = match (answer.status(), body) {
            (status, Ok(body)) if status.is_success() => return Ok(body),
            (status, Err(error)) if status.is_success() => return Err(self.no_answer(&error)),
            (_, body) => body.unwrap_or_default(),
        };
        Err(self.status(&answer, &body))
    }

    fn no_answer(&self, error: &ureq::Error) -> Failure {
        if let ureq::Error::BodyExceedsLimit(limit) = error {
            return self.garbled(&format!("it is longer than {limit} bytes"), b"");
        }
        let described = self.route.describe(error);
        if let Some(advice) = certificate_advice(error) {
            let url = &self.url;
            return Failure::Final(format!(
                "the server at {url} cannot be trusted: {described}; {advice}"
            ));
        }
        let kind = match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => ErrorKind::Server,
            ureq::Error::Timeout(_) => ErrorKind::Timeout,
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => ErrorKind::Timeout,
            _ => ErrorKind::Server,
        };
        let message = match kind {
            ErrorKind::Timeout => "gave no answer in time (see --page-timeout)".to_owned(),
            _ => format!("cannot be reached: {described}"),
        };
        Failure::Passing {
            kind,
            message: format!("the server at {} {message}", self.url),
            answered: false,
            pause: None,
        }
    }

    fn status(&self, answer: &Response<Body>, body: &[u8]) -> Failure {
        let status = answer.status();
        let message = format!(
            "the server at {} says {status}: {}",
            self.url,
            self.words(body)
        );
        match status {
            _ if status.is_redirection() => {
                let place = answer.headers().get(LOCATION);
                let place = place.and_then(|place| place.to_str().ok());
                Failure::Final(format!(
                    "{message} (it redirects to {:?}; set --server-url to the final URL)",
                    self.shown(place.unwrap_or_default())
                ))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Failure::Final(format!("{message} (put the server's key into {API_KEY})"))
            }
            StatusCode::NOT_FOUND => Failure::NotFound(format!(
                "{message} (check --server-url, which ends in /v1 for most servers, and --model)"
            )),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                passing(answer, message)
            }
            _ if status.is_server_error() => passing(answer, message),
            _ => Failure::Refused(message),
        }
    }

    fn parse<'a, T: Deserialize<'a>>(&self, body: &'a [u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|error| self.garbled(&error.to_string(), body))
    }

    fn garbled(&self, why: &str, body: &[u8]) -> Failure {
        Failure::Garbled(format!(
            "cannot parse the answer of the server at {} ({why}): {}",
            self.url,
            self.words(body),
            why = self.shown(why),
        ))
    }

    /// What came from the server as it may be shown: without the key, on one line, and not longer than need be.
    fn shown(&self, text: &str) -> String {
        let hidden = self.key.as_ref().map(|key| key.hidden_in(text));
        let text = hidden.as_deref().unwrap_or(text);
        // A terminal would do what control characters tell it.
        let is_blank = |c: char| c.is_whitespace() || c.is_control();
        let text = text.split(is_blank).filter(|word| !word.is_empty());
        let text = text.collect::<Vec<_>>().join(" ");
        match text.char_indices().nth(MAX_WORDS) {
            Some((end, _)) => format!("{} …", &text[..end]),
            None => text,
        }
    }

    /// The server's own words: those meant for people, if its answer has such.
    fn words(&self, body: &[u8]) -> String {
        let text = serde_json::from_slice(body).ok().and_then(|json: Value| {
            let said = ["/error/message", "/error", "/message", "/detail"];
            let said = said.iter().find_map(|place| json.pointer(place))?;
            Some(
                said.as_str()
                    .map_or_else(|| said.to_string(), str::to_owned),
            )
        });
        let text = text.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        let text = self.shown(&text);
        if text.is_empty() {
            return "(nothing more)".to_owned();
        }
        text
    }
}

fn passing(answer: &Response<Body>, message: String) -> Failure {
    let pause = answer.headers().get(RETRY_AFTER);
    Failure::Passing {
        kind: ErrorKind::Server,
        message,
        answered: true,
        pause: pause.and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now())),
    }
}

/// What `Retry-After` asks for: a number of seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(
                retry_after(value, now),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}
