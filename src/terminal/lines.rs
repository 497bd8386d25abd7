//! Labelled lines, aligned, and wrapped at the terminal's width.

use std::fmt::Write;

use textwrap::{Options, WordSeparator, WordSplitter};

use super::{Colour, paint, printable};

/// Columns of a label.
const LABEL: usize = 10;
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
    let options = Options::new(width)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    let pieces = textwrap::wrap(text, options).into_iter();
    pieces.map(std::borrow::Cow::into_owned).collect()
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
}
