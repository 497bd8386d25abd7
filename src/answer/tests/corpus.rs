//! Whole answers, written for these tests after each model's published form: `tests/data/answers`.

use std::{fs, path::Path};

use super::*;

const FOLDER: &str = "../../../tests/data/answers";

/// The answers, and how their models write.
const ANSWERS: [(&str, Reading); 10] = [
    ("qwen3.html", Reading::Layout(Units::Thousandths)),
    ("qwen2_5.html", Reading::Layout(Units::Pixels)),
    ("chandra.html", Reading::Layout(Units::Of1024)),
    ("chandra2.html", Reading::Layout(Units::Thousandths)),
    ("olmocr.md", Reading::FrontMatter),
    ("qwen.json", Reading::Layout(Units::Thousandths)),
    ("dots.json", Reading::Layout(Units::Pixels)),
    ("deepseek.txt", Reading::Layout(Units::Thousandths)),
    ("lighton.md", Reading::Layout(Units::Thousandths)),
    ("nanonets.md", Reading::Free(Units::Thousandths)),
];

#[test]
fn answers_of_each_dialect_become_blocks_and_markdown() {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(FOLDER);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (name, reading) in ANSWERS {
        let path = Path::new(file!()).parent().unwrap().join(FOLDER).join(name);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = fs::read_to_string(path).unwrap();
        let wanted = Wanted {
            blocks: true,
            ..Wanted::default()
        };
        let answer = read(text, reading, wanted, Some((1000, 1400)));
        assert!(!answer.unparsed, "{name}");
        let mut shown = String::new();
        for block in answer.blocks.unwrap() {
            shown += &serde_json::to_string(&block).unwrap();
            shown.push('\n');
        }
        shown = format!("{shown}\n{}", answer.content);
        settings.bind(|| insta::assert_snapshot!(name, shown));
    }
}
