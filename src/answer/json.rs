//! Pages written as a list of objects in JSON: `[{"bbox_2d": […], "label": …, "text_content": …}]` of Qwen's models
//! (`QwenLM/Qwen3-VL`, `cookbooks/document_parsing.ipynb` and `2d_grounding.ipynb`), `[{"bbox": […], "category": …, "text": …}]`
//! of dots.ocr (`rednote-hilab/dots.ocr`, `dots_ocr/utils/prompts.py`).

use serde_json::{Deserializer, Map, Value};

use super::{boxes::numbers, labelled};
use crate::{
    block::{Bbox, Block, BlockType},
    options::TablesChoice,
};

const BOXES: [&str; 4] = ["bbox_2d", "bbox", "box_2d", "box"];
const LABELS: [&str; 4] = ["label", "category", "type", "class"];
const TEXTS: [&str; 7] = [
    "text_content",
    "text",
    "content",
    "html",
    "markdown",
    "latex",
    "value",
];

/// The blocks of a page in JSON, with boxes in the model's units; none where there is no whole one. What is cut off ends
/// behind the last whole block.
pub(super) fn blocks(text: &str, tables: Option<TablesChoice>) -> Option<Vec<Block>> {
    let start = text.find('{')?;
    let json = mended(&text[start..]);
    let items = items(&json, true);
    let mut found = Vec::new();
    for item in &items.objects {
        found.extend(block(item, tables));
    }
    if found.is_empty() {
        return None;
    }
    let is_between = |c: char| c.is_whitespace() || "[]{},".contains(c);
    let mut blocks = Vec::new();
    let before = text[..start].trim_end_matches(is_between).trim();
    if !before.is_empty() {
        blocks.push(Block::new(BlockType::Other, before));
    }
    blocks.append(&mut found);
    let after = items.rest.trim_matches(is_between);
    if !items.is_cut_off && !after.is_empty() {
        blocks.push(Block::new(BlockType::Other, after));
    }
    Some(blocks)
}

#[derive(Default)]
struct Items<'a> {
    objects: Vec<Map<String, Value>>,
    /// What follows the last of them.
    rest: &'a str,
    /// Whether another one has begun there.
    is_cut_off: bool,
}

/// JSON with the strings that models write: LaTeX and line breaks are not always escaped.
fn mended(json: &str) -> String {
    let mut mended = String::with_capacity(json.len());
    let mut in_string = false;
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => in_string = !in_string,
            '\\' if in_string => match characters.peek() {
                Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u') => {
                    mended.push(character);
                    mended.extend(characters.next());
                    continue;
                }
                Some(_) => mended.push('\\'),
                None => {}
            },
            '\n' if in_string => {
                mended += "\\n";
                continue;
            }
            '\t' if in_string => {
                mended += "\\t";
                continue;
            }
            _ => {}
        }
        mended.push(character);
    }
    mended
}

/// The objects that a text begins with, one after the other, or those of the list in the first one, which may be cut off if
/// it is `outer`.
fn items(text: &str, outer: bool) -> Items<'_> {
    let mut items = Items {
        rest: text,
        ..Items::default()
    };
    loop {
        let next = items
            .rest
            .trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if !next.starts_with('{') {
            return items;
        }
        let mut values = Deserializer::from_str(next).into_iter::<Value>();
        let value = values.next();
        let Some(Ok(Value::Object(object))) = value else {
            items.is_cut_off = matches!(value, Some(Err(error)) if error.is_eof());
            // The first one holds the others and is cut off.
            if outer
                && items.objects.is_empty()
                && let Some(list) = next[1..].find('[')
                && let Some(start) = next[1 + list..].find('{')
            {
                return self::items(&next[1 + list + start..], false);
            }
            return items;
        };
        items.rest = &next[values.byte_offset()..];
        if has_any(&object, &BOXES) || has_any(&object, &TEXTS) {
            items.objects.push(object);
            continue;
        }
        let lists = object.into_iter().filter_map(|(_, value)| match value {
            Value::Array(list) => Some(list),
            _ => None,
        });
        for value in lists.flatten() {
            if let Value::Object(object) = value {
                items.objects.push(object);
            }
        }
    }
}

