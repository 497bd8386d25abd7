//! Parses a journal line without its content.
//!
//! Lines are written without white space between tokens. A hand-written parser reads such lines, several times faster
//! than a general one; every other line goes to `serde_json`. Both give the same result, or the hand-written one gives
//! `None`.

use std::{borrow::Cow, fmt};

use anyhow::{Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::memchr2;
use serde::Deserialize;

use super::key::PageKey;
use crate::record::{READABLE, Status};

/// The start of every line; the schema number and [`PATH`] follow.
const SCHEMA: &[u8] = b"{\"schema\":";
const PATH: &[u8] = b",\"path\":\"";
/// Maximum number of digits of a count.
const MAX_DIGITS: usize = 9;
/// Maximum nesting of objects and lists in the hand-written parser.
const MAX_DEPTH: usize = 8;

/// Whether `bytes`, possibly cut off, begin like a line of omnidocs.
pub(super) fn begins_like_a_record(bytes: &[u8]) -> bool {
    let begins = |bytes: &[u8], with: &[u8]| {
        let common = bytes.len().min(with.len());
        bytes[..common] == with[..common]
    };
    let digits = |bytes: &[u8]| bytes.iter().take_while(|it| it.is_ascii_digit()).count();
    let Some(rest) = bytes.strip_prefix(SCHEMA) else {
        return begins(bytes, SCHEMA);
    };
    let after = &rest[digits(rest)..];
    rest.is_empty() || digits(rest) > 0 && begins(after, PATH)
}

/// Whether a complete line begins like one of omnidocs.
pub(super) fn has_head_of_a_record(line: &[u8]) -> bool {
    line.len() > SCHEMA.len() + PATH.len() && begins_like_a_record(line)
}

/// The line has a newer schema than this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newer(pub(super) u32);

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "was written by a newer omnidocs (schema {}; this one reads up to {}); update omnidocs",
            self.0,
            READABLE.end()
        )
    }
}

impl std::error::Error for Newer {}

/// The status of a page, and what `--retry` selects by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageState {
    /// The status.
    pub status: Status,
    /// The answer was cut off by `--max-new-tokens`.
    pub truncated: bool,
    /// The answer repeats itself.
    pub repetition: bool,
}

/// The parsed fields of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) key: PageKey,
    pub(super) path: Cow<'a, str>,
    /// The last page of the range that it covers, if there is a range.
    pub(super) last_page: Option<u32>,
    pub(super) page_count: Option<u32>,
    pub(super) state: PageState,
}

/// Parses a complete line, without its newline.
///
/// # Errors
/// The line is not a record, or has a newer schema.
pub(super) fn read_line(line: &[u8]) -> Result<Line<'_>> {
    match by_hand(line) {
        Some(head) => Ok(head.into_line()),
        None => by_serde(line).map(Head::into_line),
    }
}

/// The fields of a record that name its page and status.
#[derive(Debug, PartialEq, Deserialize)]
struct Head<'a> {
    schema: u32,
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow)]
    path_bytes: Option<Cow<'a, str>>,
    #[serde(borrow)]
    doc_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    copy_of: Option<Cow<'a, str>>,
    page: u32,
    last_page: Option<u32>,
    page_count: Option<u32>,
    status: Status,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    warnings: Vec<Cow<'a, str>>,
}

impl<'a> Head<'a> {
    fn into_line(self) -> Line<'a> {
        let bytes = self.path_bytes.as_deref();
        let bytes = bytes.and_then(|text| STANDARD.decode(text).ok());
        let path = bytes.as_deref().unwrap_or(self.path.as_bytes());
        let doc_id = self.doc_id.as_deref();
        let key = match self.copy_of {
            Some(_) => PageKey::of_copy(doc_id, path, self.page),
            None => PageKey::of_bytes(doc_id, path, self.page),
        };
        let says = |reason: &str, warning: &str| {
            self.finish_reason.as_deref() == Some(reason)
                || self.warnings.iter().any(|it| it == warning)
        };
        let state = PageState {
            status: self.status,
            truncated: says("length", "truncated"),
            repetition: says("repetition", "repetition"),
        };
        Line {
            key,
            path: self.path,
            last_page: self.last_page,
            page_count: self.page_count,
            state,
        }
    }
}

fn by_serde(line: &[u8]) -> Result<Head<'_>> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let head = serde_json::from_slice::<Head>(line);
    let version = match &head {
        Ok(head) => Some(head.schema),
        // What is new in it may be what can't be understood.
        Err(_) => serde_json::from_slice(line)
            .ok()
            .map(|Version { schema }| schema),
    };
    match version {
        Some(newer) if newer > *READABLE.end() => bail!(Newer(newer)),
        Some(other) if !READABLE.contains(&other) => bail!("there is no schema {other}"),
        _ => Ok(head?),
    }
}

