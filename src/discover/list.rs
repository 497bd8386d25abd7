//! `--files-from` lists.

use std::{
    borrow::Cow,
    ffi::OsStr,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The paths of a `--files-from` list.
///
/// # Errors
/// The list can't be read, or is not one: see [`parse`].
pub(super) fn read(list: &Path) -> Result<Vec<PathBuf>> {
    let mut content = Vec::new();
    if list == Path::new("-") {
        io::stdin()
            .lock()
            .read_to_end(&mut content)
            .context("cannot read the list of --files-from from stdin")?;
    } else {
        content = fs::read(list)
            .with_context(|| format!("cannot read the list of --files-from: {}", list.display()))?;
    }
    parse(&content)
}

/// The paths of a list: one per line, or separated by NUL if the list contains any. A list in UTF-16, as PowerShell
/// writes it, is known by its byte order mark; that of UTF-8 is no part of the first path.
///
/// # Errors
/// It is UTF-16 that can't be decoded, or has the root of the file system as an entry.
pub(super) fn parse(content: &[u8]) -> Result<Vec<PathBuf>> {
    let content = decode(content)?;
    let separator = if content.contains(&0) { 0 } else { b'\n' };
    let paths = content.split(|&byte| byte == separator);
    let paths = paths.map(|path| {
        if separator == 0 {
            path
        } else {
            path.strip_suffix(b"\r").unwrap_or(path)
        }
    });
    let paths = paths.filter(|path| !path.trim_ascii().is_empty());
    paths.map(path_of_bytes).map(require_below_root).collect()
}

/// The list without a byte order mark, and not in UTF-16.
fn decode(content: &[u8]) -> Result<Cow<'_, [u8]>> {
    let unit: fn([u8; 2]) -> u16 = match content {
        [0xEF, 0xBB, 0xBF, rest @ ..] => return Ok(rest.into()),
        [0xFF, 0xFE, ..] => u16::from_le_bytes,
        [0xFE, 0xFF, ..] => u16::from_be_bytes,
        _ => return Ok(content.into()),
    };
    let (units, rest) = content[2..].as_chunks::<2>();
    let text = String::from_utf16(&units.iter().copied().map(unit).collect::<Vec<_>>());
    match text {
        Ok(text) if rest.is_empty() => Ok(text.into_bytes().into()),
        _ => {
            bail!("the list of --files-from begins like UTF-16 and is not valid; write it as UTF-8")
        }
    }
}

/// The root of the file system is nearly always what a list split in the wrong places has.
fn require_below_root(path: Result<PathBuf>) -> Result<PathBuf> {
    let path = path?;
    if path.has_root() && path.parent().is_none() {
        bail!(
            "the list of --files-from has the entry {}; check how it is split (one path per line, or NUL after each, \
             in UTF-8). To read a whole file system, name it as an input",
            path.display()
        );
    }
    Ok(path)
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // elsewhere paths are not bytes
fn path_of_bytes(bytes: &[u8]) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Ok(PathBuf::from(OsStr::from_bytes(bytes)))
}

#[cfg(not(unix))]
fn path_of_bytes(bytes: &[u8]) -> Result<PathBuf> {
    let path = std::str::from_utf8(bytes).context("the list of --files-from is not UTF-8")?;
    Ok(PathBuf::from(OsStr::new(path)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
        units.flat_map(unit).collect()
    }

    #[test]
    fn lists_in_utf16_and_with_byte_order_marks_are_read() {
        let text = "a.pdf\r\n\r\nfolder/ä 文 𝄞.pdf\r\n";
        let expected = ["a.pdf", "folder/ä 文 𝄞.pdf"].map(PathBuf::from);
        for list in [
            text.as_bytes().to_vec(),
            [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
            utf16(text, u16::to_le_bytes),
            utf16(text, u16::to_be_bytes),
            utf16("a.pdf\0folder/ä 文 𝄞.pdf\0", u16::to_le_bytes),
        ] {
            assert_eq!(parse(&list).unwrap(), expected, "{list:?}");
        }
        let mut odd = utf16(text, u16::to_le_bytes);
        odd.push(0);
        assert!(parse(&odd).unwrap_err().to_string().contains("UTF-16"));
        assert_eq!(parse(b"\xEF\xBB\xBF").unwrap(), Vec::<PathBuf>::new());
    }

    #[cfg(unix)]
    #[test]
    fn list_with_the_root_folder_is_refused() {
        // UTF-16 without a mark has NUL after each letter.
        let unmarked = &utf16("in/a.pdf\n", u16::to_le_bytes)[2..];
        for list in [b"in\n/\n".as_slice(), b"//\n", b"/.\0a\0", unmarked] {
            let error = parse(list).unwrap_err().to_string();
            assert!(
                error.contains("entry /") && error.contains("split"),
                "{error}"
            );
        }
        assert_eq!(parse(b"/a\n").unwrap(), [PathBuf::from("/a")]);
    }

    #[test]
    fn damaged_lists_never_panic() {
        let text = "a.pdf\r\nfolder/ä 文 𝄞.pdf\n/\n\0\n";
        let valid = [
            text.as_bytes().to_vec(),
            utf16(text, u16::to_le_bytes),
            utf16(text, u16::to_be_bytes),
        ];
        crate::fuzz::feed("lists", &valid, |bytes| drop(parse(bytes)));
    }

    proptest! {
        #[test]
        fn list_parser_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"\xFF\xFE".as_slice(), &bytes].concat());
        }
    }
}
