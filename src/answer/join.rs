//! One text of those of a page's parts.
//!
//! Where parts overlap, both have some lines of print in full, and maybe a piece of the line that is cut. The words that both
//! have are looked for in as much of their ends as they can share: what comes after them in the first text, and before them in
//! the second, is such a piece. Where nothing is found, or less than would be left out, both texts stay whole, so that words may
//! be twice.

use std::ops::Range;

use crate::page::Joint;

/// As many words as this are the same by chance.
const MIN_WORDS: usize = 3;
/// So are words with fewer letters together.
const MIN_LETTERS: usize = 12;
/// Texts are searched for so many times as many words as the shared rows would have on average, and for some more.
const MARGIN: (f64, usize) = (2.0, 20);

/// Where a text goes on in the one of the next part of its page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seam {
    /// With a new paragraph.
    Paragraph,
    /// With a new line.
    Line,
    /// The parts share these parts of their heights.
    Shared(f64, f64),
}

impl Seam {
    /// The seam of two parts of these heights in pixels, where the second one goes on so.
    #[must_use]
    pub fn of(joint: Joint, heights: (u32, u32)) -> Self {
        match joint {
            Joint::Paragraph => Self::Paragraph,
            Joint::Line => Self::Line,
            Joint::Overlap(rows) => {
                let part = |height: u32| f64::from(rows) / f64::from(height.max(1));
                Self::Shared(part(heights.0), part(heights.1))
            }
        }
    }
}

/// A text and the one that follows it.
#[must_use]
pub fn join(mut first: String, second: &str, seam: Seam) -> String {
    let second = second.trim_start_matches(['\n', '\r']);
    let kept = first.trim_end().len();
    if kept == 0 || second.trim().is_empty() {
        return if kept == 0 { second.to_owned() } else { first };
    }
    match seam {
        Seam::Paragraph => {
            first.truncate(kept);
            first + "\n\n" + second
        }
        Seam::Line => {
            first.truncate(kept);
            table(&first, second).unwrap_or_else(|| first + "\n" + second)
        }
        Seam::Shared(of_first, of_second) => {
            if let Some((end, start)) = shared(&first, second, (of_first, of_second)) {
                first.truncate(end);
                first + &second[start..]
            } else {
                first.truncate(kept);
                first + "\n\n" + second
            }
        }
    }
}

/// Where the first text ends and the second one goes on, if both have the same words there.
fn shared(first: &str, second: &str, (of_first, of_second): (f64, f64)) -> Option<(usize, usize)> {
    let (one, other) = (words(first), words(second));
    let most = |words: &[Word], part: f64| {
        let (times, more) = MARGIN;
        (words.len() as f64 * part * times) as usize + more
    };
    let tail = one.len() - most(&one, of_first).min(one.len());
    let (one, other) = (
        &one[tail..],
        &other[..most(&other, of_second).min(other.len())],
    );
    // The longest run of words that both have; of several, the one in which most of the shared rows is.
    let mut lengths = vec![0_usize; other.len() + 1];
    let mut best = (0, 0, 0);
    for (end, word) in one.iter().enumerate() {
        for start in (0..other.len()).rev() {
            lengths[start + 1] = if word.text == other[start].text {
                lengths[start] + 1
            } else {
                0
            };
            let found = (lengths[start + 1], end + 1, start + 1);
            if found.0 > best.0 || found.0 == best.0 && found.0 > 0 && start + 1 > best.2 {
                best = found;
            }
        }
    }
    let (length, end, start) = best;
    let letters = one[end - length..end]
        .iter()
        .map(|word| word.text.chars().count());
    if length < MIN_WORDS || letters.sum::<usize>() < MIN_LETTERS {
        return None;
    }
    // A name that stands in both by chance is no reason to leave out the sentences around it.
    let left_out = (one.len() - end).max(start - length);
    if left_out > length {
        return None;
    }
    Some((one[end - 1].bytes.end, other[start - 1].bytes.end))
}

/// Letters and digits in a row, without case; each alone in scripts that put no space between words.
struct Word {
    text: String,
    bytes: Range<usize>,
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut goes_on = false;
    for (at, letter) in text.char_indices() {
        if !letter.is_alphanumeric() {
            goes_on = false;
            continue;
        }
        let end = at + letter.len_utf8();
        let is_alone = letter >= '\u{2E80}';
        match words.last_mut().filter(|_| goes_on && !is_alone) {
            Some(word) => {
                word.text.extend(letter.to_lowercase());
                word.bytes.end = end;
            }
            None => words.push(Word {
                text: letter.to_lowercase().collect(),
                bytes: at..end,
            }),
        }
        goes_on = !is_alone;
    }
    words
}

/// Both texts, if a table is cut between two rows.
fn table(first: &str, second: &str) -> Option<String> {
    html_table(first, second).or_else(|| markdown_table(first, second))
}

