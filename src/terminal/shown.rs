//! Text as a person sees it: coloured, and without what would move the cursor.

use std::{borrow::Cow, path::Path};

/// How a piece of text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// For what failed.
    Red,
    /// For what went well.
    Green,
    /// For warnings.
    Yellow,
    /// For labels.
    Bold,
}

/// `text` in `colour` if `coloured`, else unchanged.
#[must_use]
pub fn paint(text: &str, colour: Colour, coloured: bool) -> String {
    let code = match colour {
        Colour::Red => "1;31",
        Colour::Green => "32",
        Colour::Yellow => "33",
        Colour::Bold => "1",
    };
    if coloured {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// `text` as a person may see it: what would move the cursor, change colours, break the line or turn the direction of
/// writing is shown as an escape like `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_control(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown.into()
}

/// A path as a person may see it; see [`printable`].
#[must_use]
pub fn printable_path(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// Control characters (C0, DEL, C1), separators of lines, and marks that turn the direction of writing.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_bidi_controls_are_escaped() {
        for (text, shown) in [
            ("a b/ä 文 ʻ.pdf", "a b/ä 文 ʻ.pdf"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("two\nlines\r\tand a tab", "two\\nlines\\r\\tand a tab"),
            ("\u{7f}\u{9b}2J\u{85}", "\\u{7f}\\u{9b}2J\\u{85}"),
            ("\u{202e}fdp.exe\u{2028}", "\\u{202e}fdp.exe\\u{2028}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
