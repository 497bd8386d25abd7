//! Blocks as one text.

use super::{inline::alternative, to_markdown::fenced};
use crate::block::{Block, BlockType};

/// The Markdown of some blocks. `link` gives the file of a figure, by its place among the blocks.
#[must_use]
pub fn markdown(blocks: &[Block], link: &dyn Fn(usize) -> Option<String>) -> String {
    let parts = blocks
        .iter()
        .enumerate()
        .map(|(place, block)| part(block, || link(place)));
    joined(parts)
}

/// The text of some blocks, without marks of their types.
pub(super) fn plain(blocks: &[Block]) -> String {
    joined(blocks.iter().map(|block| block.text.clone()))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

fn part(block: &Block, link: impl Fn() -> Option<String>) -> String {
    let text = &block.text;
    match block.kind {
        BlockType::Title | BlockType::Heading if !text.is_empty() => {
            let default = if block.kind == BlockType::Title { 1 } else { 2 };
            let level = block.level.unwrap_or(default).clamp(1, 6);
            let line = text.replace('\n', " ");
            format!("{} {line}", "#".repeat(level.into()))
        }
        BlockType::Formula if !text.is_empty() => format!("$$\n{text}\n$$"),
        BlockType::Code if !text.is_empty() => fenced(text),
        BlockType::Figure => figure(text, link()),
        _ => text.clone(),
    }
}

/// What is known of a figure describes its file, if it is one paragraph.
fn figure(text: &str, file: Option<String>) -> String {
    let is_description = !text.contains("\n\n") && !text.starts_with(['<', '|']);
    let (description, below) = if is_description {
        (text, "")
    } else {
        ("", text)
    };
    let image = match file {
        Some(file) => format!("![{}]({file})", alternative(description)),
        None if description.is_empty() => String::new(),
        None => format!("![{}]()", alternative(description)),
    };
    joined([image, below.to_owned()].into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_markdown() {
        let level = |kind, level, text: &str| Block {
            level,
            ..Block::new(kind, text)
        };
        let blocks = [
            level(BlockType::Title, None, "A title"),
            level(BlockType::Heading, Some(3), "A heading"),
            level(BlockType::Heading, None, "Another"),
            Block::new(BlockType::Text, "Some *text*."),
            Block::new(BlockType::Formula, "x^2"),
            Block::new(BlockType::Code, "a\n```\nb"),
            Block::new(BlockType::Figure, "A [red]\ndot"),
            Block::new(BlockType::Figure, ""),
            Block::new(BlockType::Figure, "First\n\nSecond"),
            Block::new(BlockType::Other, ""),
        ];
        assert_eq!(
            markdown(&blocks, &|_| None),
            "# A title\n\n### A heading\n\n## Another\n\nSome *text*.\n\n$$\nx^2\n$$\n\n````\na\n```\nb\n````\n\n\
             ![A \\[red\\] dot]()\n\nFirst\n\nSecond"
        );
        let linked = markdown(&blocks[6..9], &|place| Some(format!("{place}.webp")));
        assert_eq!(
            linked,
            "![A \\[red\\] dot](0.webp)\n\n![](1.webp)\n\n![](2.webp)\n\nFirst\n\nSecond"
        );
        assert_eq!(plain(&blocks[..2]), "A title\n\nA heading");
    }
}
