//! Tags of HTML as models write them, and the characters that they refer to.

use std::borrow::Cow;

/// A tag as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag<'a> {
    /// In lower case.
    pub name: String,
    /// Whether it ends an element.
    pub closes: bool,
    /// What follows the name.
    pub attributes: &'a str,
}

impl<'a> Tag<'a> {
    /// Parses the tag that `text` begins with; returns also what follows it.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<(Self, &'a str)> {
        let inner = text.strip_prefix('<')?;
        let (inner, closes) = match inner.strip_prefix('/') {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        let length = inner
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(inner.len());
        let (name, attributes) = inner.split_at(length);
        if !name.starts_with(|c: char| c.is_ascii_alphabetic())
            || !attributes.starts_with(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>')
        {
            return None;
        }
        let end = end_of(attributes)?;
        let tag = Self {
            name: name.to_ascii_lowercase(),
            closes,
            attributes: &attributes[..end],
        };
        Some((tag, &attributes[end + 1..]))
    }

    /// The value of an attribute; empty for one without.
    #[must_use]
    pub fn attribute(&self, wanted: &str) -> Option<Cow<'a, str>> {
        let mut attributes = Attributes(self.attributes);
        let found = attributes.find(|(name, ..)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value, _)| decode(value))
    }

    /// The attributes as they were written, but for those that `drops` names in lower case.
    #[must_use]
    pub fn attributes_without(&self, drops: impl Fn(&str) -> bool) -> String {
        let kept = Attributes(self.attributes).filter(|(name, ..)| !drops(&name.to_lowercase()));
        kept.map(|(.., written)| format!(" {written}")).collect()
    }
}

/// Where the element that a text begins with ends; its length if it has no end.
#[must_use]
pub(super) fn end_of_element(text: &str, name: &str) -> usize {
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        match Tag::parse(rest) {
            Some((tag, after)) if tag.name == name => {
                rest = after;
                if !tag.closes {
                    depth += 1;
                } else if depth <= 1 {
                    return text.len() - rest.len();
                } else {
                    depth -= 1;
                }
            }
            _ => rest = &rest[1..],
        }
    }
    text.len()
}

/// Where the `>` of a tag is, outside of quotes.
fn end_of(attributes: &str) -> Option<usize> {
    let mut quote = None;
    attributes.bytes().position(|byte| {
        match (quote, byte) {
            (None, b'>') => return true,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
        false
    })
}

/// Name, value, and both as they were written, of each attribute.
struct Attributes<'a>(&'a str);

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let skipped = |c: char| c.is_whitespace() || c == '/' || c == '=' || c == '"' || c == '\'';
        let rest = self.0.trim_start_matches(skipped);
        let end = |text: &str, stop: &dyn Fn(char) -> bool| text.find(stop).unwrap_or(text.len());
        let (name, after) =
            rest.split_at(end(rest, &|c| c.is_whitespace() || c == '=' || c == '/'));
        if name.is_empty() {
            return None;
        }
        let Some(value) = after.trim_start().strip_prefix('=') else {
            self.0 = after;
            return Some((name, "", name));
        };
        let value = value.trim_start();
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let inner = &value[1..];
                inner.split_once(quote).unwrap_or((inner, ""))
            }
            _ => value.split_at(end(value, &char::is_whitespace)),
        };
        self.0 = after;
        let written = &rest[..rest.len() - after.len()];
        Some((name, value, written))
    }
}

/// Whether text behind a `&` is a character reference like `lt;` or `#38;`.
#[must_use]
pub fn is_reference(text: &str) -> bool {
    let name = text.split_once(';').map_or("", |(name, _)| name);
    match code(name) {
        Some((digits, radix)) => {
            (1..=7).contains(&digits.len()) && u32::from_str_radix(digits, radix).is_ok()
        }
        None => (2..=31).contains(&name.len()) && name.bytes().all(|it| it.is_ascii_alphanumeric()),
    }
}

/// The digits of a numeric reference, and their radix.
fn code(name: &str) -> Option<(&str, u32)> {
    let code = name.strip_prefix('#')?;
    Some(match code.strip_prefix(['x', 'X']) {
        Some(hex) => (hex, 16),
        None => (code, 10),
    })
}

/// Text with the characters that it refers to. Names of others than these stay, as Markdown has them too.
#[must_use]
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    let mut pieces = text.split('&');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let named = piece.split_once(';').filter(|_| is_reference(piece));
        let character = named.and_then(|(name, _)| match name {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            "nbsp" => Some('\u{a0}'),
            name => {
                let (digits, radix) = code(name)?;
                let code = u32::from_str_radix(digits, radix).ok()?;
                char::from_u32(code).filter(|c| !c.is_control() || *c == '\n')
            }
        });
        if let Some((character, (_, after))) = character.zip(named) {
            decoded.push(character);
            decoded += after;
        } else {
            decoded.push('&');
            decoded += piece;
        }
    }
    decoded.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_values_with_and_without_quotes() {
        let written = r#"<td colspan=2 data-bbox='1 2 > 4' title="a &amp; b" checked/>rest"#;
        let (tag, rest) = Tag::parse(written).unwrap();
        assert_eq!((tag.name.as_str(), rest), ("td", "rest"));
        for (name, value) in [
            ("colspan", Some("2")),
            ("data-bbox", Some("1 2 > 4")),
            ("checked", Some("")),
            ("TITLE", Some("a & b")),
            ("span", None),
        ] {
            assert_eq!(tag.attribute(name).as_deref(), value, "{name}");
        }
        let kept = tag.attributes_without(|name| name.starts_with("data-"));
        assert_eq!(kept, r#" colspan=2 title="a &amp; b" checked"#);
    }

    #[test]
    fn references_become_characters() {
        let text = "&lt;b&gt; &amp; &#228;&#xE4; &copy; &nope &; &#0; &#1114112;";
        assert_eq!(decode(text), "<b> & ää &copy; &nope &; &#0; &#1114112;");
    }
}