fn html_table(first: &str, second: &str) -> Option<String> {
    let before = first.strip_suffix("</table>")?.trim_end();
    let rows = second
        .find("<tr")
        .filter(|_| second.starts_with("<table"))?;
    let opening = &second[..rows];
    let before = match (before.strip_suffix("</tbody>"), opening.contains("<tbody")) {
        (Some(before), true) => before.trim_end(),
        (None, false) if !opening.contains("<thead") => before,
        // A head, or another structure: a table of its own.
        _ => return None,
    };
    Some(format!("{before}\n{}", &second[rows..]))
}

/// The model takes the first row that it sees for the table's head, and draws a line below it.
fn markdown_table(first: &str, second: &str) -> Option<String> {
    let is_row = |line: &str| {
        let line = line.trim();
        line.len() > 1 && line.starts_with('|') && line.ends_with('|')
    };
    let cells = |line: &str| line.matches('|').count() - line.matches("\\|").count();
    let last = first.lines().next_back().filter(|last| is_row(last))?;
    let (head, below) = second.split_once('\n').filter(|(head, _)| is_row(head))?;
    let (rule, rows) = below.split_once('\n').unwrap_or((below, ""));
    let is_rule = is_row(rule) && rule.contains('-') && rule.chars().all(|c| "|-: \r".contains(c));
    let goes_on = is_rule && cells(last) == cells(head);
    goes_on.then(|| {
        format!("{first}\n{head}\n{rows}")
            .trim_end_matches('\n')
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Seam = Seam::Shared(0.5, 0.5);

    #[test]
    fn texts_of_overlapping_parts_have_their_shared_lines_once() {
        for (first, second, expected) in [
            (
                "One line.\nThe second line is here.\nA third li",
                "secnd lin is hcre.\nThe second line is here.\nA third line.\nThe fourth.",
                "One line.\nThe second line is here.\nA third line.\nThe fourth.",
            ),
            // What was cut is misread on both sides.
            (
                "Alpha beta gamma.\n\nDelta epsilon zeta eta theta.\n\nl0ta kappo",
                "oelta ebsilun\n\nDelta epsilon zeta eta theta.\n\nIota kappa lambda.",
                "Alpha beta gamma.\n\nDelta epsilon zeta eta theta.\n\nIota kappa lambda.",
            ),
            (
                "東京都千代田区永田町一丁目七番一号",
                "田区永田町一丁目七番一号、国会議事堂",
                "東京都千代田区永田町一丁目七番一号、国会議事堂",
            ),
        ] {
            assert_eq!(join(first.to_owned(), second, HALF), expected);
        }
    }

    #[test]
    fn texts_without_shared_words_stay_whole() {
        for (first, second) in [
            ("one two", "three four"),
            ("a b c", "a b c"),
            ("the end of it", "it was the end"),
        ] {
            let joined = join(first.to_owned(), second, HALF);
            assert_eq!(joined, format!("{first}\n\n{second}"));
        }
        // A name with more around it than a piece of a line.
        let (first, second) = (
            "as the Board of Directors said, costs of paper and of ink rose twice",
            "in May and in June of that year the Board of Directors met again",
        );
        let joined = join(first.to_owned(), second, HALF);
        assert_eq!(joined, format!("{first}\n\n{second}"));
        // The same words farther away than the parts overlap.
        let line = "a sentence that is in both of them ";
        let first = line.to_owned() + &"word ".repeat(400);
        let joined = join(first.clone(), line, Seam::Shared(0.05, 0.05));
        assert_eq!(joined, format!("{}\n\n{line}", first.trim_end()));
    }

    #[test]
    fn texts_of_adjacent_parts_are_joined_as_they_are() {
        let join = |first: &str, second, seam| join(first.to_owned(), second, seam);
        assert_eq!(join("a\n", "\nb", Seam::Paragraph), "a\n\nb");
        assert_eq!(join("a", "b\n", Seam::Line), "a\nb\n");
        assert_eq!(join("", "b", HALF), "b");
        assert_eq!(join("a", " ", Seam::Line), "a");
    }

    #[test]
    fn table_goes_on_in_the_next_part() {
        let join = |first: &str, second| join(first.to_owned(), second, Seam::Line);
        assert_eq!(
            join(
                "<table><tr><td>1</td></tr></table>",
                "<table>\n<tr><td>2</td></tr></table>\nend"
            ),
            "<table><tr><td>1</td></tr>\n<tr><td>2</td></tr></table>\nend"
        );
        let body = "<table><tbody><tr><td>1</td></tr></tbody></table>";
        assert_eq!(
            join(body, body),
            "<table><tbody><tr><td>1</td></tr>\n<tr><td>1</td></tr></tbody></table>"
        );
        // What the next part has as its head may be a table of its own.
        let head = "<table><thead><tr><th>1</th></tr></thead></table>";
        assert_eq!(join(body, head), format!("{body}\n{head}"));
        let start = "| a | b |\n|---|---|\n| 1 | 2 |";
        for more in ["| 3 | 4 |\n|---|---|\n| 5 | 6 |", "| 3 | 4 |\n| 5 | 6 |"] {
            assert_eq!(join(start, more), format!("{start}\n| 3 | 4 |\n| 5 | 6 |"));
        }
        assert_eq!(
            join(start, "| 3 |\n|---|"),
            format!("{start}\n| 3 |\n|---|")
        );
    }
}
