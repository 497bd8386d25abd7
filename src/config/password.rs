//! The passwords of documents.

use std::fs;

use super::usage::usage_error;
use crate::{
    cli::PasswordArgs,
    exit::UsageError,
    secrets::{Password, Passwords},
};

/// Passwords need no more bytes altogether.
const MAX_BYTES: usize = 256 << 10;

/// The password that was typed, then those of the file, one per line.
///
/// # Errors
/// The file can't be read, has too much in it, or a password can be none.
pub fn passwords(typed: PasswordArgs) -> Result<Passwords, UsageError> {
    let PasswordArgs {
        password,
        password_file,
    } = typed;
    let mut passwords: Vec<_> = password.map(Password::reveal).into_iter().collect();
    if let Some(path) = password_file {
        let shown = path.display();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                return usage_error(format!("cannot read --password-file {shown}: {error}"));
            }
        };
        let lines = text.lines().filter(|line| !line.is_empty());
        passwords.extend(lines.map(str::to_owned));
    }
    if passwords.iter().any(|password| password.contains('\0')) {
        return usage_error("a password has a zero byte in it, which none can have");
    }
    if passwords.iter().map(String::len).sum::<usize>() > MAX_BYTES {
        return usage_error(format!(
            "--password-file has more than {} KiB of passwords; give each group of files its own",
            MAX_BYTES >> 10
        ));
    }
    Ok(Passwords::new(passwords))
}
