//! Pages as models may see them, written in each dialect.

use proptest::prelude::*;

use crate::{answer::html, block::BlockType};

/// A block as a model may have seen it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) kind: BlockType,
    level: u8,
    /// Paragraphs have one, lists and columns of a table several.
    words: Vec<String>,
    pub(super) bbox: [u16; 4],
}

impl Seen {
    pub(super) fn letters(&self) -> String {
        letters(&self.words.concat())
    }

    /// In Markdown, with a table as HTML.
    fn markdown(&self) -> String {
        let all = self.words.join(" ");
        match self.kind {
            BlockType::Heading => format!("{} {all}", "#".repeat(self.level.into())),
            BlockType::List => self
                .words
                .iter()
                .map(|item| format!("- {item}\n"))
                .collect(),
            BlockType::Table => self.table(),
            BlockType::Formula => format!("$$\n{all}\n$$"),
            BlockType::Code => format!("```\n{all}\n```"),
            _ => all,
        }
    }

    fn table(&self) -> String {
        let cells: String = self
            .words
            .iter()
            .map(|cell| format!("<td>{cell}</td>"))
            .collect();
        format!("<table><tr>{cells}</tr></table>")
    }

    fn html(&self, attributes: &str) -> String {
        let all = self.words.join(" ");
        match self.kind {
            BlockType::Heading => format!("<h{0}{attributes}>{all}</h{0}>", self.level),
            BlockType::List => {
                let items: String = self
                    .words
                    .iter()
                    .map(|item| format!("<li>{item}</li>"))
                    .collect();
                format!("<ul{attributes}>{items}</ul>")
            }
            BlockType::Table => self.table().replacen('>', &format!("{attributes}>"), 1),
            BlockType::Formula => format!("<div class=\"formula\"{attributes}>$${all}$$</div>"),
            BlockType::Code => format!("<pre{attributes}>{all}</pre>"),
            BlockType::Footer => format!("<div class=\"footer\"{attributes}>{all}</div>"),
            _ => format!("<p{attributes}>{all}</p>"),
        }
    }

    fn label(&self) -> &'static str {
        match self.kind {
            BlockType::Heading => "Section-Header",
            BlockType::List => "List-Group",
            BlockType::Table => "Table",
            BlockType::Formula => "Equation-Block",
            BlockType::Code => "Code-Block",
            BlockType::Footer => "Page-Footer",
            _ => "Text",
        }
    }

    fn written(&self, dialect: Dialect) -> String {
        let [x0, y0, x1, y1] = self.bbox;
        match dialect {
            Dialect::Qwen => self.html(&format!(" data-bbox=\"{x0} {y0} {x1} {y1}\"")) + "\n",
            Dialect::Chandra => format!(
                "<div data-bbox=\"[{x0}, {y0}, {x1}, {y1}]\" data-label=\"{}\">{}</div>\n",
                self.label(),
                self.html("")
            ),
            Dialect::Json => {
                let text = serde_json::to_string(&self.markdown()).unwrap();
                let label = self.label();
                format!(
                    "{{\"bbox_2d\": [{x0}, {y0}, {x1}, {y1}], \"label\": \"{label}\", \"text_content\": {text}}},\n"
                )
            }
            Dialect::Marks => format!(
                "<|ref|>{}<|/ref|><|det|>[[{x0}, {y0}, {x1}, {y1}]]<|/det|>\n{}\n\n",
                self.label(),
                self.markdown()
            ),
            Dialect::Images => {
                let label = self.label();
                format!("![{label}]({x0},{y0},{x1},{y1}) {}\n", self.markdown())
            }
            Dialect::Markdown => self.markdown() + "\n\n",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Dialect {
    Qwen,
    Chandra,
    Json,
    Marks,
    Images,
    Markdown,
}

const DIALECTS: [Dialect; 6] = [
    Dialect::Qwen,
    Dialect::Chandra,
    Dialect::Json,
    Dialect::Marks,
    Dialect::Images,
    Dialect::Markdown,
];

/// A page in a dialect, and where each of its blocks ends.
pub(super) fn page(blocks: &[Seen], dialect: Dialect) -> (String, Vec<usize>) {
    let mut text = match dialect {
        Dialect::Qwen => "<html><body>\n".to_owned(),
        Dialect::Json => "```json\n[\n".to_owned(),
        _ => String::new(),
    };
    let mut ends = Vec::new();
    for block in blocks {
        text += &block.written(dialect);
        ends.push(text.len());
    }
    text += match dialect {
        Dialect::Qwen => "</body></html>",
        Dialect::Json => "]\n```",
        _ => "",
    };
    (text, ends)
}

/// Letters and digits outside of tags.
pub(super) fn letters(text: &str) -> String {
    let text = html::parse(text).into_iter().map(|node| match node {
        html::Node::Text(text) => text.into_owned(),
        html::Node::Element(element) => element.text(),
    });
    let text: String = text.collect();
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

fn seen() -> impl Strategy<Value = Seen> {
    let kinds = prop::sample::select(vec![
        BlockType::Heading,
        BlockType::Text,
        BlockType::List,
        BlockType::Table,
        BlockType::Formula,
        BlockType::Code,
        BlockType::Footer,
    ]);
    let words = prop::collection::vec("[a-zA-ZäéßЖ漢0-9]{1,8}( [a-zäé,.0-9]{1,6}){0,4}", 1..4);
    let side = 0..=999_u16;
    (
        kinds,
        1..=6_u8,
        words,
        [side.clone(), side.clone(), side.clone(), side],
    )
        .prop_map(|(kind, level, words, bbox)| Seen {
            kind,
            level,
            words,
            bbox,
        })
}

pub(super) fn pages() -> impl Strategy<Value = (Vec<Seen>, Dialect)> {
    let dialect = prop::sample::select(DIALECTS.to_vec());
    (prop::collection::vec(seen(), 1..6), dialect)
}
