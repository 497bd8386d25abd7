//! Writes to the standard error, and the time for what is written.

use std::{
    io::{self, Write},
    time::SystemTime,
};

use chrono::{DateTime, SecondsFormat, Utc};

/// Writes `text` at once. Errors are ignored: the work goes on without a reader.
pub(super) fn write_once(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// RFC 3339 in UTC.
#[must_use]
pub fn timestamp(time: SystemTime, to: SecondsFormat) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(to, true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        for (millis, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_798_761_599_999, "2026-12-31T23:59:59Z"),
        ] {
            assert_eq!(timestamp(at(millis), SecondsFormat::Secs), shown);
        }
        let precise = timestamp(at(1_709_251_199_042), SecondsFormat::Millis);
        assert_eq!(precise, "2024-02-29T23:59:59.042Z");
    }
}
