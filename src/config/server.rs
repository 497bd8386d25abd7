//! The server that reads, and how hard it is tried.

use std::{env, fmt, time::Duration};

use ureq::http::{Uri, header::HeaderValue};

use super::wrong;
use crate::{cli, exit::UsageError};

/// Where the key is looked for. There is no option for it, since others can see what is typed.
pub const API_KEY: &str = "OMNIDOCS_SERVER_API_KEY";
/// Default of `--concurrency`.
pub const CONCURRENCY: usize = 8;
/// Default of `--server-wait`, in seconds.
pub const SERVER_WAIT: f64 = 600.0;

const MOST_REQUESTS: usize = 4096;

/// How to ask a server.
#[derive(Debug, Clone)]
pub struct Server {
    /// What the names of its endpoints are added to, without a slash at the end: `http://host:8000/v1`.
    pub url: String,
    /// What it may want to see.
    pub key: Option<ApiKey>,
    /// At most so many requests at a time.
    pub concurrency: usize,
    /// A server that can't answer is waited for so long.
    pub wait: Duration,
}

/// A secret: it is shown to the server and to nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// The value of the `Authorization` header.
    #[must_use]
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// The text without the key, in case that a server repeats it.
    #[must_use]
    pub fn hidden_in(&self, text: &str) -> String {
        text.replace(&self.0, "[the key]")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[the key]")
    }
}

impl Server {
    /// Checks what was typed; none if there is no URL.
    pub(super) fn new(typed: &cli::ServerArgs) -> Result<Option<Self>, UsageError> {
        let Some(url) = &typed.server_url else {
            return Ok(None);
        };
        let cli::ServerArgs {
            concurrency,
            server_wait,
            ..
        } = *typed;
        if !(1..=MOST_REQUESTS).contains(&concurrency) {
            return wrong(format!(
                "--concurrency {concurrency} is not between 1 and {MOST_REQUESTS}"
            ));
        }
        if !(0.0..=super::check::LONGEST_TIMEOUT).contains(&server_wait) {
            return wrong(format!(
                "--server-wait {server_wait} makes no sense; use a number of seconds, like 600"
            ));
        }
        Ok(Some(Self {
            url: base(url)?,
            key: key()?,
            concurrency,
            wait: Duration::from_secs_f64(server_wait),
        }))
    }
}

/// The URL in its usual form; one without a path gets the one that all servers have.
fn base(typed: &str) -> Result<String, UsageError> {
    let uri: Option<Uri> = typed.trim().parse().ok();
    let parts = uri.as_ref().and_then(|uri| {
        let scheme = uri
            .scheme_str()
            .filter(|&scheme| scheme == "http" || scheme == "https");
        Some((scheme?, uri.authority()?, uri.path().trim_end_matches('/')))
    });
    // Anywhere: a password with a slash in it looks like a path.
    if typed.contains('@') {
        return wrong(format!(
            "--server-url has a name or a password in it; put the server's key into {API_KEY} instead"
        ));
    }
    if typed.contains(['?', '#']) {
        return wrong(format!(
            "--server-url ends at its path, without a ? or #; if the server wants a key, put that into {API_KEY}"
        ));
    }
    let Some((scheme, authority, path)) = parts else {
        return wrong(format!(
            "--server-url {typed:?} is no address of a server; write one like http://host:8000/v1"
        ));
    };
    let path = if path.is_empty() { "/v1" } else { path };
    Ok(format!("{scheme}://{authority}{path}"))
}

fn key() -> Result<Option<ApiKey>, UsageError> {
    let key = env::var(API_KEY).unwrap_or_default().trim().to_owned();
    if key.is_empty() {
        return Ok(None);
    }
    let key = ApiKey(key);
    if HeaderValue::from_str(&key.header()).is_err() {
        return wrong(format!(
            "{API_KEY} has characters that no key has; is it a file's whole content?"
        ));
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_usual_form_or_is_refused() {
        for (typed, taken) in [
            ("http://host:8000/v1", "http://host:8000/v1"),
            ("http://host:8000/v1/ ", "http://host:8000/v1"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
            ("https://host/", "https://host/v1"),
            ("http://[::1]:80/api/v1//", "http://[::1]:80/api/v1"),
        ] {
            assert_eq!(base(typed).as_deref(), Ok(taken));
        }
        for typed in [
            "",
            "host:8000",
            "ftp://host/v1",
            "/v1",
            "http://",
            "http://ho st/",
        ] {
            let error = base(typed).unwrap_err();
            assert!(
                error.0.contains("like http://host:8000/v1"),
                "{typed}: {error}"
            );
        }
        for typed in [
            "http://me:secret@host/v1",
            "me:secret@host:8000",
            "http://me:se/secret@host/v1",
            "http://host/v1?key=secret",
            "host/v1?key=secret",
            "http://host/v1#secret",
        ] {
            let error = base(typed).unwrap_err();
            assert!(
                error.0.contains(API_KEY) && !error.0.contains("secret"),
                "{typed}: {error}"
            );
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = ApiKey("sk-1234".to_owned());
        assert_eq!(format!("{key:?}"), "[the key]");
        assert_eq!(key.hidden_in("wrong: sk-1234!"), "wrong: [the key]!");
    }
}
