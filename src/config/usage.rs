//! The error of a value that was typed.

use crate::exit::UsageError;

pub(super) fn usage_error<T>(message: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError(message.into()))
}
