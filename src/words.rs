//! Numbers and times as people read them.

use std::time::Duration;

/// `1 page`, `1,234 pages`.
#[must_use]
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// `1,234,567`.
#[must_use]
pub fn number(count: usize) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `190 ms`, `1.9 s`, `12 s`, `4m 12s`, `3h 05m`.
#[must_use]
pub fn human(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = seconds.round() as u64;
    match seconds {
        ..0.0005 => "under 1 ms".to_owned(),
        ..0.9995 => format!("{:.0} ms", seconds * 1000.0),
        ..9.95 => format!("{seconds:.1} s"),
        ..59.5 => format!("{whole} s"),
        ..3599.5 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_human_readable() {
        let format = |milliseconds| human(Duration::from_millis(milliseconds));
        let shown = [
            0, 190, 999, 1_900, 9_949, 9_999, 59_499, 59_500, 252_000, 3_599_600, 11_100_000,
        ]
        .map(format);
        assert_eq!(
            shown.join(" | "),
            "under 1 ms | 190 ms | 999 ms | 1.9 s | 9.9 s | 10 s | 59 s | 1m 00s | 4m 12s | 1h 00m | 3h 05m"
        );
    }

    #[test]
    fn thousands_are_grouped() {
        let shown = [0, 12, 999, 1_000, 12_345, 100_000, 1_234_567].map(number);
        assert_eq!(shown.join(" "), "0 12 999 1,000 12,345 100,000 1,234,567");
    }
}
