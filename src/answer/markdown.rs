//! Markdown as blocks, without places: what most models write, with tables as HTML or as Markdown, and formulas in LaTeX.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag as Mark, TagEnd};

use super::{
    boxes::numbers,
    html::{self, Node},
    inline::formula,
    layout,
    table::{self, html_of_markdown},
    tags::{Tag, end_of_element},
};
use crate::{
    block::{Bbox, Block, BlockType},
    options::TablesChoice,
};

/// The blocks of a text. olmOCR says of a figure where it is, in pixels.
pub(super) fn blocks(text: &str, tables: Option<TablesChoice>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Markdown(text) => read(text, tables, &mut blocks),
            Piece::Html(html) => match layout::blocks(html, tables) {
                Some(read) => blocks.extend(read),
                None => read(html, tables, &mut blocks),
            },
        }
    }
    blocks
}

/// A part of a text.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<'a> {
    Markdown(&'a str),
    /// A table, or another element with a meaning of its own, from its start at the beginning of a line to its end.
    Html(&'a str),
}

/// Elements that are blocks in Markdown: tables, and what Nanonets-OCR is asked to mark (NanoNets/docext,
/// `docext/core/pdf2md/pdf2md.py`).
const ELEMENTS: [&str; 3] = ["table", "header", "footer"];

/// Cuts a text before and behind its elements.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    let mut is_code = false;
    while at < text.len() {
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
        let line = text[at..end].trim_start();
        if line.starts_with("```") || line.starts_with("~~~") {
            is_code = !is_code;
        }
        let begin = end - line.len();
        let element = Tag::parse(&text[begin..]).filter(|_| !is_code && !line.is_empty());
        let element = element.filter(|(tag, _)| !tag.closes && ELEMENTS.contains(&&*tag.name));
        let Some((tag, _)) = element else {
            at = end;
            continue;
        };
        let end = end_of_element(&text[begin..], &tag.name) + begin;
        pieces.push(Piece::Markdown(&text[start..at]));
        pieces.push(Piece::Html(&text[begin..end]));
        (start, at) = (end, end);
    }
    pieces.push(Piece::Markdown(&text[start..]));
    pieces
}

/// The blocks of Markdown without such elements.
fn read(text: &str, tables: Option<TablesChoice>, blocks: &mut Vec<Block>) {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_MATH;
    let (mut depth, mut end) = (0_usize, 0);
    let mut begun: Option<Mark> = None;
    let mut shape = Shape::default();
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        if depth == 0 {
            // What the parser keeps for itself, like the targets of links.
            blocks.extend(unread(text.get(end..range.start).unwrap_or_default()));
            end = end.max(range.end);
        }
        match event {
            Event::Start(mark) => {
                if depth == 0 {
                    shape = Shape::default();
                    begun = Some(mark);
                } else if let Mark::Image { dest_url, .. } = mark {
                    shape.images.push(dest_url.to_string());
                    shape.in_image = true;
                }
                depth += 1;
            }
            Event::End(mark) => {
                shape.in_image &= mark != TagEnd::Image;
                depth = depth.saturating_sub(1);
                if depth == 0
                    && let Some(mark) = begun.take()
                {
                    let source = text.get(range).unwrap_or_default();
                    blocks.extend(block(&mark, source, &shape, tables));
                }
            }
            Event::DisplayMath(_) => shape.displays += 1,
            Event::Text(text) => {
                shape.code += &text;
                shape.has_text |= !shape.in_image && !text.trim().is_empty();
            }
            Event::Code(_) | Event::InlineMath(_) => shape.has_text = true,
            _ => {}
        }
    }
    blocks.extend(unread(text.get(end..).unwrap_or_default()));
}

fn unread(text: &str) -> Option<Block> {
    let says_something = text.contains(char::is_alphanumeric);
    says_something.then(|| Block::new(BlockType::Text, text.trim()))
}

/// What is in a paragraph.
#[derive(Default)]
struct Shape {
    /// The targets of its images.
    images: Vec<String>,
    /// Whether it has text outside of them.
    has_text: bool,
    in_image: bool,
    /// Formulas between two dollars.
    displays: usize,
    /// Its text, which is code in a block of code.
    code: String,
}

