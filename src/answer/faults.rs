//! Faults of the markup of a page's content: rules, as in [`clean`](super::clean).

use super::{clean::Rule, html::is_known, inline::is_formula, tags::Tag};
use crate::options::OutputFormat;

/// For a page's content, in this order.
pub(super) const CONTENT: [Rule; 3] = [data_attributes, escaped_dollars, open_tables];

/// Attributes `data-…` of HTML, which say where things are and not what.
fn data_attributes(text: &str, format: OutputFormat) -> Option<String> {
    if format == OutputFormat::Text || !text.contains("data-") {
        return None;
    }
    outside_code(text, |text| {
        replace_tags(text, |tag, written| {
            let is_data = |name: &str| name.starts_with("data-");
            let kept = tag.attributes_without(is_data);
            let all = tag.attributes_without(|_| false);
            if kept == all {
                return written.to_owned();
            }
            let end = if tag.attributes.ends_with('/') {
                "/"
            } else {
                ""
            };
            format!("<{}{kept}{end}>", tag.name)
        })
    })
}

/// The text with each tag of HTML replaced.
fn replace_tags(text: &str, mut replace: impl FnMut(&Tag, &str) -> String) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        replaced += &rest[..start];
        rest = &rest[start..];
        match Tag::parse(rest) {
            Some((tag, after)) if is_known(&tag.name) && !is_shown(&replaced) => {
                replaced += &replace(&tag, &rest[..rest.len() - after.len()]);
                rest = after;
            }
            _ => {
                replaced.push('<');
                rest = &rest[1..];
            }
        }
    }
    replaced + rest
}

/// Whether what follows a text is shown as it stands: code, or escaped.
fn is_shown(before: &str) -> bool {
    before.ends_with(['`', '\\'])
}

/// Changes what is not between fences of Markdown; says whether that is another text.
fn outside_code(text: &str, mut change: impl FnMut(&str) -> String) -> Option<String> {
    let mut changed = String::with_capacity(text.len());
    let mut is_code = false;
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            // The fences are code too.
            let end = if is_code { at + line.len() } else { at };
            let piece = &text[start..end];
            changed += &if is_code {
                piece.to_owned()
            } else {
                change(piece)
            };
            is_code = !is_code;
            start = end;
        }
        at += line.len();
    }
    let piece = &text[start..];
    changed += &if is_code {
        piece.to_owned()
    } else {
        change(piece)
    };
    (changed != text).then_some(changed)
}

/// `\$x\$` around what only a formula has, of which the dollars should not be escaped. Prices stay as they are.
fn escaped_dollars(text: &str, format: OutputFormat) -> Option<String> {
    const ESCAPED: &str = "\\$";
    if format == OutputFormat::Text || !text.contains(ESCAPED) {
        return None;
    }
    outside_code(text, |text| {
        let lines = text.split_inclusive('\n').map(|line| {
            let mut mended = String::with_capacity(line.len());
            let mut rest = line;
            while let Some((before, after)) = rest.split_once(ESCAPED) {
                mended += before;
                let double = after.strip_prefix(ESCAPED);
                let (mark, inside) = match double {
                    Some(inside) => (["\\$\\$", "$$"], inside),
                    None => ([ESCAPED, "$"], after),
                };
                let pair = inside.split_once(mark[0]);
                if let Some((inner, after)) = pair.filter(|(inner, _)| is_formula(inner)) {
                    mended += &[mark[1], inner, mark[1]].concat();
                    rest = after;
                } else {
                    mended += ESCAPED;
                    rest = after;
                }
            }
            mended + rest
        });
        lines.collect()
    })
}

/// Tables that don't end, where the answer's end has cut them off or the model forgot it; and heads of Markdown tables that
/// have fewer cells than a row, of which viewers would not show the rest.
fn open_tables(text: &str, format: OutputFormat) -> Option<String> {
    match format {
        OutputFormat::Text => None,
        OutputFormat::Html => Some(closed(text)).filter(|closed| closed != text),
        OutputFormat::Markdown => outside_code(text, |text| widened(&closed(text))),
    }
}

/// The text with an end for each table: behind its last row, if an empty line follows that, else at the end of all.
fn closed(text: &str) -> String {
    // The open elements of tables, and the place behind the last row.
    let mut open: Vec<String> = Vec::new();
    let mut closed = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let before = &rest[..start];
        push_text(&mut closed, before, &mut open);
        rest = &rest[start..];
        let tag = Tag::parse(rest).filter(|_| !is_shown(&closed));
        let Some((tag, after)) = tag else {
            closed.push('<');
            rest = &rest[1..];
            continue;
        };
        let written = &rest[..rest.len() - after.len()];
        rest = after;
        if !["table", "tr", "td", "th"].contains(&tag.name.as_str()) {
            closed += written;
            continue;
        }
        if !tag.closes {
            open.push(tag.name);
        } else if let Some(place) = open.iter().rposition(|name| *name == tag.name) {
            open.truncate(place);
        } else if tag.name == "table" {
            // An end without a beginning.
            continue;
        }
        closed += written;
    }
    push_text(&mut closed, rest, &mut open);
    close(&mut closed, &mut open);
    closed
}

