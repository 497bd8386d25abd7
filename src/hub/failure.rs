//! Failures of the hub, by what can be done about them.

use std::{
    fmt,
    io::{self, ErrorKind},
    time::Duration,
};

use hf_hub::api::sync::ApiError;

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
    /// Another program holds the file's lock.
    Busy,
    /// The answer is not that of a hub.
    Answer(String),
}

impl Failure {
    /// Whether the same request may succeed a little later.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Network(_) | Self::Status(429 | 500..))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(cause) | Self::Answer(cause) => f.write_str(cause),
            Self::Status(code) => write!(f, "HTTP {code}"),
            Self::Stalled(patience) => write!(f, "no data for {} s", patience.as_secs()),
            Self::Disk(error) => error.fmt(f),
            Self::Busy => f.write_str("locked by another program"),
        }
    }
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        use ureq::Error;
        match error {
            Error::StatusCode(code) => Self::Status(code),
            Error::Protocol(_)
            | Error::Json(_)
            | Error::Http(_)
            | Error::BadUri(_)
            | Error::TooManyRedirects
            | Error::LargeResponseHeader(..) => Self::Answer(error.to_string()),
            other => Self::Network(other.to_string()),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::RequestError(error) => (*error).into(),
            ApiError::IoError(error) if is_network(&error) => Self::Network(error.to_string()),
            ApiError::IoError(error) => Self::Disk(error),
            ApiError::LockAcquisition(_) => Self::Busy,
            other => Self::Answer(other.to_string()),
        }
    }
}

/// `hf-hub` reports a broken body and a broken disk as the same kind of error.
fn is_network(error: &io::Error) -> bool {
    let wrapped = error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<ureq::Error>);
    wrapped
        || matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionRefused
                | ErrorKind::NotConnected
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::BrokenPipe
                | ErrorKind::TimedOut
                | ErrorKind::InvalidData
        )
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
