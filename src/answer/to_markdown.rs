//! A tree of HTML as Markdown. No letter of the text is lost, and none is added.

use super::{
    html::{Element, Node},
    inline::{formula, inline, line},
    table,
};
use crate::options::TablesChoice;

/// The Markdown of some nodes: paragraphs, lists, tables and so on, with an empty line between them.
pub(super) fn blocks(nodes: &[Node], tables: Option<TablesChoice>) -> String {
    let mut writer = Writer {
        tables,
        parts: Vec::new(),
        line: String::new(),
    };
    writer.nodes(nodes);
    writer.end_line();
    writer.parts.join("\n\n")
}

struct Writer {
    tables: Option<TablesChoice>,
    parts: Vec<String>,
    /// The paragraph that is being written.
    line: String,
}

impl Writer {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Element(element) if is_apart(element) => self.element(element),
                node => inline(std::slice::from_ref(node), &mut self.line),
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.part(paragraph(&line));
    }

    fn part(&mut self, part: String) {
        if !part.is_empty() {
            self.parts.push(part);
        }
    }

    fn element(&mut self, element: &Element) {
        self.end_line();
        let children = &element.children;
        match element.name() {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                let text = line(children);
                if !text.is_empty() {
                    let level = level(element.name()).unwrap_or(1);
                    self.part(format!("{} {text}", "#".repeat(level.into())));
                }
            }
            "ul" | "ol" => self.part(list(element, self.tables)),
            "table" => self.part(table::write(element, self.tables)),
            "pre" => self.part(fenced(&element.text())),
            "math" => self.part(format!("$$\n{}\n$$", formula(&element.text()))),
            "hr" => self.part("---".to_owned()),
            "blockquote" => {
                let inner = blocks(children, self.tables);
                let lines = inner.lines().map(|line| format!("> {line}"));
                self.part(lines.collect::<Vec<_>>().join("\n"));
            }
            _ => {
                self.nodes(children);
                self.end_line();
            }
        }
    }
}

/// Whether an element stands on lines of its own, or holds what does.
fn is_apart(element: &Element) -> bool {
    let apart = |element: &Element| element.is_block() || is_display(element);
    apart(element) || element.any(&apart)
}

/// The level of a heading's element.
pub(super) fn level(name: &str) -> Option<u8> {
    let level = name.strip_prefix('h')?.parse().ok()?;
    (1..=6).contains(&level).then_some(level)
}

/// Whether a formula is one on lines of its own: Chandra writes `display="block"`.
pub(super) fn is_display(element: &Element) -> bool {
    let display = || element.tag.attribute("display");
    element.name() == "math" && display().is_some_and(|display| display != "inline")
}

/// Code between fences that are longer than any in it.
pub(super) fn fenced(code: &str) -> String {
    let runs = code.split(|c| c != '`').map(str::len);
    let fence = "`".repeat(runs.max().unwrap_or(0).max(2) + 1);
    format!("{fence}\n{}\n{fence}", code.trim_matches('\n'))
}

/// A list, each level indented under the text of the one above.
fn list(element: &Element, tables: Option<TablesChoice>) -> String {
    let is_ordered = element.name() == "ol";
    let start = element.tag.attribute("start");
    let mut number: u32 = start.and_then(|start| start.parse().ok()).unwrap_or(1);
    let mut lines = Vec::new();
    for child in &element.children {
        let own;
        let inside = match child {
            Node::Element(item) if item.name() == "li" => &item.children,
            other => {
                own = vec![other.clone()];
                &own
            }
        };
        let text = blocks(inside, tables);
        if text.is_empty() {
            continue;
        }
        let mark = if is_ordered {
            format!("{number}. ")
        } else {
            "- ".to_owned()
        };
        number = number.saturating_add(1);
        let indent = " ".repeat(mark.len());
        for (place, line) in text.lines().enumerate() {
            lines.push(match (place, line) {
                (0, line) => format!("{mark}{line}"),
                (_, "") => continue,
                (_, line) => format!("{indent}{line}"),
            });
        }
    }
    lines.join("\n")
}

/// A paragraph's lines without spaces around them.
fn paragraph(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
        words.join(" ")
    });
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    let text = lines.join("\n");
    if text.starts_with('#') {
        return format!("\\{text}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::html::parse;

    #[test]
    fn html_of_a_block_becomes_markdown() {
        for (html, markdown) in [
            (
                "<p>One\n  line, <b>bold </b>and<i> slanted</i>.</p>",
                "One line, **bold** and *slanted*.",
            ),
            ("<p>a<br>b<br/> c</p><p>d", "a\nb\nc\n\nd"),
            (
                "H<sub>2</sub>O, x<sup>2</sup>, <u>u</u>",
                "H<sub>2</sub>O, x<sup>2</sup>, <u>u</u>",
            ),
            (
                "<ul><li>one<li>two<ol start=3><li>deep</ol></ul>",
                "- one\n- two\n  3. deep",
            ),
            (
                "<h3>A &lt;b&gt; title</h3>\n<blockquote><p>q</p><p>r</p></blockquote>",
                "### A \\<b> title\n\n> q\n> \n> r",
            ),
            ("<math>E = mc^2</math> holds", "$E = mc^2$ holds"),
            (
                "so <math display=\"block\">\\int x</math> thus",
                "so\n\n$$\n\\int x\n$$\n\nthus",
            ),
            ("<pre><code>a\n  `b`\n</code></pre>", "```\na\n  `b`\n```"),
            ("use <code>x`y</code>", "use ``x`y``"),
            (
                "snake_case, 2 * 3, *, _x_ and *y*",
                "snake_case, 2 * 3, \\*, \\_x\\_ and \\*y\\*",
            ),
            (
                "a < b <c> <unknown>d</unknown>",
                "a < b \\<c> \\<unknown>d\\</unknown>",
            ),
            (
                "<input type=\"checkbox\" checked> yes <input type=checkbox> no",
                "[x] yes [ ] no",
            ),
            ("<img alt='A [red] dot' src=x>", "![A \\[red\\] dot]()"),
            ("<p># 5</p>", "\\# 5"),
        ] {
            assert_eq!(blocks(&parse(html), None), markdown, "{html}");
        }
    }

    #[test]
    fn deep_nesting_keeps_its_text() {
        let deep = format!("{}x", "<div><b>".repeat(20_000));
        assert!(blocks(&parse(&deep), None).contains('x'));
    }
}
