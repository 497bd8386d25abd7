//! One block of a dialect that gives each a label, a box and some text.

use super::{inline::formula, labels, layout, markdown, to_markdown::fenced};
use crate::{
    block::{Bbox, Block, BlockType},
    options::TablesChoice,
};

/// The block that a model calls `label`; its text is Markdown, with tables and other elements as HTML.
pub(super) fn block(
    label: &str,
    text: &str,
    bbox: Option<Bbox>,
    tables: Option<TablesChoice>,
) -> Block {
    let text = text.trim();
    let known = labels::of(label);
    // Who is asked where something is gets what it is for a label.
    let says_itself = known.is_none() && text.is_empty();
    let text = if says_itself { label.trim() } else { text };
    let kind = match known {
        Some(kind) => kind,
        None if says_itself => BlockType::Text,
        None => BlockType::Other,
    };
    let mut block = match kind {
        BlockType::Formula => Block::new(kind, formula(text)),
        BlockType::Code => Block::new(kind, code(text)),
        _ => of_markdown(kind, text, tables),
    };
    block.bbox = bbox;
    block
}

fn code(text: &str) -> String {
    match &mut markdown::blocks(text, None)[..] {
        [only] if only.kind == BlockType::Code => std::mem::take(&mut only.text),
        _ => text.to_owned(),
    }
}

fn of_markdown(kind: BlockType, text: &str, tables: Option<TablesChoice>) -> Block {
    let mut parts = match layout::blocks(text, tables) {
        Some(parts) if text.starts_with('<') => parts,
        _ => markdown::blocks(text, tables),
    };
    let is_heading = matches!(kind, BlockType::Title | BlockType::Heading);
    match &mut parts[..] {
        [] => Block::new(kind, ""),
        // What the text is says more than that it is text.
        [_] if kind == BlockType::Text => parts.remove(0),
        [only] if is_heading || kind == only.kind => Block {
            kind,
            ..parts.remove(0)
        },
        parts => {
            let is_table = kind == BlockType::Table;
            let mut tables = parts
                .iter()
                .rev()
                .filter(|part| is_table && part.rows.is_some());
            let rows = tables.next().and_then(|part| part.rows.clone());
            Block {
                rows,
                ..Block::new(kind, joined(parts))
            }
        }
    }
}

/// Blocks as the text of one.
fn joined(parts: &[Block]) -> String {
    let parts = parts.iter().map(|part| match part.kind {
        BlockType::Formula => format!("$$\n{}\n$$", part.text),
        BlockType::Code => fenced(&part.text),
        _ => part.text.clone(),
    });
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}
