//! Environment variables that are for this program alone.

use std::process::Command;

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
