//! Tables: their cells, and how HTML and Markdown write them. One becomes the other only where nothing is lost.

use pulldown_cmark::{Event, Options, Parser, Tag as Mark, html::push_html};

use super::{
    html::{Element, Node},
    inline::{inline, line},
};
use crate::options::TablesChoice;

/// A table's rows: what each cell says, or nothing where another cell spans it.
pub type Rows = Vec<Vec<Option<String>>>;

/// No cell spans more rows or columns.
const MAX_SPAN: usize = 1000;
/// Tables with more cells, spanned ones included, have no rows.
const MAX_CELLS: usize = 200_000;

/// A table as it was written.
struct Table<'e, 'a> {
    caption: Option<&'e Element<'a>>,
    rows: Vec<Vec<&'e Element<'a>>>,
    /// What is in none of its cells.
    strays: Vec<&'e Node<'a>>,
}

impl<'e, 'a> Table<'e, 'a> {
    fn of(element: &'e Element<'a>) -> Self {
        let mut table = Self {
            caption: None,
            rows: Vec::new(),
            strays: Vec::new(),
        };
        table.collect(&element.children, false);
        table
    }

    fn collect(&mut self, nodes: &'e [Node<'a>], in_row: bool) {
        for node in nodes {
            let Node::Element(element) = node else {
                if matches!(node, Node::Text(text) if !text.trim().is_empty()) {
                    self.strays.push(node);
                }
                continue;
            };
            match element.name() {
                "tr" => {
                    self.rows.push(Vec::new());
                    self.collect(&element.children, true);
                }
                "td" | "th" => {
                    if !in_row && self.rows.is_empty() {
                        self.rows.push(Vec::new());
                    }
                    if let Some(row) = self.rows.last_mut() {
                        row.push(element);
                    }
                }
                "caption" if self.caption.is_none() => self.caption = Some(element),
                "thead" | "tbody" | "tfoot" => self.collect(&element.children, false),
                "colgroup" | "col" => {}
                _ => self.strays.push(node),
            }
        }
    }

    /// The cells' places; none if there are too many.
    fn grid(&self) -> Option<Rows> {
        let mut rows: Rows = Vec::new();
        // For each column, how many more rows a cell above spans.
        let mut below: Vec<usize> = Vec::new();
        let mut cells = 0;
        for row in &self.rows {
            let mut written = Vec::new();
            let skip = |written: &mut Vec<Option<String>>, below: &mut Vec<usize>| {
                while let Some(left) = below.get_mut(written.len()).filter(|left| **left > 0) {
                    *left -= 1;
                    written.push(None);
                }
            };
            for cell in row {
                skip(&mut written, &mut below);
                let (columns, rows) = (span(cell, "colspan"), span(cell, "rowspan"));
                let first = written.len();
                written.push(Some(cell_line(cell)));
                written.resize(first + columns, None);
                if below.len() < written.len() {
                    below.resize(written.len(), 0);
                }
                below[first..].fill(rows - 1);
                cells += columns;
                if cells > MAX_CELLS {
                    return None;
                }
            }
            skip(&mut written, &mut below);
            cells += written.len();
            rows.push(written);
        }
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        (width * rows.len() <= MAX_CELLS).then_some(rows)
    }

    /// Whether Markdown can say all of it: one row of headings at most, the first, and lines of text in cells that span
    /// nothing.
    fn fits_markdown(&self) -> bool {
        let mut cells = self.rows.iter().enumerate();
        let width = self.rows.first().map_or(0, Vec::len);
        let headings = |row: &[&Element]| row.iter().filter(|cell| cell.name() == "th").count();
        let spans = |cell: &Element| span(cell, "colspan") > 1 || span(cell, "rowspan") > 1;
        let holds_blocks =
            |cell: &Element| cell.any(&|inner: &Element| inner.is_block() && inner.name() != "p");
        self.strays.is_empty()
            && width > 0
            && cells.all(|(place, row)| {
                let headings = headings(row);
                let is_plain = headings == 0 || (place == 0 && headings == width);
                let fits = row.len() == width || (place > 0 && row.len() < width);
                is_plain && fits && row.iter().all(|cell| !spans(cell) && !holds_blocks(cell))
            })
    }
}

fn span(cell: &Element, name: &str) -> usize {
    let value = cell.tag.attribute(name);
    let value = value.and_then(|value| value.trim().parse().ok());
    value.unwrap_or(1).clamp(1, MAX_SPAN)
}

fn cell_line(cell: &Element) -> String {
    line(&cell.children)
}

