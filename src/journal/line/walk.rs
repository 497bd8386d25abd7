//! A parser of JSON without white space between its tokens.

use std::borrow::Cow;

use memchr::memchr2;

use crate::record::Status;

/// Maximum number of digits of a count.
const MAX_DIGITS: usize = 9;
/// Maximum nesting of objects and lists.
const MAX_DEPTH: usize = 8;

/// Fills `place`; `None` if it is filled already.
pub(super) fn put<T>(place: &mut Option<T>, value: T) -> Option<()> {
    let is_new = place.is_none();
    *place = Some(value);
    is_new.then_some(())
}

/// A value that is present, and may be null.
pub(super) struct Nullable<T>(pub(super) Option<T>);

/// A parser over the bytes of a line; `None` at anything unknown.
pub(super) struct Walk<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn take(&mut self, word: &[u8]) -> Option<()> {
        let is_there = self.bytes[self.at..].starts_with(word);
        self.at += word.len();
        is_there.then_some(())
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// A string without escapes.
    pub(super) fn plain_text(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        let end = start + memchr2(b'"', b'\\', &self.bytes[start..])?;
        self.at = end;
        self.expect(b'"')?;
        self.text.get(start..end)
    }

    pub(super) fn text_or_null(&mut self) -> Option<Nullable<Cow<'a, str>>> {
        match self.peek()? {
            b'n' => self.take(b"null").map(|()| Nullable(None)),
            _ => self
                .plain_text()
                .map(|text| Nullable(Some(Cow::Borrowed(text)))),
        }
    }

    pub(super) fn count(&mut self) -> Option<u32> {
        let start = self.at;
        let mut count = 0_u32;
        while let digit @ b'0'..=b'9' = self.peek()? {
            count = count.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'));
            self.at += 1;
        }
        let digits = &self.bytes[start..self.at];
        let plain = match digits {
            [b'0'] => true,
            [b'0', ..] | [] => false,
            _ => digits.len() <= MAX_DIGITS,
        };
        plain.then_some(count)
    }

    pub(super) fn count_or_null(&mut self) -> Option<Nullable<u32>> {
        match self.peek()? {
            b'n' => self.take(b"null").map(|()| Nullable(None)),
            _ => self.count().map(|count| Nullable(Some(count))),
        }
    }

    pub(super) fn status(&mut self) -> Option<Status> {
        Some(match self.plain_text()? {
            "ok" => Status::Ok,
            "failed" => Status::Failed,
            "blank" => Status::Blank,
            "skipped" => Status::Skipped,
            _ => return None,
        })
    }

    /// The text that an object calls `wanted`, if there is one.
    pub(super) fn text_in_object_or_null(
        &mut self,
        wanted: &str,
    ) -> Option<Nullable<Option<Cow<'a, str>>>> {
        if self.peek()? == b'n' {
            return self.take(b"null").map(|()| Nullable(None));
        }
        let mut found = None;
        self.object(|walk, name| {
            if name == wanted {
                put(&mut found, walk.text_or_null()?)
            } else {
                walk.skip(1)
            }
        })?;
        Some(Nullable(Some(found.and_then(|Nullable(text)| text))))
    }

    /// An object that is not empty: `field` is called at the value of each name.
    pub(super) fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, &'a str) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let name = self.plain_text()?;
            self.expect(b':')?;
            field(self, name)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    pub(super) fn list_of_texts(&mut self) -> Option<Vec<Cow<'a, str>>> {
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
    pub(super) fn skip(&mut self, depth: usize) -> Option<()> {
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