fn block(mark: &Mark, source: &str, shape: &Shape, tables: Option<TablesChoice>) -> Option<Block> {
    let text = source.trim_end().trim_start_matches('\n');
    let block = match mark {
        Mark::Heading { level, .. } => Block {
            level: Some(*level as u8),
            ..Block::new(BlockType::Heading, heading(text, *level))
        },
        Mark::CodeBlock(_) => Block::new(BlockType::Code, shape.code.trim_end()),
        Mark::List(_) => Block::new(BlockType::List, text),
        Mark::Table(_) => Block {
            rows: table::rows_of_markdown(text),
            ..Block::new(BlockType::Table, markdown_table(text, tables))
        },
        Mark::HtmlBlock => return html_block(text, tables),
        Mark::Paragraph if marked(text).is_some() => return marked(text),
        Mark::Paragraph if shape.displays == 1 && !shape.has_text && shape.images.is_empty() => {
            Block::new(BlockType::Formula, formula(text))
        }
        Mark::Paragraph if is_bracketed(text) => Block::new(BlockType::Formula, formula(text)),
        Mark::Paragraph => match &shape.images[..] {
            [target] if !shape.has_text => Block {
                bbox: box_in_name(target),
                ..Block::new(BlockType::Figure, alternative(text))
            },
            _ => Block::new(BlockType::Text, text),
        },
        _ => Block::new(BlockType::Text, text),
    };
    Some(block)
}

