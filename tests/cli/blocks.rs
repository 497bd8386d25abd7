//! `--format json`: the parts of a page with their types and places, from each engine; how content is cleaned; and figures as
//! files.

use std::{fs, time::Duration};

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use omnidocs::{
    block::{Block, BlockType},
    options::OutputFormat,
    page::Warning,
    record::{Record, Status},
};

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room, pdf},
};

/// A page as Qwen3-VL writes it: boxes in thousandths.
const PAGE: &str = "```html\n<html><body>\n<h1 data-bbox=\"100 50 900 100\">Yearly report</h1>\n\
    <div class=\"header\" data-bbox=\"0 0 1000 40\">Annals</div>\n\
    <p data-bbox=\"100 120 900 200\">Costs rose by <b>5 %</b>.</p>\n\
    <table data-bbox=\"100 220 900 300\"><tr><td>Nuts</td><td>7</td></tr></table>\n\
    <div class=\"image\" data-bbox=\"500 250 750 500\"><img data-bbox=\"500 250 750 500\"/></div>\n\
    </body></html>\n```";

/// A room with a page of an image, 400 × 800 pixels, with a red square where the figure is.
fn room() -> Room {
    let room = Room::new();
    let page = RgbImage::from_fn(400, 800, |x, y| {
        let is_red = (200..300).contains(&x) && (200..400).contains(&y);
        Rgb(if is_red { [220, 0, 0] } else { [255; 3] })
    });
    fs::create_dir(room.path("in")).unwrap();
    page.save(room.path("in/a page.png")).unwrap();
    room
}

fn saying(answers: &'static [&'static str]) -> ChatServer {
    ChatServer::with(Duration::ZERO, |_, asked| {
        let answer = answers.get(asked).or(answers.last()).unwrap();
        Reply::Said((*answer).to_owned(), "stop")
    })
}

fn asking(room: &Room, server: &ChatServer, args: &str) -> Command {
    let url = server.url();
    room.omnidocs(&format!(
        "extract in -o out.jsonl --engine server --server-url {url} {args}"
    ))
}

#[track_caller]
fn ask(room: &Room, server: &ChatServer, args: &str) -> Record {
    Ran::of(&mut asking(room, server, args)).expect(0);
    room.records("out.jsonl").pop().unwrap()
}

fn kinds(blocks: &[Block]) -> Vec<BlockType> {
    blocks.iter().map(|block| block.kind).collect()
}

#[test]
fn format_json_gives_blocks_and_markdown() {
    let (room, server) = (room(), saying(&[PAGE]));
    let record = ask(&room, &server, "--format json");
    let asked = &server.requests()[0].json["messages"][0]["content"][1]["text"];
    assert_eq!(asked, "qwenvl html");
    let blocks = record.blocks.unwrap();
    assert_eq!(
        kinds(&blocks),
        [
            BlockType::Heading,
            BlockType::Header,
            BlockType::Text,
            BlockType::Table,
            BlockType::Figure
        ]
    );
    assert_eq!(blocks[0].bbox, Some([0.1, 0.05, 0.9, 0.1]));
    assert_eq!(blocks[0].level, Some(1));
    let row = ["Nuts", "7"].map(|cell| Some(cell.to_owned()));
    assert_eq!(blocks[3].rows, Some(vec![row.to_vec()]));
    assert_eq!(
        record.content.as_deref(),
        Some(
            "# Yearly report\n\nAnnals\n\nCosts rose by **5 %**.\n\n\
             <table>\n<tr><td>Nuts</td><td>7</td></tr>\n</table>"
        )
    );
    assert_eq!(record.output_format, OutputFormat::Markdown);
    assert_eq!(
        (record.attempts, record.warnings.len()),
        (1, 1),
        "low_resolution"
    );
}

