//! Text with marks that say where its parts are.
//!
//! | written | by |
//! |---|---|
//! | `<\|ref\|>title<\|/ref\|><\|det\|>[[1, 2, 3, 4]]<\|/det\|>`, then the text | DeepSeek-OCR (deepseek-ai/DeepSeek-OCR, `README.md`) |
//! | `<\|det\|>title [[1, 2, 3, 4]]<\|/det\|>`, then the text | its second version |
//! | `<ref>text</ref><box>(1,2),(3,4)</box>` | Qwen-VL (QwenLM/Qwen-VL, `README.md`) |
//! | `<\|object_ref_start\|>text<\|object_ref_end\|><\|box_start\|>(1,2),(3,4)<\|box_end\|>` | Qwen2-VL (arXiv 2409.12191, section 2.2) |
//! | `![title](1,2,3,4) text` | LightOnOCR-3 (lightonai/LightOnOCR at 36755d4, `README.md`) |

use super::{boxes::numbers, labelled, labels};
use crate::{
    block::{Bbox, Block, BlockType},
    options::TablesChoice,
};

/// Around a label.
const REFS: [(&str, &str); 3] = [
    ("<|ref|>", "<|/ref|>"),
    ("<|object_ref_start|>", "<|object_ref_end|>"),
    ("<ref>", "</ref>"),
];
/// Around a box.
const BOXES: [(&str, &str); 3] = [
    ("<|det|>", "<|/det|>"),
    ("<|box_start|>", "<|box_end|>"),
    ("<box>", "</box>"),
];

/// A mark has at most so many bytes: what is begun more often than ended must not be searched to the end each time.
const MAX_MARK: usize = 16 << 10;

/// A mark: what it says of the text behind it.
struct Mark<'a> {
    label: &'a str,
    bbox: Option<Bbox>,
    /// Where it begins and ends.
    start: usize,
    end: usize,
}

/// The blocks of a text with marks, with boxes in the model's units; none where it has no mark.
pub(super) fn blocks(text: &str, tables: Option<TablesChoice>) -> Option<Vec<Block>> {
    let marks = marks(text);
    let first = marks.first()?;
    let mut blocks = Vec::new();
    let before = text[..first.start].trim();
    if !before.is_empty() {
        blocks.push(Block::new(BlockType::Other, before));
    }
    for (place, mark) in marks.iter().enumerate() {
        let end = marks.get(place + 1).map_or(text.len(), |next| next.start);
        let body = &text[mark.end..end];
        let body = if end == text.len() { whole(body) } else { body };
        let block = labelled::block(mark.label, body, mark.bbox, tables);
        let is_cut_off =
            block.bbox.is_none() && body.trim().is_empty() && labels::of(mark.label).is_some();
        blocks.extend((!is_cut_off).then_some(block));
    }
    Some(blocks)
}

/// The end of an answer without a mark that is cut off.
fn whole(text: &str) -> &str {
    let mut starts = REFS.iter().chain(&BOXES).map(|(start, _)| *start);
    let begun = starts.clone().filter_map(|start| text.rfind(start)).min();
    let line = text.rfind('\n').map_or(0, |end| end + 1);
    let last = &text[line..];
    let is_image = last == "!" || (last.starts_with("![") && !last.contains(')'));
    let image = is_image.then_some(line);
    let begins = |at: &usize| starts.any(|start| start.starts_with(&text[*at..]));
    let half = text.rfind('<').filter(begins);
    let end = [begun, image, half].into_iter().flatten().min();
    &text[..end.unwrap_or(text.len())]
}

/// Whether the marks are DeepSeek's, whose boxes go to 999.
pub(super) fn are_deepseeks(text: &str) -> bool {
    text.contains(BOXES[0].0)
}

fn marks(text: &str) -> Vec<Mark<'_>> {
    let mut marks = Vec::new();
    let mut at = 0;
    while let Some(mark) = next(text, at) {
        at = mark.end;
        marks.push(mark);
    }
    marks
}

/// The first mark behind a place.
fn next(text: &str, mut at: usize) -> Option<Mark<'_>> {
    loop {
        let start = at + text[at..].find(['<', '!'])?;
        let found = if text[start..].starts_with('!') {
            image(text, start)
        } else {
            tagged(text, start)
        };
        match found {
            Some(mark) => return Some(mark),
            None => at = start + 1,
        }
    }
}

/// `<ref>` with what follows it, or a box alone.
fn tagged(text: &str, start: usize) -> Option<Mark<'_>> {
    let rest = &text[start..];
    let place = |rest: &str| text.len() - rest.len();
    if let Some((label, after)) = between(rest, &REFS) {
        let boxed = between(after.trim_start(), &BOXES);
        let (bbox, after) = boxed.map_or((None, after), |(inner, after)| (numbers(inner), after));
        return Some(Mark {
            label,
            bbox,
            start,
            end: place(after),
        });
    }
    let (inner, after) = between(rest, &BOXES)?;
    let numbers_at = inner.find(['[', '(']).unwrap_or(0);
    let (label, inner) = inner.split_at(numbers_at);
    Some(Mark {
        label: if label.is_empty() { "text" } else { label },
        bbox: numbers(inner),
        start,
        end: place(after),
    })
}

