//! How a server is asked.

use std::{fmt, time::Duration};

/// There is no option for the key, since others can see what is typed.
pub use crate::secrets::SERVER_API_KEY as API_KEY;

/// How to ask a server.
#[derive(Debug, Clone)]
pub struct Server {
    /// What the names of its endpoints are added to, without a slash at the end: `http://host:8000/v1`.
    pub url: String,
    /// What it may want to see.
    pub key: Option<ApiKey>,
    /// Maximum number of concurrent requests.
    pub concurrency: usize,
    /// A server that can't answer is waited for so long.
    pub wait: Duration,
}

/// A secret, sent only to the server.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key that the user has set.
    #[must_use]
    pub fn new(key: String) -> Self {
        Self(key)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_key_is_never_printed() {
        let key = ApiKey::new("sk-1234".to_owned());
        assert_eq!(format!("{key:?}"), "[the key]");
        assert_eq!(key.hidden_in("wrong: sk-1234!"), "wrong: [the key]!");
    }
}
