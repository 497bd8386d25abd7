//! How well the blocks of a page are read, by their type.

use std::collections::BTreeMap;

use omnidocs::{
    answer::{self, Reading, Wanted},
    block::Block,
    options::{OutputFormat, Style},
    record::spelled,
};

use crate::scores::{Share, characters};

/// An answer's block with more wrong characters than this part is another one.
const MAX_WRONG: f64 = 0.5;

/// What became of the blocks of one type.
#[derive(Debug, Default)]
pub struct Found {
    /// Whether each is in the answer as a block of its type.
    pub typed: Vec<Share>,
    /// The wrong characters of each; all of those that are not there.
    pub wrong: Vec<Share>,
}

/// Adds what became of the blocks of a page to those of the same types.
pub fn add(by_type: &mut BTreeMap<String, Found>, truth: &str, answer: &str) {
    let mut rest = blocks(answer);
    for block in blocks(truth) {
        let found = by_type.entry(spelled(&block.kind)).or_default();
        let scored = rest
            .iter()
            .map(|other| characters(&block.text, &other.text));
        let nearest = scored
            .enumerate()
            .min_by(|(_, one), (_, other)| one.part.total_cmp(&other.part));
        let near = nearest.filter(|(_, share)| share.part <= MAX_WRONG * share.whole);
        let (is_typed, wrong) = if let Some((place, wrong)) = near {
            (rest.swap_remove(place).kind == block.kind, wrong)
        } else {
            let all = characters(&block.text, "").whole;
            let wrong = Share {
                part: all,
                whole: all,
            };
            (false, wrong)
        };
        found.typed.push(Share {
            part: f64::from(u8::from(is_typed)),
            whole: 1.0,
        });
        found.wrong.push(wrong);
    }
}

/// The blocks of a page in Markdown.
fn blocks(markdown: &str) -> Vec<Block> {
    let wanted = Wanted {
        format: OutputFormat::Markdown,
        blocks: true,
        style: Style::default(),
    };
    let read = answer::read(markdown.to_owned(), Reading::Plain, wanted, None);
    read.blocks.unwrap_or_default()
}