/// A heading's text without its marks.
fn heading(text: &str, level: HeadingLevel) -> String {
    let text = match text.trim_start().strip_prefix('#') {
        Some(_) => {
            let marks = "#".repeat(level as usize);
            let text = text
                .trim_start()
                .strip_prefix(&*marks)
                .unwrap_or(text)
                .trim();
            let bare = text.trim_end_matches('#');
            if bare.is_empty() || bare.ends_with(' ') {
                bare
            } else {
                text
            }
        }
        // Underlined.
        None => text.rsplit_once('\n').map_or(text, |(text, _)| text),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A table of Markdown, as it is wanted.
pub(super) fn markdown_table(text: &str, tables: Option<TablesChoice>) -> String {
    match tables {
        Some(TablesChoice::Html) => html_of_markdown(text),
        _ => text.to_owned(),
    }
}

/// Markdown with its tables as they are wanted, where nothing of them is lost.
pub(super) fn with_tables(text: &str, wanted: TablesChoice) -> String {
    let pieces = pieces(text).into_iter().map(|piece| match piece {
        Piece::Html(html) if wanted == TablesChoice::Markdown => html_table(html),
        Piece::Html(html) => html.to_owned(),
        Piece::Markdown(text) if wanted == TablesChoice::Html => with_html_tables(text),
        Piece::Markdown(text) => text.to_owned(),
    });
    pieces.collect()
}

/// A table of HTML, as one of Markdown if that says all of it.
fn html_table(html: &str) -> String {
    match &html::parse(html)[..] {
        [Node::Element(element)] if element.name() == "table" => {
            let wanted = table::write(element, Some(TablesChoice::Markdown));
            let stays = wanted.contains("<table>");
            if stays { html.to_owned() } else { wanted }
        }
        _ => html.to_owned(),
    }
}

fn with_html_tables(text: &str) -> String {
    let mut changed = String::new();
    let mut end = 0;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        if let Event::Start(Mark::Table(_)) = event {
            let table = &text[range.clone()];
            let after = &table[table.trim_end().len()..];
            changed += &text[end..range.start];
            changed += &html_of_markdown(table);
            changed += after;
            end = range.end;
        }
    }
    changed + &text[end..]
}

/// HTML on lines of its own that is no table. Comments say nothing.
fn html_block(text: &str, tables: Option<TablesChoice>) -> Option<Block> {
    if let Some(block) = marked(text) {
        return Some(block);
    }
    let nodes = html::parse(text);
    let is_figure = matches!(&nodes[..], [Node::Element(element)] if element.name() == "img");
    let text = super::to_markdown::blocks(&nodes, tables);
    let kind = if is_figure {
        BlockType::Figure
    } else {
        BlockType::Text
    };
    let text = if is_figure { alternative(&text) } else { text };
    (!text.is_empty() || is_figure).then(|| Block::new(kind, text))
}

/// What Nanonets-OCR is asked to mark: page numbers, watermarks and descriptions of images.
fn marked(text: &str) -> Option<Block> {
    let marks = [
        ("page_number", BlockType::PageNumber),
        ("watermark", BlockType::Other),
        ("img", BlockType::Figure),
    ];
    marks.into_iter().find_map(|(name, kind)| {
        let inner = text.strip_prefix(&format!("<{name}>"))?;
        let inner = inner.strip_suffix(&format!("</{name}>"))?;
        Some(Block::new(kind, inner.trim()))
    })
}

/// Whether a paragraph is a formula between `\[` and `\]`.
fn is_bracketed(text: &str) -> bool {
    let inner = text
        .strip_prefix("\\[")
        .and_then(|text| text.strip_suffix("\\]"));
    inner.is_some_and(|inner| !inner.contains("\\["))
}

/// The description of the image that a paragraph is.
fn alternative(text: &str) -> String {
    let inner = text.trim().strip_prefix("![");
    let end = inner.and_then(|inner| inner.rfind("]("));
    let alt = inner.zip(end).map_or(text, |(inner, end)| &inner[..end]);
    alt.replace("\\[", "[").replace("\\]", "]")
}

/// The box that olmOCR's names of images have, `page_X_Y_WIDTH_HEIGHT.png` (allenai/olmocr, `olmocr/prompts/prompts.py`).
fn box_in_name(name: &str) -> Option<Bbox> {
    let inner = name.strip_prefix("page_")?.strip_suffix(".png")?;
    let [x, y, width, height] = numbers(&inner.replace('_', " "))?;
    Some([x, y, x + width, y + height])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str, tables: Option<TablesChoice>) -> Vec<String> {
        let blocks = blocks(text, tables);
        let lines = blocks.into_iter().map(|block| {
            let level = block.level.map_or(String::new(), |level| level.to_string());
            format!("{:?}{level} {}", block.kind, block.text)
        });
        lines.collect()
    }

    #[test]
    fn markdown_becomes_blocks() {
        let page = "# Title #\n\nA *paragraph*\nof two lines with $x$.\n\nSection\n---\n\n- one\n  - two\n\n1. three\n\n\
                    | a | b |\n|---|---|\n| 1 | 2 |\n\n$$\n\\int x\n$$\n\n\\[ y \\]\n\n```rust\nfn f() {}\n```\n\n---\n\n\
                    ![A red dot](image.png)\n\n> quoted\n\n<table>\n\n<tr><td>x</td></tr>\n</table>\nafter\n<!-- none -->\n\n\
                    <page_number>3</page_number>\n\n<img>A photo</img>\n\n\
                    <header>Annals</header>";
        assert_eq!(
            read_all(page, None),
            [
                "Heading1 Title",
                "Text A *paragraph*\nof two lines with $x$.",
                "Heading2 Section",
                "List - one\n  - two",
                "List 1. three",
                "Table | a | b |\n|---|---|\n| 1 | 2 |",
                "Formula \\int x",
                "Formula y",
                "Code fn f() {}",
                "Figure A red dot",
                "Text > quoted",
                "Table <table>\n<tr><td>x</td></tr>\n</table>",
                "Text after",
                "PageNumber 3",
                "Figure A photo",
                "Header Annals",
            ]
        );
    }

    #[test]
    fn tables_are_written_as_wanted() {
        let page = "| a | b |\n|---|---|\n| 1 | 2 |\n\n<table><tr><td>x</td></tr></table>";
        let html = read_all(page, Some(TablesChoice::Html));
        assert!(html[0].starts_with("Table <table><thead>"), "{html:?}");
        let markdown = read_all(page, Some(TablesChoice::Markdown));
        assert_eq!(markdown[1], "Table | x |\n|---|");
    }

    #[test]
    fn olmocr_figures_have_their_boxes() {
        let blocks = blocks(
            "![A map](page_10_20_300_400.png)\n\n![A map](map.png)",
            None,
        );
        assert_eq!(blocks[0].bbox, Some([10.0, 20.0, 310.0, 420.0]));
        assert_eq!((blocks[1].bbox, blocks[1].text.as_str()), (None, "A map"));
    }
}
