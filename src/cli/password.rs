//! The options for passwords, of every command that opens documents.

use std::path::PathBuf;

use clap::Args;

use crate::secrets::Password;

/// What opens encrypted PDFs.
#[derive(Debug, Clone, Default, Args)]
#[allow(missing_docs)]
pub struct PasswordArgs {
    /// Password of encrypted PDFs
    ///
    /// Other users may see it in the list of processes; put it into OMNIDOCS_PASSWORD or --password-file instead. It is
    /// never logged or written.
    #[arg(
        long,
        value_name = "TEXT",
        env = "OMNIDOCS_PASSWORD",
        hide_env = true,
        allow_hyphen_values = true
    )]
    pub password: Option<Password>,

    /// Passwords of encrypted PDFs, one per line of FILE
    ///
    /// Each PDF is tried with all of them, after --password.
    #[arg(
        long,
        value_name = "FILE",
        env = "OMNIDOCS_PASSWORD_FILE",
        hide_env = true
    )]
    pub password_file: Option<PathBuf>,
}
