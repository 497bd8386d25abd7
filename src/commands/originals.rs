//! The documents of an output, where its views open them again.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    cli::PasswordArgs, config::passwords, exit::UsageError, launch, prepare::DecoderChoice,
    views::pictures::Originals,
};

/// The documents below `root`, which `--root` gives.
///
/// # Errors
/// It is no folder, or the passwords can't be read.
pub(super) fn originals(root: Option<PathBuf>, typed: PasswordArgs) -> Result<Originals> {
    if let Some(root) = root.as_ref().filter(|root| !root.is_dir()) {
        let message = format!("--root {} is not a folder", root.display());
        return Err(UsageError(message).into());
    }
    Ok(Originals {
        root: root.unwrap_or_default(),
        passwords: passwords(typed)?,
        decoder: DecoderChoice::Workers(launch::this_program()?),
    })
}
