//! Parses a journal line without its content.
//!
//! Lines are written without white space between tokens. A hand-written parser reads such lines, several times faster
//! than a general one; every other line goes to `serde_json`. Both give the same result, or the hand-written one gives
//! `None`.

mod facts;
mod fields;
mod walk;

use std::{borrow::Cow, fmt};

use anyhow::{Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

pub(super) use self::facts::{Facts, Times};
use self::{
    fields::Field,
    walk::{Nullable, Walk, put},
};
use super::key::PageKey;
use crate::record::{READABLE, Status};

/// The start of every line; the schema number and [`PATH`] follow.
const SCHEMA: &[u8] = b"{\"schema\":";
const PATH: &[u8] = b",\"path\":\"";

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
    /// The file changed while it was read, so that the page is read again in any case.
    pub changed: bool,
}

/// The parsed fields of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// A copy has a key of its own.
    pub(super) key: PageKey,
    /// The key of the same page where it was read.
    pub(super) original: PageKey,
    /// The bytes of the path.
    pub(super) path: Cow<'a, [u8]>,
    /// The last page of the range that it covers, if there is a range.
    pub(super) last_page: Option<u32>,
    pub(super) page_count: Option<u32>,
    pub(super) state: PageState,
    pub(super) facts: Facts<'a>,
}

impl Line<'_> {
    /// Whether it is the record of a copy.
    pub(super) fn is_copy(&self) -> bool {
        self.key != self.original
    }
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
    #[serde(borrow)]
    error: Option<Failure<'a>>,
    #[serde(default, deserialize_with = "facts::count")]
    word_count: u64,
    #[serde(default, deserialize_with = "facts::count")]
    completion_tokens: u64,
    #[serde(default, deserialize_with = "facts::text")]
    engine: Cow<'a, str>,
    #[serde(default, deserialize_with = "facts::times")]
    timings_ms: Times,
}

/// Why a page failed.
#[derive(Debug, PartialEq, Deserialize)]
struct Failure<'a> {
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
}

impl<'a> Head<'a> {
    fn into_line(self) -> Line<'a> {
        let bytes = self.path_bytes.as_deref();
        let bytes = bytes.and_then(|text| STANDARD.decode(text).ok());
        let path: Cow<[u8]> = match (bytes, self.path) {
            (Some(bytes), _) => bytes.into(),
            (None, Cow::Borrowed(path)) => path.as_bytes().into(),
            (None, Cow::Owned(path)) => path.into_bytes().into(),
        };
        let doc_id = self.doc_id.as_deref();
        let original = PageKey::of_bytes(doc_id, &path, self.page);
        let key = match self.copy_of {
            Some(_) => PageKey::of_copy(doc_id, &path, self.page),
            None => original,
        };
        let kind = self.error.as_ref().and_then(|error| error.kind.as_deref());
        let says = |reason: &str, warning: &str| {
            self.finish_reason.as_deref() == Some(reason)
                || self.warnings.iter().any(|it| it == warning)
        };
        let state = PageState {
            status: self.status,
            truncated: says("length", "truncated"),
            repetition: says("repetition", "repetition"),
            changed: kind == Some("changed"),
        };
        Line {
            key,
            original,
            path,
            last_page: self.last_page,
            page_count: self.page_count,
            state,
            facts: Facts {
                words: self.word_count,
                tokens: self.completion_tokens,
                engine: self.engine,
                times: self.timings_ms,
                warnings: self.warnings,
            },
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
    let (mut warnings, mut error) = (None, None);
    let (mut word_count, mut completion_tokens) = (None, None);
    let (mut engine, mut timings) = (None, None);
    let mut next = 0;
    walk.expect(b'{')?;
    loop {
        // A name that is there twice is a fault, which the other reader tells.
        match walk.field(&mut next)? {
            Field::Schema => put(&mut schema, walk.count()?)?,
            Field::Path => put(&mut path, Cow::Borrowed(walk.plain_text()?))?,
            Field::Page => put(&mut page, walk.count()?)?,
            Field::Status => put(&mut status, walk.status()?)?,
            Field::PathBytes => put(&mut texts[0], walk.text_or_null()?)?,
            Field::DocId => put(&mut texts[1], walk.text_or_null()?)?,
            Field::CopyOf => put(&mut texts[2], walk.text_or_null()?)?,
            Field::FinishReason => put(&mut texts[3], walk.text_or_null()?)?,
            Field::LastPage => put(&mut counts[0], walk.count_or_null()?)?,
            Field::PageCount => put(&mut counts[1], walk.count_or_null()?)?,
            Field::Warnings => put(&mut warnings, walk.list_of_texts()?)?,
            Field::Error => put(&mut error, walk.text_in_object_or_null("kind")?)?,
            Field::WordCount => put(&mut word_count, walk.count_or_other()?)?,
            Field::CompletionTokens => put(&mut completion_tokens, walk.count_or_other()?)?,
            Field::Engine => put(&mut engine, walk.text_or_other()?)?,
            Field::Timings => put(&mut timings, walk.times_or_other()?)?,
            Field::Other => walk.skip(0)?,
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
        error: error.and_then(|Nullable(error)| error.map(|kind| Failure { kind })),
        word_count: word_count.unwrap_or_default(),
        completion_tokens: completion_tokens.unwrap_or_default(),
        engine: engine.unwrap_or_default(),
        timings_ms: timings.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
