//! Pages written as HTML whose elements say where they are: Qwen's document HTML and Chandra's blocks.
//!
//! Qwen's models write `<p data-bbox="x0 y0 x1 y1">`, headings, lists and tables so too, and `<div class="image" data-bbox=…>`
//! for the rest (QwenVL HTML: arXiv 2502.13923, section 2.2.1; `QwenLM/Qwen3-VL`, `cookbooks/document_parsing.ipynb`).
//! Chandra's write a `<div data-bbox data-label>` for each block (`datalab-to/chandra`, `chandra/prompts.py` and
//! `chandra/output.py`).

use super::{
    boxes::numbers,
    html::{self, Element, Node},
    inline::{formula, line},
    labels, table,
    tags::{Tag, end_of_element},
    to_markdown::{blocks as markdown, level},
};
use crate::{
    block::{Bbox, Block, BlockType, around},
    options::TablesChoice,
};

const BBOX: &str = "data-bbox";
const LABEL: &str = "data-label";

/// The blocks of a page in HTML, with boxes in the model's units; none where there is no element that is a block.
pub(super) fn blocks(text: &str, tables: Option<TablesChoice>) -> Option<Vec<Block>> {
    let mut reader = Reader {
        tables,
        blocks: Vec::new(),
        found: false,
    };
    reader.nodes(&html::parse(text));
    reader.found.then_some(reader.blocks)
}

/// Whether a text begins as HTML does, and not with an element that Markdown has too.
pub(super) fn begins_a_page(text: &str) -> bool {
    const ELEMENTS: [&str; 12] = [
        "html", "body", "main", "article", "section", "div", "p", "h1", "h2", "h3", "ul", "ol",
    ];
    let text = text.trim_start();
    let is_doctype = text
        .get(..9)
        .is_some_and(|it| it.eq_ignore_ascii_case("<!doctype"));
    let tag = Tag::parse(text);
    is_doctype || tag.is_some_and(|(tag, _)| ELEMENTS.contains(&tag.name.as_str()))
}

/// The HTML of a page without the elements whose types are dropped.
pub(super) fn without(text: &str, drops: &dyn Fn(BlockType) -> bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        kept += &rest[..start];
        rest = &rest[start..];
        let element = Tag::parse(rest).filter(|(tag, _)| !tag.closes);
        let is_dropped = element.is_some_and(|(tag, _)| {
            let label = tag.attribute(LABEL).or_else(|| tag.attribute("class"));
            label
                .and_then(|label| labels::of(&label))
                .is_some_and(drops)
        });
        let end = match Tag::parse(rest) {
            Some((tag, _)) if is_dropped => end_of_element(rest, &tag.name),
            _ => {
                kept.push('<');
                1
            }
        };
        rest = &rest[end..];
    }
    kept + rest
}

struct Reader {
    tables: Option<TablesChoice>,
    blocks: Vec<Block>,
    found: bool,
}

impl Reader {
    fn nodes(&mut self, nodes: &[Node]) {
        let mut loose: Vec<Node> = Vec::new();
        for node in nodes {
            match node {
                Node::Element(element) if is_wrapper(element) => {
                    self.loose(&mut loose);
                    self.nodes(&element.children);
                }
                Node::Element(element) if element.name() == "hr" => self.loose(&mut loose),
                Node::Element(element) if is_block(element) => {
                    self.loose(&mut loose);
                    self.found = true;
                    let block = self.block(element);
                    // An empty paragraph says nothing, and no more does a page that is blank.
                    let has_place = block.bbox.is_some() && block.kind != BlockType::Other;
                    if has_place || !block.text.is_empty() {
                        self.blocks.push(block);
                    }
                }
                node => loose.push(node.clone()),
            }
        }
        self.loose(&mut loose);
    }

    /// Text outside of all blocks.
    fn loose(&mut self, nodes: &mut Vec<Node>) {
        let text = markdown(&std::mem::take(nodes), self.tables);
        if !text.is_empty() {
            self.blocks.push(Block::new(BlockType::Text, text));
        }
    }

    fn block(&self, element: &Element) -> Block {
        let kind = kind(element);
        let children = std::slice::from_ref(element).iter();
        let own: Vec<Node> = children.cloned().map(Node::Element).collect();
        let mut block = Block::new(kind, "");
        block.bbox = bbox(element);
        let heading = find(element, &|inner| level(inner.name()).is_some());
        block.level = match kind {
            BlockType::Title | BlockType::Heading => heading.and_then(|it| level(it.name())),
            _ => None,
        };
        let table = find(element, &|inner| inner.name() == "table");
        block.text = match kind {
            BlockType::Title | BlockType::Heading => line(&own),
            BlockType::Formula => formula(&formula_text(element)),
            BlockType::Code => code(element),
            BlockType::Figure => match table {
                Some(_) => markdown(&own, self.tables),
                None => figure(element, &markdown(&without_images(element), self.tables)),
            },
            BlockType::Table if table.is_none() => markdown(&own, self.tables),
            BlockType::Table => {
                block.rows = table.and_then(table::rows);
                markdown(&own, self.tables)
            }
            _ => markdown(&own, self.tables),
        };
        block
    }
}

