//! Environment variables that are for this program alone.

use std::{fmt, process::Command, sync::Arc};

/// The environment variable with the server's key.
pub const SERVER_API_KEY: &str = "OMNIDOCS_SERVER_API_KEY";

/// Variables whose values no child process may see: keys, tokens and passwords.
pub const WITHHELD: [&str; 5] = [
    SERVER_API_KEY,
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "OMNIDOCS_PASSWORD",
    "OMNIDOCS_PASSWORD_FILE",
];

/// Keeps all [`WITHHELD`] variables from a child. Every [`Command`] of this program passes through here.
pub fn withhold(command: &mut Command) -> &mut Command {
    for name in WITHHELD {
        command.env_remove(name);
    }
    command
}

/// Passwords to try on encrypted documents. They are not shown, also not for debugging.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Passwords(Arc<[String]>);

impl Passwords {
    /// These, in the order in which they are tried.
    pub fn new(passwords: impl IntoIterator<Item = String>) -> Self {
        Self(passwords.into_iter().collect())
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passwords({} ***)", self.0.len())
    }
}

/// A password that was typed. It is not shown, also not for debugging.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    #[must_use]
    pub fn reveal(self) -> String {
        self.0
    }
}

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
