//! Turns an engine's text into the content of a record, and into blocks.
//!
//! Engines hand over a page's text unchanged. All processing that does not need the page belongs here: an answer is
//! cleaned (`clean`), its front matter taken off, and parsed, if it is written in a dialect that says where things are, or if
//! blocks are wanted. Then the content is composed in its format, and its faults (`faults`) are mended.
//!
//! | dialect | parsed by |
//! |---|---|
//! | HTML with `data-bbox`: Qwen, Chandra | `layout`, from the tree of `html` |
//! | a list of objects in JSON: Qwen, dots.ocr | `json` |
//! | marks before each part: DeepSeek-OCR, Qwen-VL, Qwen2-VL, LightOnOCR-3 | `marks` |
//! | Markdown with tables as HTML: olmOCR and most others | `markdown` |
//!
//! No letter of the page is lost on the way, whatever a model writes.

mod boxes;
mod clean;
mod compose;
mod faults;
mod front_matter;
mod html;
mod inline;
mod join;
mod json;
mod labelled;
mod labels;
mod layout;
mod markdown;
mod marks;
mod table;
pub mod tags;
mod to_markdown;

use serde_json::{Value, json};

pub use self::{
    boxes::Units,
    compose::markdown,
    front_matter::Turn,
    join::{Seam, join},
};
use crate::{
    block::{Block, BlockType},
    options::{HeadersChoice, OutputFormat, Style, TablesChoice},
};

/// How a model writes its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// The page's content and nothing else.
    #[default]
    Plain,
    /// A front matter that says what kind of page it is and how it lies, then its content in Markdown, as olmOCR writes it.
    FrontMatter,
    /// Blocks with boxes in these units, in any dialect.
    Layout(Units),
    /// As it likes: blocks with boxes in these units, else Markdown.
    Free(Units),
}

/// What is wanted of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The format of the content.
    pub format: OutputFormat,
    /// Whether there have to be blocks.
    pub blocks: bool,
    /// What the options say.
    pub style: Style,
}

impl Wanted {
    /// By the options' names, what changes a record. Outputs of versions without some of these options have their defaults.
    pub fn settings(self) -> impl Iterator<Item = (String, Value)> {
        let Style {
            raw,
            tables,
            headers,
        } = self.style;
        let format = if self.blocks {
            "json".into()
        } else {
            json!(self.format)
        };
        let settings = [
            Some(("format", format)),
            raw.then(|| ("raw", true.into())),
            tables.map(|tables| ("tables", json!(tables))),
            (headers != HeadersChoice::default()).then(|| ("headers", json!(headers))),
        ];
        let settings = settings.into_iter().flatten();
        settings.map(|(name, value)| (name.to_owned(), value))
    }
}

/// The content of a page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The page's content in the output format.
    pub content: String,
    /// Its blocks, with boxes as fractions of the page that the model saw; none where they are neither wanted nor given.
    pub blocks: Option<Vec<Block>>,
    /// Whether blocks were wanted, and the answer has none, so that all of it is one.
    pub unparsed: bool,
    /// How the page has to be turned to be read, if it lies on its side or on its head.
    pub turn: Option<Turn>,
}

/// Reads what a model wrote, which writes so and saw so many pixels.
#[must_use]
pub fn read(text: String, reading: Reading, wanted: Wanted, seen: Option<(u32, u32)>) -> Answer {
    let style = wanted.style;
    let raw = style.raw.then(|| text.clone());
    let text = clean::apply(&clean::ANSWER, text, wanted.format);
    let (text, turn) = match reading {
        Reading::FrontMatter => front_matter::read(text),
        _ => (text, None),
    };
    let mut blocks = parse(&text, reading, wanted, seen);
    let unparsed = blocks.is_none() && wanted.blocks && !text.trim().is_empty();
    if unparsed {
        blocks = Some(vec![Block::new(BlockType::Other, text.trim())]);
    }
    let mut blocks = blocks.or_else(|| wanted.blocks.then(Vec::new));
    let drops = |kind| style.headers == HeadersChoice::Drop && is_header(kind);
    if let Some(blocks) = &mut blocks {
        blocks.retain(|block| !drops(block.kind));
    }
    let content = match (&blocks, wanted.format) {
        _ if raw.is_some() => raw.unwrap_or_default(),
        (Some(blocks), OutputFormat::Markdown) => markdown(blocks, &|_| None),
        (Some(blocks), OutputFormat::Text) => compose::plain(blocks),
        (Some(_), OutputFormat::Html) if style.headers == HeadersChoice::Drop => {
            content(layout::without(&text, &drops), wanted)
        }
        _ => content(text, wanted),
    };
    Answer {
        content,
        blocks,
        unparsed,
        turn,
    }
}

fn is_header(kind: BlockType) -> bool {
    matches!(
        kind,
        BlockType::Header | BlockType::Footer | BlockType::PageNumber
    )
}

/// An answer that is the page's content.
fn content(text: String, wanted: Wanted) -> String {
    let text = clean::apply(&faults::CONTENT, text, wanted.format);
    match wanted.style.tables {
        Some(tables) if wanted.format == OutputFormat::Markdown => {
            markdown::with_tables(&text, tables)
        }
        _ => text,
    }
}

/// The blocks of an answer, if they are wanted or it is written in blocks; none if it is in no form that is.
fn parse(
    text: &str,
    reading: Reading,
    wanted: Wanted,
    seen: Option<(u32, u32)>,
) -> Option<Vec<Block>> {
    let tables = wanted.style.tables;
    let (mut blocks, units) = match reading {
        Reading::Layout(units) => with_boxes(text, units, tables)?,
        Reading::Plain | Reading::FrontMatter | Reading::Free(_) if !wanted.blocks => return None,
        Reading::Free(units) => {
            let found = with_boxes(text, units, tables);
            found.unwrap_or_else(|| (markdown::blocks(text, tables), units))
        }
        Reading::Plain => (markdown::blocks(text, tables), Units::default()),
        // Of its figures.
        Reading::FrontMatter => (markdown::blocks(text, tables), Units::Pixels),
    };
    boxes::scale(&mut blocks, units, seen);
    for block in &mut blocks {
        if block.kind != BlockType::Code {
            let text = std::mem::take(&mut block.text);
            block.text = clean::apply(&faults::CONTENT, text, OutputFormat::Markdown);
        }
    }
    Some(blocks)
}

/// The blocks of an answer in one of the dialects that have boxes, and their units.
fn with_boxes(
    text: &str,
    units: Units,
    tables: Option<TablesChoice>,
) -> Option<(Vec<Block>, Units)> {
    if text.contains("\"bbox")
        && let Some(blocks) = json::blocks(text, tables)
    {
        return Some((blocks, units));
    }
    let is_html = text.contains("data-bbox") || layout::begins_a_page(text);
    if let Some(blocks) = marks::blocks(text, tables) {
        let is_deepseek = marks::are_deepseeks(text);
        return Some((blocks, if is_deepseek { Units::Of999 } else { units }));
    }
    let blocks = layout::blocks(text, tables).filter(|_| is_html);
    blocks.map(|blocks| (blocks, units))
}

#[cfg(test)]
mod tests;
