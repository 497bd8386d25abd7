//! What was probably meant by an input that is no file.

use std::{fs::Metadata, path::Path};

/// Why a stream is no input.
pub(super) const STREAM: &str = "it is a stream, and a document is read more than once: save it to a file first (a list of files is read from stdin with --files-from -)";

/// Whether the file is a pipe, a socket or a terminal, like a standard input that is not a file.
pub(super) fn is_stream(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        kind.is_fifo() || kind.is_socket() || kind.is_char_device()
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

/// What to do instead of naming `path`, which is not there.
pub(super) fn for_missing(path: &Path) -> Option<&'static str> {
    let text = path.to_string_lossy();
    if text == "-" {
        return Some(
            "documents are not read from stdin: save them to files first (a list of files is read from stdin with --files-from -)",
        );
    }
    // A path has single slashes once it is cleaned up.
    let scheme = text.split_once(":/").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|it| it.len() > 1 && it.chars().all(|c| c.is_ascii_alphanumeric())) {
        return Some("URLs are not fetched: download it first");
    }
    text.contains(['*', '?', '[', '{']).then_some(
        "leave out the quotes of a pattern, so that the shell expands it, or name its folder with --include PATTERN",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_that_are_no_files_have_hints() {
        for (path, words) in [
            ("-", "--files-from -"),
            ("https://example.com/a.pdf", "download it first"),
            ("s3://bucket/a.pdf", "download it first"),
            ("scans/*.pdf", "quotes"),
            ("page-?.png", "quotes"),
            ("{a,b}.pdf", "quotes"),
        ] {
            let hint = for_missing(Path::new(path)).unwrap();
            assert!(hint.contains(words), "{path}: {hint}");
        }
        for path in ["a.pdf", "--", "C:/a.pdf", "a b/c:d.pdf"] {
            assert_eq!(for_missing(Path::new(path)), None, "{path}");
        }
    }
}
