mod corpus;
mod pages;

use proptest::prelude::*;

use self::pages::{Dialect, Seen, letters, page, pages};
use super::*;

/// Reads an answer for `--format json`, of a page of 1000 × 2000 pixels.
fn blocks_of(text: &str, reading: Reading) -> Answer {
    let wanted = Wanted {
        blocks: true,
        ..Wanted::default()
    };
    read(text.to_owned(), reading, wanted, Some((1000, 2000)))
}

/// Each block as one line: its type, level, box and text.
pub(super) fn lines_of(blocks: Vec<Block>) -> Vec<String> {
    let lines = blocks.into_iter().map(|block| {
        let level = block.level.map_or(String::new(), |level| level.to_string());
        let bbox = block
            .bbox
            .map_or("-".to_owned(), |bbox| format!("{bbox:?}"));
        format!("{:?}{level} {bbox} {}", block.kind, block.text)
    });
    lines.collect()
}

fn content_of(text: &str, format: OutputFormat, style: Style) -> String {
    let wanted = Wanted {
        format,
        blocks: false,
        style,
    };
    read(text.to_owned(), Reading::Plain, wanted, None).content
}

#[test]
fn leading_reasoning_never_reaches_the_content() {
    for (text, content) in [
        ("<think>\n\n</think>\n\n# Title\n", "# Title\n"),
        ("\n<think>Hm.\nA page.</think>text", "text"),
        ("<think>I was cut off", ""),
        (
            " text with <think> and </think>",
            " text with <think> and </think>",
        ),
        ("", ""),
    ] {
        let read = content_of(text, OutputFormat::Markdown, Style::default());
        assert_eq!(read, content, "{text:?}");
    }
}

#[test]
fn raw_content_is_what_the_model_wrote() {
    let text = "<think>Hm.</think>```markdown\r\nGro\u{308}\u{df}e\n```<|im_end|>";
    let raw = Style {
        raw: true,
        ..Style::default()
    };
    assert_eq!(content_of(text, OutputFormat::Markdown, raw), text);
    let cleaned = content_of(text, OutputFormat::Markdown, Style::default());
    assert_eq!(cleaned, "Gr\u{f6}\u{df}e");
}

#[test]
fn tables_are_converted_where_nothing_is_lost() {
    let text = "Bill\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nand\n<table><tr><td>x</td></tr></table>\n\n\
                <table><tr><td colspan=\"2\">y</td></tr></table>\n\n```\n| a |\n|---|\n```\n";
    let with = |tables| {
        let style = Style {
            tables: Some(tables),
            ..Style::default()
        };
        content_of(text, OutputFormat::Markdown, style)
    };
    assert_eq!(
        with(TablesChoice::Markdown),
        text.replace("<table><tr><td>x</td></tr></table>", "| x |\n|---|")
    );
    let html = with(TablesChoice::Html);
    assert!(
        html.starts_with("Bill\n\n<table><thead><tr><th>a</th>"),
        "{html}"
    );
    assert!(html.ends_with("\n\n```\n| a |\n|---|\n```\n"), "{html}");
    assert_eq!(html.matches("<table>").count(), 3, "{html}");
}

#[test]
fn answers_without_blocks_are_one_of_type_other() {
    for (text, unparsed) in [
        ("Just words\n", true),
        ("# A title\n\n<table><tr><td>x</td></tr></table>", true),
        ("[{\"bbox_2d\": [1, 2", true),
        ("<p data-bbox=\"1 2 3 4\">x</p>", false),
        ("", false),
    ] {
        let answer = blocks_of(text, Reading::Layout(Units::Thousandths));
        assert_eq!(answer.unparsed, unparsed, "{text}");
        if unparsed {
            let whole = Block::new(BlockType::Other, text.trim());
            assert_eq!(answer.blocks, Some(vec![whole]));
            assert_eq!(answer.content, text.trim());
        }
    }
    let free = blocks_of("Just words\n", Reading::Free(Units::Thousandths));
    assert_eq!(
        free.blocks,
        Some(vec![Block::new(BlockType::Text, "Just words")])
    );
}

