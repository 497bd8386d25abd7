//! A page's own dictionary and content stream, which PDFium gives out only as a file.

use std::io::Read;

use flate2::read::ZlibDecoder;
use memchr::memmem;

use crate::prepare::decoders::pdfium::Document;

/// What is written of a page and what it uses, in bytes: its dictionary and its content come first.
const MAX_FILE: usize = 64 << 20;
/// What is read of a content stream, in bytes.
const MAX_CONTENT: u64 = 16 << 20;
/// A unit is between 1 and 75,000 points in what writes it.
const MAX_UNIT: f64 = 1e5;

/// A file of one page, as PDFium writes it.
pub(super) struct PageSource(Vec<u8>);

/// What a content stream does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Drawing {
    /// Images and forms that it names.
    pub(super) named: usize,
    /// Texts, paths, shadings and images that it draws itself.
    pub(super) own: usize,
    /// Whether it can't be decoded.
    pub(super) unknown: bool,
}

impl PageSource {
    pub(super) fn of(document: &Document, index: i32) -> Option<Self> {
        document.page_as_file(index, MAX_FILE).map(Self)
    }

    /// The points that a unit of the page has.
    pub(super) fn user_unit(&self) -> Option<f64> {
        let at = memmem::find(&self.0, b"/UserUnit")?;
        let value: String = self.0[at + b"/UserUnit".len()..]
            .iter()
            .skip_while(|byte| byte.is_ascii_whitespace())
            .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
            .map(|&byte| char::from(byte))
            .collect();
        let unit: f64 = value.parse().ok()?;
        (unit > 0.0 && unit <= MAX_UNIT).then_some(unit)
    }

    /// What the page's content does, `with_forms` or without them. All forms count, also those that only annotations draw.
    pub(super) fn drawing(&self, with_forms: bool) -> Drawing {
        let mut drawing = Drawing::default();
        let contents = self.contents();
        for (number, object) in self.objects() {
            let Some(at) = memmem::find(object, b"stream") else {
                continue;
            };
            let (dictionary, stream) = object.split_at(at);
            let is_form = with_forms && memmem::find(dictionary, b"/Subtype/Form").is_some();
            if is_form || contents.contains(&number) {
                drawing.add(dictionary, &stream[b"stream".len()..]);
            }
        }
        drawing
    }

    /// Number and text of each object.
    fn objects(&self) -> impl Iterator<Item = (u32, &[u8])> {
        memmem::find_iter(&self.0, b" 0 obj").filter_map(|at| {
            let begin = self.0[..at].iter().rposition(|byte| !byte.is_ascii_digit());
            let number = &self.0[begin.map_or(0, |begin| begin + 1)..at];
            let number = std::str::from_utf8(number).ok()?.parse().ok()?;
            let object = &self.0[at + b" 0 obj".len()..];
            let end = memmem::find(object, b"endobj").unwrap_or(object.len());
            Some((number, &object[..end]))
        })
    }

    /// The numbers of the page's content streams.
    fn contents(&self) -> Vec<u32> {
        let Some(at) = memmem::find(&self.0, b"/Contents") else {
            return Vec::new();
        };
        let mut references = references(&self.0[at + b"/Contents".len()..]);
        // An array may be an object of its own.
        let arrays = references.clone();
        for (number, object) in self.objects() {
            if arrays.contains(&number) && object.trim_ascii_start().starts_with(b"[") {
                references.extend(self::references(object));
            }
        }
        references
    }
}

/// The numbers in `7 0 R` or `[7 0 R 8 0 R]`.
fn references(text: &[u8]) -> Vec<u32> {
    let text = text.trim_ascii_start();
    let (text, is_array) = match text.strip_prefix(b"[") {
        Some(array) => (array, true),
        None => (text, false),
    };
    let end = text.iter().position(|byte| b"]/>".contains(byte));
    let text = String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]);
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let numbers = words
        .chunks_exact(3)
        .filter_map(|words| words[0].parse().ok());
    numbers
        .take(if is_array { usize::MAX } else { 1 })
        .collect()
}

impl Drawing {
    fn add(&mut self, dictionary: &[u8], stream: &[u8]) {
        let line_end = usize::from(stream.starts_with(b"\r")) + 1;
        let end = memmem::rfind(stream, b"endstream").unwrap_or(stream.len());
        let stream = stream.get(line_end..end).unwrap_or_default();
        match filters(dictionary).as_slice() {
            [] => self.count(stream),
            [filter] if filter == "FlateDecode" || filter == "Fl" => {
                let mut content = Vec::new();
                let read = ZlibDecoder::new(stream)
                    .take(MAX_CONTENT)
                    .read_to_end(&mut content);
                self.unknown |= read.is_err() && content.is_empty() && !stream.is_empty();
                self.count(&content);
            }
            filters => {
                self.unknown |= filters
                    .iter()
                    .any(|filter| !KNOWN_FILTERS.contains(&filter.as_str()));
            }
        }
    }