#[test]
fn boxes_of_qwen_2_5_are_pixels_of_the_image() {
    let (room, server) = (room(), saying(&["<p data-bbox=\"98 98 196 392\">x</p>"]));
    let args = "--format json --model Qwen/Qwen2.5-VL-7B-Instruct";
    let record = ask(&room, &server, args);
    // The model sees 392 × 812 pixels: multiples of 28.
    let blocks = record.blocks.unwrap();
    assert_eq!((record.width, record.height), (Some(384), Some(800)));
    assert_eq!(blocks[0].bbox, Some([0.25, 0.1207, 0.5, 0.4828]));
}

#[test]
fn unparsed_answers_are_read_again_once_and_kept_as_one_block() {
    let (room, server) = (room(), saying(&["Just words.", "More words."]));
    let record = ask(&room, &server, "--format json");
    assert_eq!(record.attempts, 2);
    let temperature = |place: usize| server.requests()[place].json["temperature"].clone();
    assert_ne!(temperature(0), temperature(1));
    assert!(record.warnings.contains(&Warning::Unparsed));
    let only = Block::new(BlockType::Other, "Just words.");
    assert_eq!(record.blocks, Some(vec![only]));
    assert_eq!(record.content.as_deref(), Some("Just words."));

    let second = saying(&["Just words.", "<p data-bbox=\"0 0 500 500\">found</p>"]);
    let record = ask(&room, &second, "--format json --restart");
    assert_eq!(
        (record.attempts, record.content.as_deref()),
        (2, Some("found"))
    );
    assert!(!record.warnings.contains(&Warning::Unparsed));
}

#[test]
fn json_that_is_cut_off_keeps_its_whole_blocks() {
    let room = room();
    let answer = "[{\"bbox_2d\": [0, 0, 500, 100], \"label\": \"title\", \"text_content\": \"Bill\"},\n\
                  {\"bbox_2d\": [0, 100, 500, 200], \"label\": \"text\", \"text_con";
    let server = ChatServer::with(Duration::ZERO, move |_, _| {
        Reply::Said(answer.to_owned(), "length")
    });
    let record = ask(&room, &server, "--format json --retries 0");
    let title = Block {
        bbox: Some([0.0, 0.0, 0.5, 0.1]),
        ..Block::new(BlockType::Title, "Bill")
    };
    assert_eq!(record.blocks, Some(vec![title]));
    assert_eq!(record.content.as_deref(), Some("# Bill"));
    assert!(record.warnings.contains(&Warning::Truncated));
    assert!(!record.warnings.contains(&Warning::Unparsed));
}

#[test]
fn answers_are_cleaned_unless_raw() {
    let answer = "Here is the extracted text in Markdown:\n\n```markdown\nGro\u{308}\u{df}e\r\n\
                  <table data-x=\"1\"><tr><td>a</td></tr>\n```<|im_end|>";
    let room = room();
    let server = ChatServer::with(Duration::ZERO, move |_, _| {
        Reply::Said(answer.to_owned(), "stop")
    });
    let cleaned = ask(&room, &server, "");
    assert_eq!(
        cleaned.content.as_deref(),
        Some("Gr\u{f6}\u{df}e\n<table><tr><td>a</td></tr></table>")
    );
    assert_eq!(cleaned.blocks, None);
    let again = Ran::of(&mut asking(&room, &server, "--raw")).expect(10);
    assert!(again.stderr.contains("raw"), "{}", again.stderr);
    let raw = ask(&room, &server, "--raw --restart");
    assert_eq!(raw.content.as_deref(), Some(answer));
    let mut set = asking(&room, &server, "--restart");
    Ran::of(set.env("OMNIDOCS_TABLES", "markdown")).expect(0);
    let record = room.records("out.jsonl").pop().unwrap();
    let content = record.content.unwrap();
    assert!(content.ends_with("\n| a |\n|---|"), "{content}");
}

