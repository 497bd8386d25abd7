//! Failures of the hub, by what can be done about them.

use std::{
    fmt,
    io::{self, ErrorKind},
    path::PathBuf,
    time::Duration,
};

/// A request or a download that failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The hub can't be reached, or the connection broke.
    Network(String),
    /// The hub answered with this HTTP status.
    Status(u16),
    /// No data for this long.
    Stalled(Duration),
    /// The cache can't be written.
    Disk(io::Error),
    /// Another program holds this lock.
    Busy(PathBuf),
    /// The hub's certificate is not trusted.
    Certificate(String),
    /// What is set for the connection can't be used.
    Setup(String),
    /// The program is to end.
    Cancelled,
    /// The answer is not that of a hub.
    Answer(String),
}

impl Failure {
    /// Whether the same request may succeed a little later.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Network(_) | Self::Status(429 | 500..))
    }

    /// Whether what is in the cache will do instead.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.may_pass() || matches!(self, Self::Stalled(_) | Self::Certificate(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(cause)
            | Self::Answer(cause)
            | Self::Certificate(cause)
            | Self::Setup(cause) => f.write_str(cause),
            Self::Status(code) => write!(f, "HTTP {code}"),
            Self::Stalled(patience) => write!(f, "no data for {} s", patience.as_secs()),
            Self::Disk(error) => error.fmt(f),
            Self::Busy(_) => f.write_str("locked by another program"),
            Self::Cancelled => f.write_str("interrupted"),
        }
    }
}

impl Failure {
    /// What a request's error is, in words of `describe`.
    pub(super) fn of_request(
        error: &ureq::Error,
        describe: impl Fn(&ureq::Error) -> String,
        patience: Duration,
    ) -> Self {
        use ureq::{Error, Timeout};
        match error {
            Error::StatusCode(code) => Self::Status(*code),
            Error::Protocol(_)
            | Error::Json(_)
            | Error::Http(_)
            | Error::BadUri(_)
            | Error::LargeResponseHeader(..) => Self::Answer(describe(error)),
            Error::Timeout(Timeout::PerRead | Timeout::RecvResponse | Timeout::RecvBody) => {
                Self::Stalled(patience)
            }
            _ => Self::Network(describe(error)),
        }
    }

    /// What a body's error is.
    pub(super) fn of_body(error: io::Error, patience: Duration) -> Self {
        match error.downcast::<ureq::Error>() {
            Ok(error) => Self::of_request(&error, ureq::Error::to_string, patience),
            Err(error) if error.kind() == ErrorKind::TimedOut => Self::Stalled(patience),
            Err(error) => Self::Network(error.to_string()),
        }
    }
}

/// Whether the disk is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

/// The hub can't be reached, and the cache lacks the files.
#[derive(Debug)]
pub struct Unreachable(pub(super) String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}
