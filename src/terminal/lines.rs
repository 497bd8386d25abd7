//! Labelled lines, aligned, and wrapped at the terminal's width.

use std::{borrow::Cow, fmt::Write};

use textwrap::{Options, WordSeparator, WordSplitter, core::display_width};

use super::shown::{Colour, paint, printable};

/// Columns of a label.
const LABEL: usize = 10;
/// What stands between the parts of a line.
const PARTS: &str = " · ";
/// What the rest of a wrapped line begins with.
const INDENT: &str = "  ";
/// Minimum columns for wrapping; narrower terminals wrap themselves.
const MIN_WIDTH: usize = 3 * LABEL;

/// Labelled lines. Their text is made [`printable`].
#[derive(Debug, Default)]
pub struct Lines(Vec<Line>);

#[derive(Debug)]
struct Line {
    label: &'static str,
    colour: Colour,
    text: String,
    /// Text to copy, which must not be wrapped.
    whole: bool,
}

impl Lines {
    /// Adds a line.
    pub fn add(&mut self, label: &'static str, text: String) {
        self.add_in(Colour::Bold, label, text);
    }

    /// The same, with a coloured label.
    pub fn add_in(&mut self, colour: Colour, label: &'static str, text: String) {
        self.0.push(Line {
            label,
            colour,
            text,
            whole: false,
        });
    }

    /// The same, for text to copy, which is not wrapped.
    pub fn add_whole(&mut self, label: &'static str, text: String) {
        self.add(label, text);
        if let Some(last) = self.0.last_mut() {
            last.whole = true;
        }
    }

    /// Adds other lines.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Label and text of each line, and whether the text must not be wrapped. They are not [`printable`] yet.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &str, bool)> {
        let lines = self.0.iter();
        lines.map(|line| (line.label, line.text.as_str(), line.whole))
    }

    /// The lines as text, wrapped before `width` if given, continuation lines indented below the label.
    #[must_use]
    pub fn render(&self, width: Option<usize>, coloured: bool) -> String {
        let mut shown = String::new();
        for Line {
            label,
            colour,
            text,
            whole,
        } in &self.0
        {
            let text = printable(text);
            // Padded first: what colours a label has no width.
            let label = paint(&format!("{label:<LABEL$}"), *colour, coloured);
            let pieces = match width {
                Some(width) if width >= MIN_WIDTH && !whole => wrap(&text, width - LABEL - 1),
                _ => vec![text.into_owned()],
            };
            for (place, piece) in pieces.iter().enumerate() {
                let _ = match place {
                    0 => writeln!(shown, "{label}{piece}"),
                    _ => writeln!(shown, "{:LABEL$}{piece}", ""),
                };
            }
        }
        shown
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let pieces = textwrap::wrap(text, at_spaces(width)).into_iter();
    pieces.map(Cow::into_owned).collect()
}

fn at_spaces<'a>(width: usize) -> Options<'a> {
    Options::new(width)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
}

/// One line of text, which may be coloured, wrapped before `width`: between its parts, else between its words. What is too
/// long for a line is left to the terminal, so that it can be copied.
#[must_use]
pub fn wrap_line(text: &str, width: usize) -> Cow<'_, str> {
    let fits = |text: &str| display_width(text) < width;
    if width < MIN_WIDTH || fits(text) {
        return text.into();
    }
    let mut lines: Vec<String> = Vec::new();
    for part in text.split(PARTS) {
        let last = lines.last_mut();
        match last {
            Some(last) if fits(&format!("{last}{PARTS}{part}")) => {
                last.push_str(PARTS);
                last.push_str(part);
            }
            Some(_) => lines.push(format!("{INDENT}{}{part}", PARTS.trim_start())),
            None => lines.push(part.to_owned()),
        }
    }
    let options = at_spaces(width - 1)
        .subsequent_indent(INDENT)
        .break_words(false);
    let lines = lines.iter().flat_map(|line| textwrap::wrap(line, &options));
    lines.collect::<Vec<_>>().join("\n").into()
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;

    use super::*;

    #[test]
    fn summary_lines_wrap_below_labels_within_the_terminal() {
        let mut lines = Lines::default();
        lines.add(
            "read",
            "1,003 documents, 1 without any of the requested pages".to_owned(),
        );
        lines.add_in(
            Colour::Red,
            "failed",
            format!(
                "{}.pdf, page 3: \u{1b}[2J 文字文字文字文字文字文字文字文字文字",
                "x".repeat(50)
            ),
        );
        insta::assert_snapshot!(lines.render(Some(40), false), @r"
        read      1,003 documents, 1 without
                  any of the requested pages
        failed    xxxxxxxxxxxxxxxxxxxxxxxxxxxxx
                  xxxxxxxxxxxxxxxxxxxxx.pdf,
                  page 3: \u{1b}[2J
                  文字文字文字文字文字文字文字
                  文字文字
        ");
        for width in 30..140 {
            let shown = lines.render(Some(width), true);
            assert!(shown.lines().all(|line| measure_text_width(line) < width));
        }
        assert_eq!(lines.render(None, false).lines().count(), 2);
    }

    #[test]
    fn messages_wrap_between_parts_and_words() {
        let first =
            "omnidocs 0.1.0 · Qwen3-VL-2B q8_0 on cpu (2 threads, AVX2) · 20 documents → r.jsonl";
        let colours = "\u{1b}[33mwarning:\u{1b}[0m a word is never torn, and a path is not either: \
                       a/very/long/path/which/does/not/fit/into/a/line.pdf";
        let shown = [first, colours].map(|text| wrap_line(text, 60)).join("\n");
        insta::assert_snapshot!(console::strip_ansi_codes(&shown), @r"
        omnidocs 0.1.0 · Qwen3-VL-2B q8_0 on cpu (2 threads, AVX2)
          · 20 documents → r.jsonl
        warning: a word is never torn, and a path is not either:
          a/very/long/path/which/does/not/fit/into/a/line.pdf
        ");
        for text in [first, colours] {
            assert_eq!(wrap_line(text, 140), text);
            for width in 30..140 {
                let wrapped = wrap_line(text, width);
                let words = |text: &str| text.replace(char::is_whitespace, "");
                assert_eq!(words(&wrapped), words(text));
                let mut lines = wrapped.lines();
                let fits = |line: &str| {
                    measure_text_width(line) < width || line.split_whitespace().count() == 1
                };
                assert!(lines.all(fits), "{wrapped}");
            }
        }
    }
}
