//! A record as the one line that is written.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Formatter;

use super::Record;

impl Record {
    /// The line of the output, with its end.
    ///
    /// # Errors
    /// None that is known of; `serde_json` does not rule it out.
    pub fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = Vec::with_capacity(1024);
        let mut serializer = serde_json::Serializer::with_formatter(&mut line, OneLine);
        self.serialize(&mut serializer)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Escapes also what some programs split lines at: U+0085, U+2028 and U+2029.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for piece in fragment.split_inclusive(['\u{85}', '\u{2028}', '\u{2029}']) {
            let end = piece.chars().next_back();
            let escape = match end {
                Some('\u{85}') => "\\u0085",
                Some('\u{2028}') => "\\u2028",
                Some('\u{2029}') => "\\u2029",
                _ => {
                    out.write_all(piece.as_bytes())?;
                    continue;
                }
            };
            let length = piece.len() - end.map_or(0, char::len_utf8);
            out.write_all(&piece.as_bytes()[..length])?;
            out.write_all(escape.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_separators_are_escaped() {
        let content = "a\u{2028}b\u{2029}\u{85}ä\r\u{b}\u{c}\u{1c}\u{1e}\u{2028}";
        let mut line = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut line, OneLine);
        content.serialize(&mut serializer).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(line.contains(r"a\u2028b\u2029\u0085ä\r"), "{line}");
        let splits = "\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}\r\n";
        assert!(
            !line.contains(|character| splits.contains(character)),
            "{line}"
        );
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), content);
    }
}