/// Parses a line without white space between tokens, duplicate names, or escapes in the fields that matter; `None` for
/// any other line.
fn by_hand(line: &[u8]) -> Option<Head<'_>> {
    // In JSON they may stand between its parts alone.
    let smallest = line.iter().fold(u8::MAX, |least, &byte| least.min(byte));
    let is_plain = smallest >= 0x20;
    let text = std::str::from_utf8(line).ok().filter(|_| is_plain)?;
    let mut walk = Walk {
        bytes: line,
        text,
        at: 0,
    };
    let (mut schema, mut path, mut page, mut status) = (None, None, None, None);
    let mut texts = [const { None }; 4];
    let mut counts = [const { None }; 2];
    let mut warnings = None;
    walk.expect(b'{')?;
    loop {
        let name = walk.plain_text()?;
        walk.expect(b':')?;
        // A name that is there twice is a fault, which the other reader tells.
        match name {
            "schema" => put(&mut schema, walk.count()?)?,
            "path" => put(&mut path, Cow::Borrowed(walk.plain_text()?))?,
            "page" => put(&mut page, walk.count()?)?,
            "status" => put(&mut status, walk.status()?)?,
            "path_bytes" => put(&mut texts[0], walk.text_or_null()?)?,
            "doc_id" => put(&mut texts[1], walk.text_or_null()?)?,
            "copy_of" => put(&mut texts[2], walk.text_or_null()?)?,
            "finish_reason" => put(&mut texts[3], walk.text_or_null()?)?,
            "last_page" => put(&mut counts[0], walk.count_or_null()?)?,
            "page_count" => put(&mut counts[1], walk.count_or_null()?)?,
            "warnings" => put(&mut warnings, walk.list_of_texts()?)?,
            _ => walk.skip(0)?,
        }
        match walk.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    let schema = schema.filter(|schema| READABLE.contains(schema))?;
    let [path_bytes, doc_id, copy_of, finish_reason] =
        texts.map(|text| text.and_then(|Nullable(text)| text));
    let [last_page, page_count] = counts.map(|count| count.and_then(|Nullable(count)| count));
    (walk.at == line.len()).then_some(Head {
        schema,
        path: path?,
        path_bytes,
        doc_id,
        copy_of,
        page: page?,
        last_page,
        page_count,
        status: status?,
        finish_reason,
        warnings: warnings.unwrap_or_default(),
    })
}

fn put<T>(place: &mut Option<T>, value: T) -> Option<()> {
    let is_new = place.is_none();
    *place = Some(value);
    is_new.then_some(())
}

/// A value that is present, and may be null.
struct Nullable<T>(Option<T>);

/// A parser over the bytes of a line; `None` at anything unknown.
struct Walk<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn take(&mut self, word: &[u8]) -> Option<()> {
        let is_there = self.bytes[self.at..].starts_with(word);
        self.at += word.len();
        is_there.then_some(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// A string without escapes.
    fn plain_text(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        let end = start + memchr2(b'"', b'\\', &self.bytes[start..])?;
        self.at = end;
        self.expect(b'"')?;
        self.text.get(start..end)
    }

    fn text_or_null(&mut self) -> Option<Nullable<Cow<'a, str>>> {
        match self.peek()? {
            b'n' => self.take(b"null").map(|()| Nullable(None)),
            _ => self
                .plain_text()
                .map(|text| Nullable(Some(Cow::Borrowed(text)))),
        }
    }

    fn count(&mut self) -> Option<u32> {
        let start = self.at;
        while self.peek()?.is_ascii_digit() {
            self.at += 1;
        }
        let digits = self.text.get(start..self.at)?;
        let plain = digits.len() <= MAX_DIGITS && (digits == "0" || !digits.starts_with('0'));
        plain.then(|| digits.parse().ok())?
    }

    fn count_or_null(&mut self) -> Option<Nullable<u32>> {
        match self.peek()? {
            b'n' => self.take(b"null").map(|()| Nullable(None)),
            _ => self.count().map(|count| Nullable(Some(count))),
        }
    }

    fn status(&mut self) -> Option<Status> {
        Some(match self.plain_text()? {
            "ok" => Status::Ok,
            "failed" => Status::Failed,
            "blank" => Status::Blank,
            _ => return None,
        })
    }

    fn list_of_texts(&mut self) -> Option<Vec<Cow<'a, str>>> {
        self.expect(b'[')?;
        let mut texts = Vec::new();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(texts);
        }
        loop {
            texts.push(Cow::Borrowed(self.plain_text()?));
            match self.next()? {
                b',' => {}
                b']' => return Some(texts),
                _ => return None,
            }
        }
    }

    /// Skips any value.
    fn skip(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.skip_text(),
            b'n' => self.take(b"null"),
            b't' => self.take(b"true"),
            b'f' => self.take(b"false"),
            b'-' | b'0'..=b'9' => self.skip_number(),
            open @ (b'[' | b'{') if depth < MAX_DEPTH => {
                self.at += 1;
                let close = if open == b'[' { b']' } else { b'}' };
                if self.peek()? == close {
                    self.at += 1;
                    return Some(());
                }
                loop {
                    if open == b'{' {
                        self.skip_text()?;
                        self.expect(b':')?;
                    }
                    self.skip(depth + 1)?;
                    match self.next()? {
                        b',' => {}
                        end if end == close => return Some(()),
                        _ => return None,
                    }
                }
            }
            _ => None,
        }
    }

    fn skip_text(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            self.at += memchr2(b'"', b'\\', &self.bytes[self.at..])?;
            if self.next()? == b'"' {
                return Some(());
            }
            match self.next()? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                b'u' => {
                    for _ in 0..4 {
                        self.next().filter(u8::is_ascii_hexdigit)?;
                    }
                }
                _ => return None,
            }
        }
    }

    /// A number without an exponent.
    fn skip_number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        let whole = self.digits()?;
        let starts_well = whole.len() == 1 || !whole.starts_with(b"0");
        if self.peek()? == b'.' {
            self.at += 1;
            self.digits()?;
        }
        (starts_well && !matches!(self.peek()?, b'e' | b'E')).then_some(())
    }

    /// One or more.
    fn digits(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        while self.peek()?.is_ascii_digit() {
            self.at += 1;
        }
        (self.at > start).then(|| &self.bytes[start..self.at])
    }
}

#[cfg(test)]
mod tests;