/// Adds text; if it stands between rows and has an empty line and then words, the table has ended before.
fn push_text(closed: &mut String, text: &str, open: &mut Vec<String>) {
    let is_between_rows = open.last().is_some_and(|name| name == "table");
    let paragraph = text.split_once("\n\n");
    match paragraph.filter(|(_, after)| is_between_rows && !after.trim().is_empty()) {
        Some((before, after)) => {
            *closed += before;
            close(closed, open);
            *closed += "\n\n";
            *closed += after;
        }
        None => *closed += text,
    }
}

fn close(closed: &mut String, open: &mut Vec<String>) {
    if open.is_empty() {
        return;
    }
    let end = closed.trim_end().len();
    let after = closed.split_off(end);
    while let Some(name) = open.pop() {
        *closed += &format!("</{name}>");
    }
    *closed += &after;
}

/// The text with heads of tables as wide as their widest rows.
fn widened(text: &str) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for rule in 1..lines.len() {
        let is_rule =
            |line: &str| line.contains("|-") || line.contains("| -") || line.contains("|:");
        let marks = lines[rule].trim();
        if !is_rule(marks) || !marks.chars().all(|c| "|-: ".contains(c)) {
            continue;
        }
        let head = cells(&lines[rule - 1]);
        let rows = lines[rule + 1..]
            .iter()
            .take_while(|row| row.trim_start().starts_with('|'));
        let missing = rows
            .map(|row| cells(row))
            .max()
            .unwrap_or(0)
            .saturating_sub(head);
        if head == 0 || cells(&lines[rule]) != head || missing == 0 {
            continue;
        }
        for (line, cell) in [(rule - 1, "  |"), (rule, "---|")] {
            let widened = lines[line].trim_end().to_owned();
            lines[line] = widened + &cell.repeat(missing);
        }
    }
    lines.join("\n")
}

/// Number of cells between the `|` at both ends of a row; 0 for other lines.
fn cells(row: &str) -> usize {
    let row = row.trim();
    let inner = row.strip_prefix('|').and_then(|row| row.strip_suffix('|'));
    inner.map_or(0, |inner| inner.replace("\\|", "").split('|').count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::clean::tests::assert_rule;

    #[test]
    fn data_attributes_go_from_tags() {
        let cases = [
            (
                "<div data-bbox=\"1 2 3 4\" data-label='Text' class=\"x\"><img alt='a' data-bbox=\"1 2 3 4\"/></div>",
                Some("<div class=\"x\"><img alt='a'/></div>"),
            ),
            (
                "| <td colspan=\"2\" data-x> | data-x |",
                Some("| <td colspan=\"2\"> | data-x |"),
            ),
            ("<p title='data-x'>data-y", None),
            ("The tag `<p data-x=1>`", None),
            ("```\n<p data-x=1>\n```", None),
        ];
        assert_rule(data_attributes, OutputFormat::Html, &cases);
    }

    #[test]
    fn dollars_of_formulas_are_not_escaped_and_prices_are() {
        let cases = [
            (
                r"Let \$x_1 = 2\$ and \$n\$.",
                Some("Let $x_1 = 2$ and $n$."),
            ),
            (r"\$\$\int x\$\$", Some(r"$$\int x$$")),
            (r"From \$5 to \$6, \$7-\$8, \$9", None),
            (r"\$5 for \$x^2\$", Some(r"\$5 for $x^2$")),
            ("```\n\\$x\\$\n```", None),
        ];
        assert_rule(escaped_dollars, OutputFormat::Markdown, &cases);
    }

    #[test]
    fn tables_end_and_their_heads_are_wide_enough() {
        let cases = [
            (
                "<table><tr><td>a</td></tr><tr><td>b",
                Some("<table><tr><td>a</td></tr><tr><td>b</td></tr></table>"),
            ),
            (
                "<table>\n<tr><td>a</td></tr>\n\nAfter it.",
                Some("<table>\n<tr><td>a</td></tr></table>\n\nAfter it."),
            ),
            ("a</table>b", Some("ab")),
            (
                "<table><tr><td>a</td></tr>\n\n<tr><td>b</td></tr></table>",
                None,
            ),
            (
                "| a |\n|---|\n| 1 | 2 |\n| 3 |",
                Some("| a |  |\n|---|---|\n| 1 | 2 |\n| 3 |"),
            ),
            ("| a | b |\n|:--|--:|\n| 1 \\| 2 | 3 |\n| 4 |", None),
            ("```\n<table>\n```", None),
            (
                "Begin with `<table>`, end with `</table>` or \\</table>",
                None,
            ),
        ];
        assert_rule(open_tables, OutputFormat::Markdown, &cases);
    }
}
