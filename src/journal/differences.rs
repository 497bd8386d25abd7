//! Two values of a setting, as people compare them.

use serde_json::Value;

/// Longer texts, like prompts, are not shown whole.
const MAX_CHARS: usize = 60;
/// Characters that are shown before the first one that differs.
const BEFORE: usize = 15;

/// Both values; of long texts the part where they begin to differ.
pub(super) fn shown(one: &Value, other: &Value) -> (String, String) {
    let (Some(first), Some(second)) = (one.as_str(), other.as_str()) else {
        return (short(one), short(other));
    };
    let equal = first.chars().zip(second.chars());
    let at = equal.take_while(|(one, other)| one == other).count();
    (part(first, at), part(second, at))
}

fn short(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), |text| part(text, 0))
}

/// The text in quotes, or its part around the character `at`.
fn part(text: &str, at: usize) -> String {
    let length = text.chars().count();
    if length <= MAX_CHARS {
        return Value::from(text).to_string();
    }
    let start = at.saturating_sub(BEFORE).min(length - MAX_CHARS);
    let piece: String = text.chars().skip(start).take(MAX_CHARS).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if start + MAX_CHARS < length {
        "…"
    } else {
        ""
    };
    let piece = Value::from(format!("{before}{piece}{after}"));
    format!("{piece} ({length} characters)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shown_where_they_differ() {
        let long =
            |word: &str| Value::from(format!("{}{word}{}", "a ".repeat(50), " b".repeat(50)));
        let (one, other) = shown(&long("Markdown"), &long("HTML"));
        assert!(
            one.starts_with("\"… a a a a") && one.contains("a a Markdown b"),
            "{one}"
        );
        assert!(
            other.contains("HTML b") && other.ends_with("…\" (204 characters)"),
            "{other}"
        );
        assert!(one.chars().count() < 90);
        let (one, other) = shown(&Value::Null, &Value::from("short"));
        assert_eq!((one.as_str(), other.as_str()), ("null", "\"short\""));
        assert!(shown(&Value::Null, &long("x")).1.chars().count() < 90);
    }
}