    fn count(&mut self, content: &[u8]) {
        let mut depth = 0_usize;
        for word in content.split(|byte| byte.is_ascii_whitespace() || b"[]<>".contains(byte)) {
            // What stands between parentheses is text.
            let was_inside = depth > 0;
            let (mut escaped, mut closed_at) = (false, None);
            for (at, byte) in word.iter().enumerate() {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'(' => depth += 1,
                    b')' => {
                        depth = depth.saturating_sub(1);
                        closed_at = (depth == 0).then_some(at + 1).or(closed_at);
                    }
                    _ => {}
                }
            }
            let operator = match closed_at {
                Some(at) => &word[at..],
                None if was_inside || depth > 0 => continue,
                None => word,
            };
            // What is behind a slash is a name.
            let operator = operator.split(|&byte| byte == b'/').next();
            match operator.unwrap_or_default() {
                b"Do" => self.named += 1,
                b"Tj" | b"TJ" | b"'" | b"\"" | b"f" | b"F" | b"f*" | b"B" | b"B*" | b"b"
                | b"b*" | b"S" | b"s" | b"sh" | b"EI" => self.own += 1,
                _ => {}
            }
        }
    }
}

/// The filters that PDFium can undo.
const KNOWN_FILTERS: [&str; 10] = [
    "FlateDecode",
    "Fl",
    "LZWDecode",
    "LZW",
    "ASCII85Decode",
    "A85",
    "ASCIIHexDecode",
    "AHx",
    "RunLengthDecode",
    "RL",
];

fn filters(dictionary: &[u8]) -> Vec<String> {
    let Some(at) = memmem::find(dictionary, b"/Filter") else {
        return Vec::new();
    };
    let text = dictionary[at + b"/Filter".len()..].trim_ascii_start();
    let (text, end): (&[u8], &[u8]) = match text.strip_prefix(b"[") {
        Some(array) => (array, b"]"),
        None => (text, b" />\r\n"),
    };
    let skipped = usize::from(text.starts_with(b"/"));
    let length = text[skipped..].iter().position(|byte| end.contains(byte));
    let names = &text[..skipped + length.unwrap_or(text.len() - skipped)];
    String::from_utf8_lossy(names)
        .split(|c: char| c == '/' || c.is_ascii_whitespace())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(dictionary: &str, content: &str) -> PageSource {
        let file = format!(
            "%PDF-1.7\r\n1 0 obj\r\n<</Type/Page{dictionary}/Contents 2 0 R>>\r\nendobj\r\n\
             2 0 obj\r\n<</Length 9>>stream\r\n{content}\r\nendstream\r\nendobj\r\n"
        );
        PageSource(file.into_bytes())
    }

    #[test]
    fn drawing_operators_are_counted_outside_of_texts() {
        for (content, named, own) in [
            ("q Q", 0, 0),
            ("0 0 9 9 re W n 1 g", 0, 0),
            ("/I Do\n/F Do q/S Do", 3, 0),
            ("BT (a S \\) f) Tj ET", 0, 1),
            ("BT [(a) 3 (f Do)]TJ ET 0 0 9 9 re f", 0, 2),
            ("(f\n f) pop", 0, 0),
        ] {
            let expected = Drawing {
                named,
                own,
                unknown: false,
            };
            assert_eq!(page("", content).drawing(true), expected, "{content}");
        }
    }

    #[test]
    fn unit_and_filters_are_read() {
        assert_eq!(page("/UserUnit 72", "").user_unit(), Some(72.0));
        assert_eq!(page("/UserUnit 2.5/Rotate 0", "").user_unit(), Some(2.5));
        assert_eq!(page("/UserUnit 0", "").user_unit(), None);
        assert_eq!(page("", "").user_unit(), None);
        assert_eq!(
            filters(b"<</Filter/FlateDecode/Length 3>>"),
            ["FlateDecode"]
        );
        assert_eq!(filters(b"<</Filter[/A85 /Fl]/Length 3>>"), ["A85", "Fl"]);
        assert_eq!(filters(b"<</Length 3>>"), Vec::<String>::new());
    }
}