#[test]
fn headers_can_be_dropped_and_settings_differ_by_that() {
    let (room, server) = (room(), saying(&[PAGE]));
    let record = ask(
        &room,
        &server,
        "--format json --headers drop --tables markdown",
    );
    let content = record.content.unwrap();
    assert!(!content.contains("Annals"), "{content}");
    assert!(content.ends_with("| Nuts | 7 |\n|---|---|"), "{content}");
    assert!(!kinds(&record.blocks.unwrap()).contains(&BlockType::Header));
    for (args, name) in [
        ("--format json --headers drop", "tables"),
        ("--format json --tables markdown", "headers"),
        ("--headers drop --tables markdown", "format"),
    ] {
        let ran = Ran::of(&mut asking(&room, &server, args)).expect(10);
        assert!(ran.stderr.contains(name), "{args}: {}", ran.stderr);
    }
    Ran::of(&mut asking(
        &room,
        &server,
        "--format json --headers drop --tables markdown",
    ))
    .expect(0);
    assert_eq!(server.requests().len(), 1, "all is done");
}

#[test]
fn model_in_this_process_gives_blocks() {
    let room = Room::new();
    let repository = env!("CARGO_MANIFEST_DIR");
    let args = format!(
        "extract {repository}/examples/pages/notice.png --model {repository}/examples/reader --format json"
    );
    let record = Ran::of(&mut room.omnidocs(&args))
        .expect(0)
        .records()
        .remove(0);
    // The toy answers in HTML without places.
    let blocks = record.blocks.unwrap();
    assert_eq!(blocks[0].kind, BlockType::Heading);
    assert_eq!(
        (blocks[0].text.as_str(), blocks[0].bbox),
        ("Open hours", None)
    );
    let content = record.content.unwrap();
    assert!(content.starts_with("# Open hours\n\nMonday"), "{content}");
    assert!(!record.warnings.contains(&Warning::Unparsed));
}

#[test]
fn text_layer_has_paragraphs_with_real_boxes() {
    let room = Room::new();
    let page = String::from_utf8(pdf(&["First page\nof two lines"])).unwrap();
    room.put(
        "turned.pdf",
        page.replace("/MediaBox", "/Rotate 90 /MediaBox"),
    );
    room.put("a.pdf", page);
    let read = |file: &str| {
        room.extract(&format!("{file} --format json"))
            .expect(0)
            .records()
    };
    let record = read("a.pdf").remove(0);
    let blocks = record.blocks.unwrap();
    assert_eq!(kinds(&blocks), [BlockType::Text]);
    assert_eq!(blocks[0].text, "First page\nof two lines");
    assert_eq!(record.content.as_deref(), Some("First page\nof two lines"));
    assert_eq!(record.output_format, OutputFormat::Markdown);
    // The text begins 72 points from the left, and its lines stand 82 and 100 points from the top.
    let [x0, y0, x1, y1] = blocks[0].bbox.unwrap();
    let (left, top, bottom) = (72.0 / 595.0, 82.0 / 842.0, 100.0 / 842.0);
    assert!((x0 - left).abs() < 0.01 && x1 > x0 + 0.05, "{x0} to {x1}");
    assert!(y0 < top && y0 > top - 0.025 && y1 >= bottom && y1 < bottom + 0.01);
    // On the page as it is shown.
    let turned = read("turned.pdf").remove(0).blocks.unwrap();
    let expected = [1.0 - y1, x0, 1.0 - y0, x1];
    for (side, expected) in turned[0].bbox.unwrap().iter().zip(expected) {
        assert!((side - expected).abs() < 2e-4, "{turned:?}");
    }
    let plain = room.extract("a.pdf").expect(0).records();
    assert_eq!(plain[0].blocks, None);
    assert_eq!(plain[0].output_format, OutputFormat::Text);
}

#[test]
fn installed_tesseract_has_paragraphs_with_real_boxes() {
    if Command::new("tesseract").arg("--version").output().is_err() {
        println!("skipped: tesseract is not installed");
        return;
    }
    let room = Room::new();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pages/notice.png");
    let mut command = room.omnidocs("extract --engine tesseract --format json");
    let records = Ran::of(command.arg(page)).expect(0).records();
    let blocks = records[0].blocks.as_ref().unwrap();
    assert_eq!(blocks[0].text, "Open hours");
    let [x0, y0, x1, y1] = blocks[0].bbox.unwrap();
    assert!(x0 < 0.1 && y0 < 0.1 && (0.4..0.6).contains(&x1) && y1 < 0.25);
    assert!(blocks.len() > 2, "{blocks:?}");
    let content = records[0].content.as_deref().unwrap();
    assert!(content.starts_with("Open hours\n\nMonday"), "{content}");
}

