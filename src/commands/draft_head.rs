//! Whether the model has what `--draft mtp` asks for.

use std::path::Path;

use anyhow::Result;

use crate::{exit::UsageError, models};

/// Refuses a model of another family before its weights are fetched.
///
/// # Errors
/// It is one, or its `config.json` can't be read.
pub(super) fn check_family(folder: &Path, name: &str) -> Result<()> {
    check(models::may_have_draft_head(folder)?, || {
        format!("{name} is of a family without a draft head of its own")
    })
}

/// Refuses weights without a draft head.
///
/// # Errors
/// There is none, or the weights can't be read.
pub(super) fn check_weights(folder: &Path, name: &str) -> Result<()> {
    check(models::has_draft_head(folder)?, || {
        format!("the weights of {name} have no draft head (mtp.*)")
    })
}

fn check(has_head: bool, why: impl Fn() -> String) -> Result<()> {
    if has_head {
        return Ok(());
    }
    let why = why();
    let message =
        format!("--draft mtp: {why}; use --draft auto, or a Qwen3.5 checkpoint that has one");
    Err(UsageError(message).into())
}