#[test]
fn headers_are_dropped_from_blocks_and_content() {
    let page = "<div data-label=\"Page-Header\" data-bbox=\"0 0 1000 50\"><div>Annals</div></div>\
                <div data-label=\"Text\" data-bbox=\"0 60 1000 100\"><p>Words</p></div>\
                <div class=\"footer\" data-bbox=\"0 950 1000 1000\">7</div>";
    let read = |format, blocks, headers| {
        let style = Style {
            headers,
            ..Style::default()
        };
        let wanted = Wanted {
            format,
            blocks,
            style,
        };
        read(
            page.to_owned(),
            Reading::Layout(Units::Thousandths),
            wanted,
            None,
        )
    };
    let kept = read(OutputFormat::Markdown, true, HeadersChoice::Keep);
    assert_eq!(kept.content, "Annals\n\nWords\n\n7");
    for (format, content) in [
        (OutputFormat::Markdown, "Words"),
        (OutputFormat::Text, "Words"),
        (OutputFormat::Html, "<div><p>Words</p></div>"),
    ] {
        let dropped = read(format, false, HeadersChoice::Drop);
        assert_eq!(dropped.content, content);
        assert_eq!(dropped.blocks.map(|blocks| blocks.len()), Some(1));
    }
}

#[test]
fn front_matter_is_taken_off_before_blocks() {
    let text = "---\nprimary_language: en\nis_rotation_valid: True\nrotation_correction: 0\nis_table: False\n\
                is_diagram: True\n---\n# Map\n\n![The town](page_100_200_300_400.png)\n";
    let answer = blocks_of(text, Reading::FrontMatter);
    let blocks = answer.blocks.unwrap();
    assert_eq!(blocks.len(), 2);
    assert_eq!(blocks[1].bbox, Some([0.1, 0.1, 0.4, 0.3]));
    assert_eq!(answer.content, "# Map\n\n![The town]()");
    let plain = read(
        text.to_owned(),
        Reading::FrontMatter,
        Wanted::default(),
        None,
    );
    assert_eq!(plain.blocks, None);
}

