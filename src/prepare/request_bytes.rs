//! The raw bytes of a request: the document's path, and then the passwords to try on it.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::frames::invalid;
use crate::secrets::Passwords;

/// A path has at most so many bytes, together with the passwords.
pub const MAX_PATH: u64 = 1 << 20;

/// Passwords as bytes, with a zero byte after each; none has one inside.
pub fn passwords_to_bytes(passwords: &Passwords) -> Vec<u8> {
    let ended = passwords.iter().flat_map(|password| [password, "\0"]);
    ended.collect::<String>().into_bytes()
}

/// A request's path and passwords from its raw bytes.
///
/// # Errors
/// The other side sends what the program does not.
pub fn split_request(path_bytes: u64, mut bytes: Vec<u8>) -> io::Result<(PathBuf, Passwords)> {
    let length = usize::try_from(path_bytes).unwrap_or(usize::MAX);
    if length > bytes.len() {
        return Err(invalid("a path that is not there"));
    }
    let passwords = String::from_utf8(bytes.split_off(length));
    let passwords = passwords.map_err(|_| invalid("passwords that are no text"))?;
    let passwords = passwords.split_terminator('\0').map(str::to_owned);
    Ok((path_from_bytes(bytes), Passwords::new(passwords)))
}

/// A path as bytes.
pub fn path_to_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// A path from what [`path_to_bytes`] gave.
pub fn path_from_bytes(bytes: Vec<u8>) -> PathBuf {
    #[cfg(unix)]
    {
        use std::{ffi::OsString, os::unix::ffi::OsStringExt};
        OsString::from_vec(bytes).into()
    }
    #[cfg(not(unix))]
    {
        String::from_utf8_lossy(&bytes).into_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_passwords_come_out_as_they_went_in() {
        for passwords in [&[][..], &["a"], &["", "pass word", "ä"]] {
            let passwords = Passwords::new(passwords.iter().map(|&password| password.to_owned()));
            let path = b"a\xFF.pdf".to_vec();
            let bytes = [path.clone(), passwords_to_bytes(&passwords)].concat();
            let (arrived, same) = split_request(path.len() as u64, bytes.clone()).unwrap();
            assert!(split_request(bytes.len() as u64 + 1, bytes).is_err());
            assert_eq!((path_to_bytes(&arrived), same), (&path[..], passwords));
        }
    }
}
