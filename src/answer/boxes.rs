//! Boxes as models write them.

use crate::block::{Bbox, Block, around, within_page};

/// What a model's boxes are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Units {
    /// Thousandths of the page's sides: Qwen2-VL, Qwen3-VL and most others.
    #[default]
    Thousandths,
    /// Parts of 1024: Chandra 1 (datalab-to/chandra, `BBOX_SCALE` in `chandra/settings.py`).
    Of1024,
    /// Parts of 999: DeepSeek-OCR (deepseek-ai/DeepSeek-OCR, `modeling_deepseekocr.py`).
    Of999,
    /// Pixels of the image that the model sees: Qwen2.5-VL (arXiv 2502.13923, section 2.1) and what is made from it.
    Pixels,
}

impl Units {
    fn scale(self) -> Option<f64> {
        match self {
            Self::Thousandths => Some(1000.0),
            Self::Of1024 => Some(1024.0),
            Self::Of999 => Some(999.0),
            Self::Pixels => None,
        }
    }
}

/// The four numbers of a text like `[1, 2, 30, 40]`, `1 2 30 40` or `(1,2),(30,40)`; of several boxes, what is around them.
pub(super) fn numbers(text: &str) -> Option<Bbox> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    let is_between = |c: char| c.is_whitespace() || "[](),;".contains(c);
    if !text.chars().all(|c| is_part(c) || is_between(c)) {
        return None;
    }
    let numbers = text.split(is_between).filter(|number| !number.is_empty());
    let numbers: Vec<f64> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
    let (boxes, rest) = numbers.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    boxes.iter().copied().reduce(around)
}

/// Makes the boxes of an answer, in `units` so far, fractions of the page, of which the model saw so many pixels. A model
/// that counts further than its units go counts pixels.
pub(super) fn scale(blocks: &mut [Block], units: Units, seen: Option<(u32, u32)>) {
    let sides = blocks.iter().filter_map(|block| block.bbox).flatten();
    let most = sides.fold(0.0, f64::max);
    let scale = match (units.scale(), seen) {
        (Some(scale), None) => Some((scale, scale)),
        (Some(scale), Some(_)) if most <= scale => Some((scale, scale)),
        (_, Some((width, height))) => Some((f64::from(width), f64::from(height))),
        (None, None) => None,
    };
    for block in blocks {
        let bbox = block.bbox.zip(scale);
        block.bbox = bbox.and_then(|([x0, y0, x1, y1], (width, height))| {
            within_page([x0 / width, y0 / height, x1 / width, y1 / height])
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockType;

    #[test]
    fn boxes_are_read_in_each_notation() {
        let bbox = Some([1.0, 2.0, 30.0, 40.5]);
        for text in [
            "[1, 2, 30, 40.5]",
            "1 2 30 40.5",
            "(1,2),(30,40.5)",
            "[[1,2,3,4],[2,3,30,40.5]]",
        ] {
            assert_eq!(numbers(text), bbox, "{text}");
        }
        for text in ["", "[1, 2, 3]", "x1 y1 x2 y2", "1 2 3 4 5", "[1,2,3,--]"] {
            assert_eq!(numbers(text), None, "{text}");
        }
    }

    #[test]
    fn units_become_fractions_of_the_page() {
        let scaled = |bbox, units, seen| {
            let mut blocks = [Block::new(BlockType::Text, "")];
            blocks[0].bbox = Some(bbox);
            scale(&mut blocks, units, seen);
            blocks[0].bbox
        };
        let seen = Some((1400, 2800));
        let half = Some([0.0, 0.25, 0.5, 1.0]);
        for (bbox, units) in [
            ([0.0, 250.0, 500.0, 1000.0], Units::Thousandths),
            ([0.0, 256.0, 512.0, 1024.0], Units::Of1024),
            ([0.0, 700.0, 700.0, 2800.0], Units::Pixels),
            // More than thousandths can be.
            ([0.0, 700.0, 700.0, 2800.0], Units::Thousandths),
        ] {
            assert_eq!(scaled(bbox, units, seen), half, "{units:?}");
        }
        assert_eq!(scaled([1.0; 4], Units::Pixels, None), None);
        let far = scaled([0.0, 0.0, 5000.0, 500.0], Units::Thousandths, None);
        assert_eq!(far, Some([0.0, 0.0, 1.0, 0.5]));
    }
}