/// What is between two marks, of which the text begins with the first one.
fn between<'a>(text: &'a str, pairs: &[(&str, &str)]) -> Option<(&'a str, &'a str)> {
    pairs.iter().find_map(|(before, after)| {
        let inner = text.strip_prefix(before)?;
        let end = start_of(inner).find(after)?;
        Some((&inner[..end], &inner[end + after.len()..]))
    })
}

/// As much of a text as a mark can have.
fn start_of(text: &str) -> &str {
    let mut ends = 0..=text.len().min(MAX_MARK);
    let end = ends.rfind(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// `![label](1,2,3,4)` at the beginning of a line.
fn image(text: &str, start: usize) -> Option<Mark<'_>> {
    let inner = text[start..].strip_prefix("![")?;
    let before = text[..start].trim_end_matches([' ', '\t']);
    if !before.is_empty() && !before.ends_with('\n') {
        return None;
    }
    let (label, _) = start_of(inner).split_once("](")?;
    let after = &inner[label.len() + 2..];
    let (boxed, _) = start_of(after).split_once(')')?;
    let (inner, after) = (boxed, &after[boxed.len() + 1..]);
    let bbox = numbers(inner)?;
    (!label.contains(['\n', ']'])).then(|| Mark {
        label,
        bbox: Some(bbox),
        start,
        end: text.len() - after.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tests::lines_of;

    fn read(text: &str) -> Vec<String> {
        lines_of(blocks(text, None).unwrap_or_default())
    }

    #[test]
    fn marks_of_each_dialect_become_blocks() {
        let page = "<|ref|>title<|/ref|><|det|>[[10, 20, 900, 60]]<|/det|>\n# Winter sale\n\n\
                    <|ref|>sub_title<|/ref|><|det|>[[10, 70, 900, 90]]<|/det|>\n## Shoes\n\n\
                    <|ref|>table<|/ref|><|det|>[[10, 100, 900, 300]]<|/det|>\n<table><tr><td>Boot</td></tr></table>\n\n\
                    <|ref|>image<|/ref|><|det|>[[10, 310, 400, 500], [410, 310, 900, 510]]<|/det|>\n";
        assert_eq!(
            read(page),
            [
                "Title1 [10.0, 20.0, 900.0, 60.0] Winter sale",
                "Heading2 [10.0, 70.0, 900.0, 90.0] Shoes",
                "Table [10.0, 100.0, 900.0, 300.0] <table>\n<tr><td>Boot</td></tr>\n</table>",
                "Figure [10.0, 310.0, 900.0, 510.0] ",
            ]
        );
        assert_eq!(
            read("<|det|>text [[1, 2, 3, 4]]<|/det|>A line"),
            ["Text [1.0, 2.0, 3.0, 4.0] A line"]
        );
        assert_eq!(
            read(
                "<ref>Winter sale</ref><box>(10,20),(900,60)</box><|object_ref_start|>Shoes<|object_ref_end|>\
                 <|box_start|>(10,70),(900,90)<|box_end|>"
            ),
            [
                "Text [10.0, 20.0, 900.0, 60.0] Winter sale",
                "Text [10.0, 70.0, 900.0, 90.0] Shoes"
            ]
        );
        assert_eq!(
            read(
                "![title](113,608,263,623) ## 2.2 Shoes\n![text](112,640,882,698) See ![x](y.png) here\n\n\
                 ![list](1,2,3,4) - one\n- two\n![page_number](491,935,505,950) 3"
            ),
            [
                "Title2 [113.0, 608.0, 263.0, 623.0] 2.2 Shoes",
                "Text [112.0, 640.0, 882.0, 698.0] See ![x](y.png) here",
                "List [1.0, 2.0, 3.0, 4.0] - one\n- two",
                "PageNumber [491.0, 935.0, 505.0, 950.0] 3",
            ]
        );
    }

    #[test]
    fn marks_that_are_cut_off_or_wrong_lose_no_text() {
        assert_eq!(
            read(
                "Lead\n<|ref|>text<|/ref|><|det|>[[1, 2]]<|/det|>a <b\n<|ref|>text<|/ref|><|det|>[[1"
            ),
            ["Other - Lead", "Text - a <b"]
        );
        assert_eq!(blocks("![a photo](image.png) and <|ref|", None), None);
    }

    #[test]
    fn open_marks_are_not_searched_for_their_ends_without_end() {
        let begin = std::time::Instant::now();
        for mark in ["<ref>", "<|det|>", "!", "![", "\n!["] {
            assert_eq!(blocks(&mark.repeat(300_000), None), None, "{mark}");
        }
        assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
    }
}