/// The rows of a table's element.
pub(super) fn rows(element: &Element) -> Option<Rows> {
    Table::of(element).grid()
}

/// A table's element, in HTML unless Markdown is wanted and can say all of it. Its caption and what is in no cell stand
/// before it.
pub(super) fn write(element: &Element, wanted: Option<TablesChoice>) -> String {
    let table = Table::of(element);
    let mut parts = Vec::new();
    if wanted == Some(TablesChoice::Markdown) && table.fits_markdown() {
        if let Some(caption) = table.caption {
            parts.push(line(&caption.children));
        }
        let cells = |row: &[&Element]| row.iter().map(|cell| markdown_cell(cell)).collect();
        parts.push(pipes(table.rows.iter().map(|row| cells(row)).collect()));
    } else {
        let strays = table.strays.iter();
        let strays: Vec<_> = strays
            .map(|&node| line(std::slice::from_ref(node)))
            .collect();
        parts.push(strays.join(" "));
        if table.rows.is_empty() {
            parts.extend(table.caption.map(|caption| line(&caption.children)));
        } else {
            parts.push(tags(&table));
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn tags(table: &Table) -> String {
    let mut html = String::from("<table>");
    if let Some(caption) = table.caption {
        html += &format!("<caption>{}</caption>", html_cell(caption));
    }
    for row in &table.rows {
        html += "\n<tr>";
        for cell in row {
            let name = cell.name();
            html += &format!("<{name}");
            for kind in ["colspan", "rowspan"] {
                match span(cell, kind) {
                    1 => {}
                    count => html += &format!(" {kind}=\"{count}\""),
                }
            }
            html += &format!(">{}</{name}>", html_cell(cell));
        }
        html += "</tr>";
    }
    html + "\n</table>"
}

/// What is in a cell, as HTML without attributes.
fn html_cell(cell: &Element) -> String {
    let mut html = String::new();
    push_nodes(&cell.children, &mut html);
    html.trim().to_owned()
}

fn push_nodes(nodes: &[Node], html: &mut String) {
    for node in nodes {
        let element = match node {
            Node::Text(text) => {
                *html += &escape(&text.replace('\n', " "));
                continue;
            }
            Node::Element(element) => element,
        };
        let name = element.name();
        match name {
            "br" | "hr" => *html += &format!("<{name}>"),
            "math" | "img" | "input" => {
                let mut text = String::new();
                inline(std::slice::from_ref(node), &mut text);
                *html += &escape(&text);
            }
            "table" => *html += &write(element, None),
            "span" | "a" | "div" | "font" | "label" => push_nodes(&element.children, html),
            name => {
                *html += &format!("<{name}>");
                push_nodes(&element.children, html);
                *html += &format!("</{name}>");
            }
        }
    }
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

fn markdown_cell(cell: &Element) -> String {
    let mut text = String::new();
    inline(&cell.children, &mut text);
    let text = text.trim().replace('|', "\\|");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.collect();
    lines.join("<br>")
}

/// Rows as a table of Markdown, the first one as its head.
fn pipes(mut rows: Vec<Vec<String>>) -> String {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (place, row) in rows.iter_mut().enumerate() {
        row.resize(width, String::new());
        lines.push(format!("| {} |", row.join(" | ")));
        if place == 0 {
            lines.push(format!("|{}", "---|".repeat(width)));
        }
    }
    lines.join("\n")
}

/// The rows of a table of Markdown.
pub(super) fn rows_of_markdown(markdown: &str) -> Option<Rows> {
    let mut rows = Rows::new();
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES).into_offset_iter();
    for (event, range) in events {
        match event {
            Event::Start(Mark::TableHead | Mark::TableRow) => rows.push(Vec::new()),
            Event::Start(Mark::TableCell) => {
                let cell = markdown.get(range).unwrap_or_default();
                let cell = cell.trim_matches(|c: char| c == '|' || c.is_whitespace());
                if let Some(row) = rows.last_mut() {
                    row.push(Some(cell.replace("\\|", "|")));
                }
            }
            _ => {}
        }
    }
    (!rows.is_empty()).then_some(rows)
}

/// A table of Markdown as one of HTML.
pub(super) fn html_of_markdown(markdown: &str) -> String {
    let events = Parser::new_ext(
        markdown,
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_MATH,
    );
    // Formulas stay as they are, and links and images are what they say.
    let events = events.filter_map(|event| match event {
        Event::InlineMath(math) => Some(Event::Text(format!("${math}$").into())),
        Event::DisplayMath(math) => Some(Event::Text(format!("$${math}$$").into())),
        Event::Start(Mark::Link { .. } | Mark::Image { .. })
        | Event::End(pulldown_cmark::TagEnd::Link | pulldown_cmark::TagEnd::Image) => None,
        event => Some(event),
    });
    let mut html = String::new();
    push_html(&mut html, events);
    html.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::html::parse;

    fn table(html: &str) -> (String, String, Option<Rows>) {
        let nodes = parse(html);
        let Some(Node::Element(element)) = nodes.first() else {
            panic!("no element in {html}");
        };
        let as_markdown = write(element, Some(TablesChoice::Markdown));
        (write(element, None), as_markdown, rows(element))
    }

    fn cells(rows: &[&[&str]]) -> Rows {
        let cell = |text: &&str| (*text != "-").then(|| (*text).to_owned());
        let rows = rows.iter().map(|row| row.iter().map(cell).collect());
        rows.collect()
    }

    #[test]
    fn plain_table_becomes_markdown() {
        let (html, markdown, rows) = table(
            "<table class=\"t\"><thead><tr><th>Item<th>Price</tr></thead>\n<tbody><tr><td>Nut | bolt</td>\
             <td data-bbox=\"1 2 3 4\"><b>2</b><br>3</td></tr><tr><td>x</td></tr></tbody></table>",
        );
        assert_eq!(
            markdown,
            "| Item | Price |\n|---|---|\n| Nut \\| bolt | **2**<br>3 |\n| x |  |"
        );
        assert_eq!(
            html,
            "<table>\n<tr><th>Item</th><th>Price</th></tr>\n<tr><td>Nut | bolt</td><td><b>2</b><br>3</td></tr>\n\
             <tr><td>x</td></tr>\n</table>"
        );
        assert_eq!(
            rows.unwrap(),
            cells(&[&["Item", "Price"], &["Nut | bolt", "**2** 3"], &["x"]])
        );
    }

    #[test]
    fn tables_with_spans_headings_below_or_lists_stay_html() {
        for inner in [
            "<tr><td colspan=2>a</td></tr><tr><td>b</td><td>c</td></tr>",
            "<tr><td rowspan=\"2\">a</td><td>b</td></tr><tr><td>c</td></tr>",
            "<tr><td>a</td></tr><tr><th>b</th></tr>",
            "<tr><th>a</th><td>b</td></tr>",
            "<tr><td><ul><li>a</ul></td></tr>",
            "<tr><td>a</td></tr><tr><td>b</td><td>c</td></tr>",
        ] {
            let (html, markdown, _) = table(&format!("<table>{inner}</table>"));
            assert_eq!(html, markdown, "{inner}");
            assert!(html.starts_with("<table>\n<tr>"), "{html}");
        }
    }

    #[test]
    fn spanned_cells_are_null_in_the_rows() {
        let (html, _, rows) = table(
            "<table><tr><th rowspan=2>a<th colspan=2>b</tr><tr><td>c<td>d</tr><tr><td>e<td colspan=2>f</table>",
        );
        let expected = cells(&[&["a", "b", "-"], &["-", "c", "d"], &["e", "f", "-"]]);
        assert_eq!(rows, Some(expected));
        assert!(html.contains("<th rowspan=\"2\">a</th><th colspan=\"2\">b</th>"));
        let huge = "<table><tr>".to_owned() + &"<td colspan=1000 rowspan=1000>x".repeat(300);
        assert_eq!(table(&huge).2, None);
    }

    #[test]
    fn text_outside_of_the_cells_is_kept() {
        let (html, ..) = table("<table>stray<caption>A caption</caption><tr>more<td>a</table>");
        assert_eq!(
            html,
            "stray more\n\n<table><caption>A caption</caption>\n<tr><td>a</td></tr>\n</table>"
        );
        assert_eq!(table("<table>only words").0, "only words");
    }

    #[test]
    fn markdown_tables_become_html_and_rows() {
        let markdown = "| a | b |\n|---|--:|\n| **1** & $x_1$ | <i>2</i> |\n";
        let html = html_of_markdown(markdown);
        for part in [
            "<th>a</th>",
            "<td><strong>1</strong> &amp; $x_1$</td>",
            "text-align: right",
        ] {
            assert!(html.contains(part), "no {part} in {html}");
        }
        assert_eq!(
            rows_of_markdown(markdown).unwrap(),
            cells(&[&["a", "b"], &["**1** & $x_1$", "<i>2</i>"]])
        );
        assert_eq!(rows_of_markdown("no table"), None);
    }
}