/// The first element that is such: this one, or one in it.
fn find<'e, 'a>(
    element: &'e Element<'a>,
    is: &dyn Fn(&Element) -> bool,
) -> Option<&'e Element<'a>> {
    if is(element) {
        return Some(element);
    }
    element.children.iter().find_map(|child| match child {
        Node::Text(_) => None,
        Node::Element(inner) => find(inner, is),
    })
}

/// Whether an element only holds blocks.
fn is_wrapper(element: &Element) -> bool {
    let holds_blocks = || element.any(&|inner: &Element| has_place(inner) && inner.name() != "img");
    let has_kind = element.tag.attribute(LABEL).is_some() || class(element).is_some();
    match element.name() {
        "html" | "body" | "main" | "article" => true,
        "div" | "section" | "form" | "center" | "span" if !has_kind => {
            holds_blocks() || (!has_place(element) && element.any(&|inner| is_block(inner)))
        }
        _ => false,
    }
}

fn is_block(element: &Element) -> bool {
    element.is_block() || has_place(element) || element.name() == "img"
}

fn has_place(element: &Element) -> bool {
    element.tag.attribute(BBOX).is_some()
}

/// The box of an element; without one, what is around those in it.
fn bbox(element: &Element) -> Option<Bbox> {
    if let Some(written) = element.tag.attribute(BBOX) {
        return numbers(&written);
    }
    let inner = element.children.iter().filter_map(|child| match child {
        Node::Text(_) => None,
        Node::Element(inner) => bbox(inner),
    });
    inner.reduce(around)
}

/// What the class of an element says that it is.
fn class(element: &Element) -> Option<BlockType> {
    let class = element.tag.attribute("class")?;
    let has_image = element.any(&|inner: &Element| inner.name() == "img");
    match labels::of(&class) {
        // The image, with a caption of it.
        Some(BlockType::Caption) if has_image => Some(BlockType::Figure),
        kind => kind,
    }
}

fn kind(element: &Element) -> BlockType {
    let label = element.tag.attribute(LABEL);
    if let Some(label) = label {
        return labels::of(&label).unwrap_or(BlockType::Other);
    }
    let by_name = match element.name() {
        name if level(name).is_some() => BlockType::Heading,
        "ul" | "ol" | "dl" | "li" => BlockType::List,
        "table" => BlockType::Table,
        "figure" | "img" => BlockType::Figure,
        "figcaption" | "caption" => BlockType::Caption,
        "pre" | "code" => BlockType::Code,
        "math" => BlockType::Formula,
        "header" | "nav" => BlockType::Header,
        "footer" => BlockType::Footer,
        _ => BlockType::Text,
    };
    class(element).unwrap_or(by_name)
}

/// A figure: the description of its image, and what is said with it.
fn figure(element: &Element, text: &str) -> String {
    let image = find(element, &|inner| inner.name() == "img");
    let alt = image.and_then(|image| image.tag.attribute("alt"));
    let alt = alt.unwrap_or_default();
    let parts = [alt.trim(), text];
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.copied().collect::<Vec<_>>().join("\n\n")
}

/// What is in an element, without its first image.
fn without_images<'a>(element: &Element<'a>) -> Vec<Node<'a>> {
    let mut copy = element.clone();
    if !remove_image(&mut copy.children) && copy.name() == "img" {
        return Vec::new();
    }
    copy.children
}

fn remove_image(nodes: &mut Vec<Node>) -> bool {
    for place in 0..nodes.len() {
        if let Node::Element(element) = &mut nodes[place] {
            if element.name() == "img" {
                nodes.remove(place);
                return true;
            }
            if remove_image(&mut element.children) {
                return true;
            }
        }
    }
    false
}

/// The LaTeX of a formula, and the description of its image, which some models write it into.
fn formula_text(element: &Element) -> String {
    let text = element.text();
    if !text.trim().is_empty() {
        return text;
    }
    let image = find(element, &|inner| inner.name() == "img");
    let alt = image.and_then(|image| image.tag.attribute("alt"));
    alt.unwrap_or_default().into_owned()
}

