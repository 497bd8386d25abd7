//! What models call the parts of a page.

use crate::block::BlockType;

/// The labels of all dialects, in small letters and with spaces between words.
///
/// Chandra: `data-label` (datalab-to/chandra, `chandra/prompts.py`; chandra-ocr 0.2.0). Qwen: classes of QwenVL HTML
/// (Qwen2.5-VL's report, arXiv 2502.13923, section 2.2.1) and of the models trained after it (Logics-Parsing). DeepSeek-OCR:
/// `<|ref|>` (deepseek-ai/DeepSeek-OCR, `README.md`). dots.ocr: `category` (rednote-hilab/dots.ocr, `dots_ocr/utils/prompts.py`).
/// LightOnOCR-3: `![label]` (lightonai/LightOnOCR at 36755d4, `README.md`).
const LABELS: [(&str, BlockType); 69] = [
    ("title", BlockType::Title),
    ("doc title", BlockType::Title),
    ("document title", BlockType::Title),
    ("heading", BlockType::Heading),
    ("section", BlockType::Heading),
    ("section header", BlockType::Heading),
    ("section title", BlockType::Heading),
    ("sub title", BlockType::Heading),
    ("subtitle", BlockType::Heading),
    ("paragraph title", BlockType::Heading),
    ("text", BlockType::Text),
    ("text+", BlockType::Text),
    ("plain text", BlockType::Text),
    ("paragraph", BlockType::Text),
    ("aside text", BlockType::Text),
    ("abstract", BlockType::Text),
    ("reference", BlockType::Text),
    ("form", BlockType::Text),
    ("complex block", BlockType::Text),
    ("handwriting", BlockType::Text),
    ("list", BlockType::List),
    ("list group", BlockType::List),
    ("list item", BlockType::List),
    ("table of contents", BlockType::List),
    ("bibliography", BlockType::List),
    ("table", BlockType::Table),
    ("figure", BlockType::Figure),
    ("picture", BlockType::Figure),
    ("image", BlockType::Figure),
    ("image ocr", BlockType::Figure),
    ("photo", BlockType::Figure),
    ("chart", BlockType::Figure),
    ("diagram", BlockType::Figure),
    ("music sheet", BlockType::Figure),
    ("logo", BlockType::Figure),
    ("seal", BlockType::Figure),
    ("stamp", BlockType::Figure),
    ("signature", BlockType::Figure),
    ("caption", BlockType::Caption),
    ("image caption", BlockType::Caption),
    ("picture caption", BlockType::Caption),
    ("figure caption", BlockType::Caption),
    ("figure title", BlockType::Caption),
    ("chart title", BlockType::Caption),
    ("table caption", BlockType::Caption),
    ("table title", BlockType::Caption),
    ("formula", BlockType::Formula),
    ("equation", BlockType::Formula),
    ("equation block", BlockType::Formula),
    ("isolate formula", BlockType::Formula),
    ("chemical formula", BlockType::Figure),
    ("chemical block", BlockType::Figure),
    ("code", BlockType::Code),
    ("code block", BlockType::Code),
    ("algorithm", BlockType::Code),
    ("pseudocode", BlockType::Code),
    ("header", BlockType::Header),
    ("page header", BlockType::Header),
    ("running header", BlockType::Header),
    ("footer", BlockType::Footer),
    ("page footer", BlockType::Footer),
    ("page number", BlockType::PageNumber),
    ("number", BlockType::PageNumber),
    ("footnote", BlockType::Footnote),
    ("page footnote", BlockType::Footnote),
    ("table footnote", BlockType::Footnote),
    ("figure footnote", BlockType::Footnote),
    ("watermark", BlockType::Other),
    ("other", BlockType::Other),
];

/// What a label stands for, if it is one.
pub(super) fn of(label: &str) -> Option<BlockType> {
    let label = label.trim().to_lowercase().replace(['-', '_'], " ");
    let known = LABELS.iter().find(|(known, _)| *known == label);
    known.map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_however_they_are_spelled() {
        for (label, kind) in [
            ("Section-Header", Some(BlockType::Heading)),
            (" page_number", Some(BlockType::PageNumber)),
            ("Page-footer", Some(BlockType::Footer)),
            ("the giraffe", None),
        ] {
            assert_eq!(of(label), kind, "{label}");
        }
    }
}
