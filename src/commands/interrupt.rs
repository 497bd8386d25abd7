//! Work that a signal ends, with the exit code of that signal.

use anyhow::{Result, bail};

use crate::{cancel::Cancel, exit::Exit};

/// What work asks between its steps; it fails once a signal has come.
pub(super) type GoOn<'a> = &'a dyn Fn() -> Result<()>;

/// The result of `work`, or how the program exits, if a signal ended it.
///
/// # Errors
/// The work failed by itself.
pub(super) fn until_signal<T>(
    cancel: &Cancel,
    work: impl FnOnce(GoOn) -> Result<T>,
) -> Result<Result<T, Exit>> {
    let go_on = || match cancel.signal() {
        None => Ok(()),
        Some(_) => bail!("interrupted"),
    };
    match (work(&go_on), cancel.signal()) {
        (Ok(done), _) => Ok(Ok(done)),
        (Err(_), Some(signal)) => Ok(Err(Exit::Interrupted(signal))),
        (Err(error), None) => Err(error),
    }
}
