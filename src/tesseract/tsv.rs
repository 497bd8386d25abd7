//! Tesseract's table of words (`tessedit_create_tsv`) as blocks.

use crate::block::{Bbox, Block, BlockType, around, within_page};

/// A row of a word, by its `level`.
const WORD: u32 = 5;

/// The paragraphs of a page of so many pixels.
pub(super) fn blocks(table: &str, (width, height): (u32, u32)) -> Vec<Block> {
    let (width, height) = (f64::from(width), f64::from(height));
    let mut blocks: Vec<Block> = Vec::new();
    let mut last = None;
    for word in table.lines().filter_map(Word::parse) {
        let [x0, y0, x1, y1] = word.bbox;
        let bbox = within_page([x0 / width, y0 / height, x1 / width, y1 / height]);
        let place = Some((word.paragraph, word.line));
        let is_next = last.is_some_and(|(paragraph, _)| paragraph == word.paragraph);
        match blocks.last_mut().filter(|_| is_next) {
            Some(block) => {
                block.text.push(if place == last { ' ' } else { '\n' });
                block.text.push_str(word.text);
                let both = block.bbox.zip(bbox).map(|(one, other)| around(one, other));
                block.bbox = both.or(block.bbox).or(bbox);
            }
            None => blocks.push(Block {
                bbox,
                ..Block::new(BlockType::Text, word.text)
            }),
        }
        last = place;
    }
    blocks
}

struct Word<'a> {
    /// Page, block and paragraph.
    paragraph: [u32; 3],
    line: u32,
    /// In pixels.
    bbox: Bbox,
    text: &'a str,
}

impl<'a> Word<'a> {
    /// The word of a row: `level page_num block_num par_num line_num word_num left top width height conf text`.
    fn parse(row: &'a str) -> Option<Self> {
        let mut cells = row.splitn(12, '\t');
        let mut numbers = [0_u32; 10];
        for number in &mut numbers {
            *number = cells.next()?.parse().ok()?;
        }
        let [
            level,
            page,
            block,
            paragraph,
            line,
            _,
            left,
            top,
            width,
            height,
        ] = numbers;
        let text = cells.nth(1)?.trim();
        let [x, y, width, height] = [left, top, width, height].map(f64::from);
        (level == WORD && !text.is_empty()).then_some(Self {
            paragraph: [page, block, paragraph],
            line,
            bbox: [x, y, x + width, y + height],
            text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_paragraphs_with_boxes() {
        let table = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n\
                     1\t1\t0\t0\t0\t0\t0\t0\t200\t100\t-1\t\n\
                     5\t1\t1\t1\t1\t1\t20\t10\t40\t10\t96.5\tOpen\n\
                     5\t1\t1\t1\t1\t2\t70\t10\t50\t12\t96.5\tat\n\
                     5\t1\t1\t1\t2\t1\t10\t30\t40\t10\t96.5\t9:00\n\
                     5\t1\t1\t2\t1\t1\t10\t60\t40\t10\t30\t \n\
                     5\t1\t2\t1\t1\t1\t10\t80\t40\t10\t30\tClosed\n5\tbroken";
        let blocks = blocks(table, (200, 100));
        let read: Vec<_> = blocks
            .iter()
            .map(|it| (it.text.as_str(), it.bbox))
            .collect();
        assert_eq!(
            read,
            [
                ("Open at\n9:00", Some([0.05, 0.1, 0.6, 0.4])),
                ("Closed", Some([0.05, 0.8, 0.25, 0.9])),
            ]
        );
    }
}
