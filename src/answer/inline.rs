//! What stands within a line of HTML, as Markdown.

use super::html::{Element, Node};

/// The Markdown of some nodes on one line; what stands on lines of its own is separated by a space.
pub(super) fn line(nodes: &[Node]) -> String {
    let mut text = String::new();
    inline(nodes, &mut text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// LaTeX without the signs around it.
pub(super) fn formula(text: &str) -> String {
    let text = text.trim();
    let around = [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$")];
    let inner = around.into_iter().find_map(|(before, after)| {
        let inner = text.strip_prefix(before)?.strip_suffix(after)?;
        (!inner.contains(before)).then_some(inner)
    });
    inner.unwrap_or(text).trim().to_owned()
}

/// Adds what stands within a line.
pub(super) fn inline(nodes: &[Node], out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => escape(text, out),
            Node::Element(element) => inline_element(element, out),
        }
    }
}

fn inline_element(element: &Element, out: &mut String) {
    let children = &element.children;
    match element.name() {
        "br" => out.push('\n'),
        "b" | "strong" => wrapped(children, "**", "**", out),
        "i" | "em" | "cite" => wrapped(children, "*", "*", out),
        "del" | "s" | "strike" => wrapped(children, "~~", "~~", out),
        "code" | "kbd" | "samp" => {
            let text = element.text();
            let runs = text.split(|c| c != '`').map(str::len);
            let tick = "`".repeat(runs.max().unwrap_or(0) + 1);
            *out += &format!("{tick}{}{tick}", text.trim());
        }
        name @ ("sub" | "sup" | "u") => {
            wrapped(children, &format!("<{name}>"), &format!("</{name}>"), out);
        }
        "math" => {
            let text = formula(&element.text());
            if !text.is_empty() {
                *out += &format!("${}$", text.replace('\n', " "));
            }
        }
        "img" => {
            if let Some(alt) = element.tag.attribute("alt").filter(|alt| !alt.is_empty()) {
                *out += &format!("![{}]()", alternative(&alt));
            }
        }
        "input" => {
            let attribute = |name| element.tag.attribute(name);
            match attribute("type").as_deref() {
                Some("checkbox" | "radio") => {
                    out.push_str(if attribute("checked").is_some() {
                        "[x] "
                    } else {
                        "[ ] "
                    });
                }
                _ => escape(&attribute("value").unwrap_or_default(), out),
            }
        }
        _ if element.is_block() => {
            out.push(' ');
            inline(children, out);
            out.push(' ');
        }
        _ => inline(children, out),
    }
}

/// Text between marks, which stand directly at it.
fn wrapped(children: &[Node], before: &str, after: &str, out: &mut String) {
    let mut inner = String::new();
    inline(children, &mut inner);
    let text = inner.trim();
    if text.is_empty() {
        *out += &inner;
        return;
    }
    let start = inner.len() - inner.trim_start().len();
    let end = inner.trim_end().len();
    *out += &inner[..start];
    *out += before;
    *out += text;
    *out += after;
    *out += &inner[end..];
}

/// The description of an image, for `![…]`.
pub(super) fn alternative(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace('[', "\\[").replace(']', "\\]")
}

/// Adds text so that Markdown shows it as it is, and formulas as they are. Line breaks in HTML mean nothing.
fn escape(text: &str, out: &mut String) {
    let parts = split_formulas(text);
    let plain = parts.iter().filter(|(_, is_formula)| !is_formula);
    // One alone begins no formula.
    let dollars: usize = plain.map(|(part, _)| part.matches('$').count()).sum();
    for (part, is_formula) in parts {
        if is_formula {
            *out += &part.replace('\n', " ");
        } else {
            escape_plain(part, dollars > 1, out);
        }
    }
}

/// A text's parts, and whether they are formulas with the signs around them.
fn split_formulas(text: &str) -> Vec<(&str, bool)> {
    const SIGNS: [(&str, &str); 4] = [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")];
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(found) = text[at..].find(['$', '\\']) {
        let begin = at + found;
        let rest = &text[begin..];
        let end = SIGNS.iter().find_map(|(before, after)| {
            let inner = rest.strip_prefix(before)?;
            let end = inner
                .find(after)
                .filter(|&end| is_formula(inner[..end].trim()))?;
            let is_tight = *before != "$" || inner[..end].trim() == &inner[..end];
            is_tight.then_some(before.len() + end + after.len())
        });
        at = begin + end.unwrap_or(1);
        if end.is_some() {
            parts.push((&text[start..begin], false));
            parts.push((&text[begin..at], true));
            start = at;
        }
    }
    parts.push((&text[start..], false));
    parts
}

/// Whether what is between two dollars is a formula and no text between two prices.
pub(super) fn is_formula(text: &str) -> bool {
    let is_tight = !text.is_empty() && text.trim() == text && !text.contains('$');
    let mut words = text.split(|c: char| !c.is_alphabetic());
    let is_short = text.len() <= 40 && words.all(|word| word.len() <= 2);
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    let is_name = text.len() <= 2 && text.chars().all(|c| c.is_ascii_alphabetic());
    let is_term = is_short && !is_number && text.contains(['+', '-', '*', '/', '<', '>', '(']);
    is_tight && (is_name || is_term || text.contains(['\\', '^', '_', '=', '{']))
}

fn escape_plain(text: &str, with_dollars: bool, out: &mut String) {
    let mut characters = text.chars().peekable();
    let mut before = out.chars().next_back();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied();
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let is_space = |c: Option<char>| c.is_none_or(char::is_whitespace);
        let needs_escape = match character {
            '`' => true,
            '$' => with_dollars,
            '*' => !(is_space(before) && is_space(next)),
            '_' => is_word(before) != is_word(next),
            '<' => next.is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '!'),
            _ => false,
        };
        if needs_escape {
            out.push('\\');
        }
        out.push(match character {
            '\n' | '\t' | '\r' => ' ',
            other => other,
        });
        before = Some(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::html::parse;

    #[test]
    fn formulas_in_text_are_not_escaped_and_prices_are() {
        for (html, markdown) in [
            (
                "Let $a_i * b_{j} &lt; c$ and $x + y$.",
                "Let $a_i * b_{j} < c$ and $x + y$.",
            ),
            (
                "\\(x_1\\) and \\[ y_* \\] and $$ z_* $$",
                "\\(x_1\\) and \\[ y_* \\] and $$ z_* $$",
            ),
            ("$5 and $6", "\\$5 and \\$6"),
            ("It costs $5.", "It costs $5."),
            ("from $US to A$ *", "from \\$US to A\\$ *"),
            ("a \\ b $", "a \\ b $"),
        ] {
            assert_eq!(line(&parse(html)), markdown, "{html}");
        }
    }
}
