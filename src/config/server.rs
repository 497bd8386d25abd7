//! The server's options.

use std::{env, time::Duration};

use ureq::http::{Uri, header::HeaderValue};

use super::usage::usage_error;
use crate::{
    cli,
    engine::server::{API_KEY, ApiKey, Server},
    exit::UsageError,
};

const MAX_REQUESTS: usize = 4096;

/// Validates the options; `None` without a URL.
pub(super) fn server(typed: &cli::ServerArgs) -> Result<Option<Server>, UsageError> {
    let Some(url) = &typed.server_url else {
        return Ok(None);
    };
    let cli::ServerArgs {
        concurrency,
        server_wait,
        ..
    } = *typed;
    if !(1..=MAX_REQUESTS).contains(&concurrency) {
        return usage_error(format!(
            "--concurrency {concurrency} is not between 1 and {MAX_REQUESTS}"
        ));
    }
    if !(0.0..=super::check::MAX_TIMEOUT).contains(&server_wait) {
        return usage_error(format!(
            "--server-wait {server_wait} is out of range; use a number of seconds, like 600"
        ));
    }
    Ok(Some(Server {
        url: base(url)?,
        key: key()?,
        concurrency,
        wait: Duration::from_secs_f64(server_wait),
    }))
}

/// The normalized URL; without a path it gets `/v1`.
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
        return usage_error(format!(
            "--server-url contains a user name or password; put the server's key into {API_KEY} instead"
        ));
    }
    if typed.contains(['?', '#']) {
        return usage_error(format!(
            "--server-url contains a ? or #; remove it, and put the server's key, if it needs one, into {API_KEY}"
        ));
    }
    let Some((scheme, authority, path)) = parts else {
        return usage_error(format!(
            "--server-url {typed:?} is not a URL; use one like http://host:8000/v1"
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
    let key = ApiKey::new(key);
    if HeaderValue::from_str(&key.header()).is_err() {
        return usage_error(format!(
            "{API_KEY} contains characters that no key has; check that it holds only the key"
        ));
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_urls_are_normalized_or_refused() {
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
}