#[test]
fn copies_merges_and_views_take_records_with_blocks() {
    let (room, server) = (room(), saying(&[PAGE]));
    fs::copy(room.path("in/a page.png"), room.path("in/copy.png")).unwrap();
    ask(&room, &server, "--format json");
    let records = room.records("out.jsonl");
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].blocks, records[1].blocks);
    assert_eq!(server.requests().len(), 1);
    let run = |args: &str| Ran::of(&mut room.omnidocs(args)).expect(0).stdout;
    run("merge out.jsonl -o merged.jsonl");
    assert_eq!(room.records("merged.jsonl")[0].blocks, records[0].blocks);
    assert!(run("show out.jsonl copy.png").contains("# Yearly report"));
    assert!(run("status out.jsonl").contains("2 ok"));
    run("report out.jsonl -o report.html");
    let html = room.read("report.html");
    assert_eq!(html.matches("<rect ").count(), 2 * 5, "{html}");
    assert!(html.contains("<title>figure</title>"), "{html}");
    run("export out.jsonl --to out");
    let exported = room.read("out/in/copy.png.md");
    assert!(exported.contains("# Yearly report"), "{exported}");
}

#[test]
fn export_cuts_out_figures_and_links_them() {
    let (room, server) = (room(), saying(&[PAGE]));
    ask(&room, &server, "--format json");
    let run = |args: &str| Ran::of(&mut room.omnidocs(args));
    let ran = run("export out.jsonl --to out --figures").expect(0);
    assert!(ran.stderr.contains("; 1 figure\n"), "{}", ran.stderr);
    let text = room.read("out/in/a page.png.md");
    let link = "![](a%20page.png.figures/p0001-1.webp)";
    assert!(text.contains(link), "{text}");
    let figure = image::open(room.path("out/in/a page.png.figures/p0001-1.webp"));
    let figure = figure.unwrap().into_rgb8();
    assert_eq!((figure.width(), figure.height()), (100, 200));
    assert!(figure.pixels().all(|pixel| pixel.0 == [220, 0, 0]));
    // What is there already is left alone.
    let again = run("export out.jsonl --to out --figures").expect(0);
    assert!(
        again.stderr.contains("0 files written, 2 unchanged"),
        "{}",
        again.stderr
    );
    fs::remove_file(room.path("in/a page.png")).unwrap();
    let gone = run("export out.jsonl --to gone --figures").expect(0);
    assert!(
        gone.stderr.contains("0 figures, none of 1 page: "),
        "{}",
        gone.stderr
    );
    assert!(room.path("gone/in/a page.png.md").exists());
    run("export out.jsonl --to out --root in").expect(2);
    run("export out.jsonl --to out --figures --as dolma").expect(2);
}

#[test]
fn records_of_other_programs_with_odd_blocks_are_read() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["First page"]));
    room.extract("a.pdf -o out.jsonl").expect(0);
    let odd = r#""blocks":[{"type":"new","bbox":[0,0,2,1],"text":"x"},{"bbox":["a",0,0,1]},7]"#;
    room.put(
        "out.jsonl",
        room.read("out.jsonl").replace("\"blocks\":null", odd),
    );
    let record = room.records("out.jsonl").pop().unwrap();
    assert_eq!(record.status, Status::Ok);
    let other = Block::new(BlockType::Other, "");
    let first = Block {
        text: "x".to_owned(),
        bbox: Some([0.0, 0.0, 1.0, 1.0]),
        ..other.clone()
    };
    assert_eq!(record.blocks, Some(vec![first, other.clone(), other]));
}
