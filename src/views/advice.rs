//! What to do about pages that failed, by kind of failure.

use crate::error::ErrorKind;

/// A sentence for the person who has to act.
#[must_use]
pub fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unreadable => {
            "repair the file (a PDF for example with qpdf in.pdf out.pdf), then run the same command again"
        }
        ErrorKind::Encrypted => "add --retry failed, and the password with --password-file",
        ErrorKind::Unsupported => {
            "convert the file to PDF, PNG or TIFF; with --engine text-layer, add --fallback and --retry failed"
        }
        ErrorKind::TooLarge => "split or shrink the page, then run the same command again",
        ErrorKind::Render => "repair the file, or convert the page to an image",
        ErrorKind::Timeout => "add --retry failed and a longer --page-timeout",
        ErrorKind::OutOfMemory => "add --retry failed and a smaller --batch-size",
        ErrorKind::Engine => "add --retry failed, and --fallback with another engine",
        ErrorKind::Server => "add --retry failed once the server answers again",
        ErrorKind::Changed => "run the same command again: it reads the file as it is now",
        ErrorKind::Crashed => "add --retry failed; if it crashes again, repair the file",
    }
}
