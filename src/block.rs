//! A page's blocks: what is where on it.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A box on a page: left, top, right and bottom, as fractions (0 to 1) of its width and height.
pub type Bbox = [f64; 4];

/// Boxes are kept to this part of a page: a tenth of a millimetre on A1.
const PRECISION: f64 = 1e4;

/// A part of a page.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Block {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: BlockType,
    /// What it says, in Markdown: of a heading and a formula without their marks, of code as it stands, of a figure what is
    /// known of it.
    pub text: String,
    /// Where it is on the page as the file shows it, upright: left, top, right and bottom as fractions of its sides; null if
    /// that is not known.
    pub bbox: Option<Bbox>,
    /// Of a title or heading: 1 to 6, if it is known.
    pub level: Option<u8>,
    /// Of a table: its rows of cells; null for what a cell to the left or above covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<Vec<Option<String>>>>,
}

/// What a block is. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockType {
    /// The document's title.
    Title,
    /// The heading of a section.
    Heading,
    /// A paragraph.
    Text,
    /// A list.
    List,
    /// A table.
    Table,
    /// A picture, a chart, a drawing.
    Figure,
    /// The caption of a figure or a table.
    Caption,
    /// A formula on lines of its own, in LaTeX.
    Formula,
    /// Program code.
    Code,
    /// What stands above the text of each page.
    Header,
    /// What stands below it.
    Footer,
    /// The page's number.
    PageNumber,
    /// A footnote.
    Footnote,
    /// Anything else, and answers that could not be parsed.
    Other,
}

impl Block {
    /// A block of which no more is known.
    #[must_use]
    pub fn new(kind: BlockType, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            bbox: None,
            level: None,
            rows: None,
        }
    }
}

/// Another program may have written it: what makes no sense is left out.
impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let block = Value::deserialize(from)?;
        let field = |name: &str| block.get(name).cloned().unwrap_or_default();
        let kind = serde_json::from_value(field("type"));
        let bbox: Option<Bbox> = serde_json::from_value(field("bbox")).ok().flatten();
        Ok(Self {
            kind: kind.unwrap_or(BlockType::Other),
            text: serde_json::from_value(field("text")).unwrap_or_default(),
            bbox: bbox.and_then(within_page),
            level: serde_json::from_value(field("level")).ok().flatten(),
            rows: serde_json::from_value(field("rows")).ok().flatten(),
        })
    }
}

/// A box with its sides in order, cut off at the page's edges and rounded; none if it has no place.
#[must_use]
pub fn within_page([x0, y0, x1, y1]: Bbox) -> Option<Bbox> {
    let whole = [x0.min(x1), y0.min(y1), x0.max(x1), y0.max(y1)];
    let is_number = [x0, y0, x1, y1].iter().all(|side| side.is_finite());
    is_number.then(|| whole.map(|side| (side.clamp(0.0, 1.0) * PRECISION).round() / PRECISION))
}

/// Where a box of a page is on the page that was turned clockwise by so many degrees to become it.
#[must_use]
pub fn turned_back([x0, y0, x1, y1]: Bbox, degrees: u16) -> Bbox {
    match degrees % 360 {
        90 => [y0, 1.0 - x1, y1, 1.0 - x0],
        180 => [1.0 - x1, 1.0 - y1, 1.0 - x0, 1.0 - y0],
        270 => [1.0 - y1, x0, 1.0 - y0, x1],
        _ => [x0, y0, x1, y1],
    }
}

/// The smallest box around both.
#[must_use]
pub fn around(one: Bbox, other: Bbox) -> Bbox {
    [
        one[0].min(other[0]),
        one[1].min(other[1]),
        one[2].max(other[2]),
        one[3].max(other[3]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_of_a_turned_page_go_back_to_their_place() {
        // In the upper left corner of the page as it is stored, wider than high.
        let stored = [0.0, 0.1, 0.5, 0.2];
        for (degrees, seen) in [
            (0, stored),
            (90, [0.8, 0.0, 0.9, 0.5]),
            (180, [0.5, 0.8, 1.0, 0.9]),
            (270, [0.1, 0.5, 0.2, 1.0]),
        ] {
            let back = within_page(turned_back(seen, degrees));
            assert_eq!(back, Some(stored), "{degrees}");
        }
    }

    #[test]
    fn boxes_end_at_the_edges_of_the_page() {
        assert_eq!(
            within_page([0.9, -0.2, 0.1, 1.5]),
            Some([0.1, 0.0, 0.9, 1.0])
        );
        assert_eq!(within_page([0.0, f64::NAN, 1.0, 1.0]), None);
    }
}