fn has_any(object: &Map<String, Value>, names: &[&str]) -> bool {
    names.iter().any(|name| object.contains_key(*name))
}

fn block(item: &Map<String, Value>, tables: Option<TablesChoice>) -> Option<Block> {
    let first = |names: &[&str]| names.iter().find_map(|name| item.get(*name));
    let text = first(&TEXTS).and_then(Value::as_str);
    let label = first(&LABELS).and_then(Value::as_str);
    let bbox = first(&BOXES);
    if bbox.is_none() && text.is_none() {
        return None;
    }
    let label = label.unwrap_or("text");
    let bbox = bbox.and_then(sides);
    Some(labelled::block(
        label,
        text.unwrap_or_default(),
        bbox,
        tables,
    ))
}

fn sides(value: &Value) -> Option<Bbox> {
    if let Value::String(text) = value {
        return numbers(text);
    }
    numbers(&value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let blocks = blocks(text, None).unwrap_or_default();
        let lines = blocks.into_iter().map(|block| {
            let bbox = block
                .bbox
                .map_or("-".to_owned(), |bbox| format!("{bbox:?}"));
            format!("{:?} {bbox} {}", block.kind, block.text)
        });
        lines.collect()
    }

    const PAGE: &str = r###"[
        {"bbox_2d": [90, 40, 910, 80], "label": "title", "text_content": "Yearly \"report\""},
        {"bbox": [90, 100, 910, 200.5], "category": "Section-header", "text": "## Shoes"},
        {"bbox": "90 210 910 300", "type": "table", "html": "<table><tr><td>x</td></tr></table>"},
        {"bbox_2d": [1, 2, 3, 4], "label": "a giraffe"},
        {"bbox_2d": [1, 2, 3], "label": "formula", "text": "$$x$$"}
    ]"###;

    #[test]
    fn lists_of_objects_become_blocks() {
        let blocks = [
            "Title [90.0, 40.0, 910.0, 80.0] Yearly \"report\"",
            "Heading [90.0, 100.0, 910.0, 200.5] Shoes",
            "Table [90.0, 210.0, 910.0, 300.0] <table>\n<tr><td>x</td></tr>\n</table>",
            "Text [1.0, 2.0, 3.0, 4.0] a giraffe",
            "Formula - x",
        ];
        assert_eq!(read(PAGE), blocks);
        assert_eq!(read(&format!(r#"{{"layout": {PAGE}}}"#)), blocks);
        let lines = PAGE.trim_matches(['[', ']']).replace("},", "}");
        assert_eq!(read(&lines), blocks);
        assert_eq!(
            read(r#"Here: [{"text": "x"}] and more"#),
            ["Other - Here:", "Text - x", "Other - and more"]
        );
    }

    #[test]
    fn lists_that_are_cut_off_keep_their_whole_blocks() {
        let whole = read(PAGE);
        let mut most = 0;
        for end in (0..PAGE.len()).filter(|&end| PAGE.is_char_boundary(end)) {
            for text in [
                PAGE[..end].to_owned(),
                format!(r#"{{"a": {}"#, &PAGE[..end]),
            ] {
                let blocks = read(&text);
                assert_eq!(blocks[..], whole[..blocks.len()], "{text}");
                let ended = PAGE[..end].matches('}').count();
                assert_eq!(blocks.len(), ended, "{text}");
                most = most.max(ended);
            }
        }
        assert_eq!(most, 5);
    }

    #[test]
    fn strings_need_not_be_escaped_and_broken_ones_lose_no_text() {
        assert_eq!(
            read("[{\"text\": \"$\\int x$\n\\n two\"}, {\"text\": oops}, {\"text\": \"c\"}]"),
            [
                "Text - $\\int x$",
                "Other - \"text\": oops}, {\"text\": \"c\"",
            ]
            .map(|line| line.replace("$\\int x$", "$\\int x$\n\ntwo"))
        );
    }

    #[test]
    fn json_of_something_else_has_no_blocks() {
        for text in [
            r#"{"name": "x", "pages": [1, 2]}"#,
            "[1, 2]",
            "no {json}",
            "",
            "{",
        ] {
            assert_eq!(blocks(text, None), None, "{text}");
        }
    }
}
