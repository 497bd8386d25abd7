//! The fields of a record that are added up. What is missing or of another type counts as nothing.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::walk::{Walk, put};

/// What one record adds to [`Totals`](crate::journal::Totals).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::journal) struct Facts<'a> {
    pub(in crate::journal) words: u64,
    /// Tokens that a model generated.
    pub(in crate::journal) tokens: u64,
    pub(in crate::journal) engine: Cow<'a, str>,
    pub(in crate::journal) times: Times,
    pub(in crate::journal) warnings: Vec<Cow<'a, str>>,
}

/// `timings_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::journal) struct Times {
    pub(in crate::journal) prepare: u64,
    pub(in crate::journal) prefill: u64,
    pub(in crate::journal) decode: u64,
    pub(in crate::journal) total: u64,
}

/// Reads a count by serde.
pub(super) fn count<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    Ok(Value::deserialize(value)?.as_u64().unwrap_or(0))
}

/// Reads a text by serde.
pub(super) fn text<'de, D: Deserializer<'de>>(value: D) -> Result<Cow<'static, str>, D::Error> {
    Ok(match Value::deserialize(value)? {
        Value::String(text) => text.into(),
        _ => Cow::default(),
    })
}

/// Reads times by serde.
pub(super) fn times<'de, D: Deserializer<'de>>(value: D) -> Result<Times, D::Error> {
    let value = Value::deserialize(value)?;
    let of = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
    Ok(Times {
        prepare: of("prepare"),
        prefill: of("prefill"),
        decode: of("decode"),
        total: of("total"),
    })
}

impl<'a> Walk<'a> {
    /// A count, or anything else as 0.
    pub(super) fn count_or_other(&mut self) -> Option<u64> {
        if self.peek()?.is_ascii_digit() {
            return self.count().map(u64::from);
        }
        self.skip(0).map(|()| 0)
    }

    /// A text, or anything else as an empty one.
    pub(super) fn text_or_other(&mut self) -> Option<Cow<'a, str>> {
        if self.peek()? == b'"' {
            return self.plain_text().map(Cow::Borrowed);
        }
        self.skip(0).map(|()| Cow::default())
    }

    /// The times of an object, or anything else as none.
    pub(super) fn times_or_other(&mut self) -> Option<Times> {
        if self.peek()? != b'{' {
            return self.skip(0).map(|()| Times::default());
        }
        let mut found = [const { None }; 4];
        self.object(|walk, name| {
            let place = match name {
                "prepare" => 0,
                "prefill" => 1,
                "decode" => 2,
                "total" => 3,
                _ => return walk.skip(1),
            };
            put(&mut found[place], walk.count_or_other()?)
        })?;
        let [prepare, prefill, decode, total] = found.map(Option::unwrap_or_default);
        Some(Times {
            prepare,
            prefill,
            decode,
            total,
        })
    }
}