fn code(element: &Element) -> String {
    let text = element.text();
    let pre = find(element, &|inner| inner.name() == "pre");
    let text = if pre.is_some() {
        text.trim_end().trim_start_matches('\n')
    } else {
        text.trim()
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tests::lines_of;

    fn read(html: &str) -> Vec<String> {
        lines_of(blocks(html, None).unwrap_or_default())
    }

    #[test]
    fn qwen_document_html_becomes_blocks() {
        let page = read(
            r#"<html><body>
            <h1 data-bbox="90 40 910 80">Yearly report</h1>
            <p data-bbox="90 100 910 200">The first <b>half</b>.</p>
            <ul data-bbox="90 210 910 260"><li data-bbox="90 210 910 230">one</li><li data-bbox="90 231 910 260">two</li></ul>
            <div class="image" data-bbox="90 300 500 600"><img data-bbox="90 300 500 600"/></div>
            <div class="image caption" data-bbox="90 610 500 640"><img data-bbox="90 300 500 600"/><p>Mean height</p></div>
            <div class="formula" data-bbox="90 650 500 690"><img data-bbox="90 650 500 690"/><div>$$a^2 + b^2$$</div></div>
            <style>table1 {border: 1px}</style><table data-bbox="90 700 910 800" class="table1"><tr><td>x</td><td>y</td></tr></table>
            <div class="footer" data-bbox="90 950 500 980">Page 3</div>
            </body></html>"#,
        );
        assert_eq!(
            page,
            [
                "Heading1 [90.0, 40.0, 910.0, 80.0] Yearly report",
                "Text [90.0, 100.0, 910.0, 200.0] The first **half**.",
                "List [90.0, 210.0, 910.0, 260.0] - one\n- two",
                "Figure [90.0, 300.0, 500.0, 600.0] ",
                "Figure [90.0, 610.0, 500.0, 640.0] Mean height",
                "Formula [90.0, 650.0, 500.0, 690.0] a^2 + b^2",
                "Table [90.0, 700.0, 910.0, 800.0] <table>\n<tr><td>x</td><td>y</td></tr>\n</table>",
                "Footer [90.0, 950.0, 500.0, 980.0] Page 3",
            ]
        );
    }

    #[test]
    fn chandra_blocks_have_their_labels_types() {
        let page = read(
            r#"<div data-bbox="[62, 30, 480, 52]" data-label="Page-Header"><p>Annals</p></div>
            <div data-bbox="62 60 960 90" data-label="Section-Header"><h2>2. Methods</h2></div>
            <div data-bbox="62 100 960 300" data-label="Text">We measured <math>x_1</math>.</div>
            <div data-bbox="62 310 960 350" data-label="Equation-Block"><p><math display="block">y = x_1</math></p></div>
            <div data-bbox="62 360 960 500" data-label="Figure"><img alt="A line that rises"/></div>
            <div data-bbox="62 510 960 600" data-label="Code-Block"><pre><code>let x = 1;
  x</code></pre></div>
            <div data-bbox="wrong" data-label="Something-New"><p>Stamp</p></div>"#,
        );
        assert_eq!(
            page,
            [
                "Header [62.0, 30.0, 480.0, 52.0] Annals",
                "Heading2 [62.0, 60.0, 960.0, 90.0] 2. Methods",
                "Text [62.0, 100.0, 960.0, 300.0] We measured $x_1$.",
                "Formula [62.0, 310.0, 960.0, 350.0] y = x_1",
                "Figure [62.0, 360.0, 960.0, 500.0] A line that rises",
                "Code [62.0, 510.0, 960.0, 600.0] let x = 1;\n  x",
                "Other - Stamp",
            ]
        );
    }

    #[test]
    fn containers_of_blocks_are_no_blocks() {
        let page = read(
            r#"Before<div data-bbox="0 0 1000 1000"><div><p data-bbox="1 2 3 4">a</p>between<hr></div>
            <ol><li data-bbox="5 6 7 8">b</li><li data-bbox="5 9 7 10">c</li></ol></div>"#,
        );
        assert_eq!(
            page,
            [
                "Text - Before",
                "Text [1.0, 2.0, 3.0, 4.0] a",
                "Text - between",
                "List [5.0, 6.0, 7.0, 10.0] 1. b\n2. c",
            ]
        );
    }

    #[test]
    fn text_that_is_cut_off_is_kept_and_half_a_tag_is_not() {
        assert_eq!(
            read(r#"<p data-bbox="1 2 3 4">whole</p><p data-bbox="5 6 7 8">half a sen"#),
            [
                "Text [1.0, 2.0, 3.0, 4.0] whole",
                "Text [5.0, 6.0, 7.0, 8.0] half a sen"
            ]
        );
        assert_eq!(
            read(r#"<p data-bbox="1 2 3 4">whole</p><p data-bbox="5 6"#),
            ["Text [1.0, 2.0, 3.0, 4.0] whole"]
        );
        assert_eq!(blocks("No <b>elements</b> here", None), None);
    }
}