/// How a dialect is read.
fn reading(dialect: Dialect) -> Reading {
    match dialect {
        Dialect::Markdown => Reading::Free(Units::Thousandths),
        _ => Reading::Layout(Units::Thousandths),
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "<p data-bbox=\"1 2 3 4\">",
        "</p>",
        "<div data-label=\"Table\"",
        ">",
        "<table>",
        "<tr>",
        "<td colspan=\"900\"",
        "</td>",
        "</table>",
        "<ul>",
        "<li>",
        "<math>",
        "<img alt='x'",
        "<pre>",
        "[{\"bbox_2d\": [1, 2, 3, 4],",
        "\"text\": \"a",
        "\"",
        "}",
        "]",
        "{",
        "[",
        "<|ref|>",
        "text",
        "<|/ref|>",
        "<|det|>",
        "[[1, 2, 3, 4]]",
        "<|/det|>",
        "![text](1,2,3,4)",
        "\n\n",
        "\n",
        "| a |\n|---|\n",
        "```",
        "$$",
        "\\$",
        "# ",
        "- ",
        "---\n",
        "<!--",
        "-->",
        "&lt;",
        "&#x",
        "<think>",
        "</think>",
        "<|im_end|>",
        "Here is the extracted text:",
        "\u{301}",
        "e",
        " ",
        "\0",
        "漢",
        "data-x=\"",
        "[x]: y",
        "99999999999999999999",
        "-1e300",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn parsing_loses_no_letter_and_no_box((blocks, dialect) in pages()) {
        let (text, _) = page(&blocks, dialect);
        let answer = blocks_of(&text, reading(dialect));
        prop_assert!(!answer.unparsed, "{text}");
        let read = answer.blocks.unwrap();
        let all: String = read.iter().map(|block| letters(&block.text)).collect();
        let written: String = blocks.iter().map(Seen::letters).collect();
        prop_assert_eq!(&all, &written, "{}", text);
        prop_assert_eq!(letters(&answer.content), written, "{}", text);
        if dialect == Dialect::Markdown {
            return Ok(());
        }
        prop_assert_eq!(read.len(), blocks.len(), "{}\n{:?}", text, read);
        let scale = if dialect == Dialect::Marks { 999.0 } else { 1000.0 };
        for (read, written) in read.iter().zip(&blocks) {
            prop_assert_eq!(read.kind, written.kind, "{}", text);
            let bbox = written.bbox.map(|side| f64::from(side) / scale);
            prop_assert_eq!(read.bbox, crate::block::within_page(bbox));
            let rows = (written.kind == BlockType::Table).then_some(1);
            prop_assert_eq!(read.rows.as_ref().map(Vec::len), rows);
        }
    }

    #[test]
    fn answers_that_are_cut_off_keep_their_whole_blocks(
        (blocks, dialect) in pages(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (text, ends) = page(&blocks, dialect);
        let mut cut = cut.index(text.len() + 1);
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        let whole = blocks_of(&text, reading(dialect)).blocks.unwrap();
        let read = blocks_of(&text[..cut], reading(dialect)).blocks.unwrap();
        let count = ends.iter().filter(|&&end| end <= cut).count();
        if dialect == Dialect::Markdown {
            // Lists may be one.
            let written: String = blocks[..count].iter().map(Seen::letters).collect();
            let all: String = read.iter().map(|block| letters(&block.text)).collect();
            prop_assert!(all.starts_with(&written), "{}", &text[..cut]);
        } else {
            prop_assert!(read.len() >= count, "{}", &text[..cut]);
            prop_assert_eq!(&read[..count], &whole[..count], "{}", &text[..cut]);
        }
    }

    #[test]
    fn any_text_is_read_with_boxes_on_the_page(text in prop_oneof![pieces(), any::<String>()]) {
        for reading in [
            Reading::Plain,
            Reading::FrontMatter,
            Reading::Layout(Units::Pixels),
            Reading::Free(Units::Thousandths),
        ] {
            for (format, blocks) in [
                (OutputFormat::Markdown, true),
                (OutputFormat::Markdown, false),
                (OutputFormat::Html, false),
                (OutputFormat::Text, false),
            ] {
                for tables in [None, Some(TablesChoice::Html), Some(TablesChoice::Markdown)] {
                    let style = Style { tables, headers: HeadersChoice::Drop, ..Style::default() };
                    let wanted = Wanted { format, blocks, style };
                    let answer = read(text.clone(), reading, wanted, Some((640, 480)));
                    prop_assert!(!blocks || answer.blocks.is_some());
                    for bbox in answer.blocks.iter().flatten().filter_map(|block| block.bbox) {
                        let [x0, y0, x1, y1] = bbox;
                        prop_assert!(0.0 <= x0 && x0 <= x1 && x1 <= 1.0, "{:?}", bbox);
                        prop_assert!(0.0 <= y0 && y0 <= y1 && y1 <= 1.0, "{:?}", bbox);
                    }
                }
            }
        }
    }

    #[test]
    fn plain_text_is_left_as_it_is(text in "[a-zA-Zäé0-9 .,:;()\\n#*|-]{0,80}") {
        for format in [OutputFormat::Markdown, OutputFormat::Html, OutputFormat::Text] {
            let is_table = text.contains("|-") || text.contains("| -") || text.contains("|:");
            if !(is_table && format == OutputFormat::Markdown) {
                prop_assert_eq!(&content_of(&text, format, Style::default()), &text);
            }
        }
    }
}
