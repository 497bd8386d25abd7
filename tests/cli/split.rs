//! Large and long pages, which are read in parts.

use std::time::Duration;

use image::{Rgb, RgbImage, imageops};
use omnidocs::{
    page::Warning,
    record::{Record, Status},
};

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room, pdf_of},
};

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pages");
const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reader");

/// A PDF with one page of that size in points, on which lines are written in Helvetica: (x, y from the top, size, text).
fn written(width: u32, height: u32, lines: &[(u32, u32, u32, String)]) -> Vec<u8> {
    let drawn: String = lines
        .iter()
        .map(|(x, y, size, text)| {
            let y = height - y;
            format!("BT /F {size} Tf 1 0 0 1 {x} {y} Tm ({text}) Tj ET\n")
        })
        .collect();
    pdf_of(&[
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents 4 0 R /Resources << /Font << /F << \
             /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
        ),
        format!("<< /Length {} >>\nstream\n{drawn}\nendstream", drawn.len()),
    ])
}

/// What is recorded of a file that a server reads, at the usual size of pages.
#[track_caller]
fn read(room: &Room, server: &ChatServer, code: i32, args: &str) -> Record {
    let url = server.url();
    let args =
        format!("extract in -o out.jsonl --engine server --server-url {url} --retries 0 {args}");
    Ran::of(&mut room.omnidocs(&args)).expect(code);
    room.records("out.jsonl").pop().unwrap()
}

#[test]
fn long_page_is_read_in_parts_and_nothing_of_it_is_lost() {
    let room = Room::new();
    let names = [
        "notice.png",
        "scan.jpg",
        "notice.png",
        "scan.jpg",
        "scan.jpg",
        "notice.png",
    ];
    let names: Vec<_> = names.iter().cycle().take(14).collect();
    let mut receipt = RgbImage::from_pixel(448, 1, Rgb([255; 3]));
    let mut expected = Vec::new();
    for name in names {
        let page = image::open(format!("{PAGES}/{name}")).unwrap().to_rgb8();
        let top = receipt.height();
        let mut longer = RgbImage::from_pixel(448, top + page.height(), Rgb([255; 3]));
        imageops::replace(&mut longer, &receipt, 0, 0);
        imageops::replace(&mut longer, &page, 0, top.into());
        receipt = longer;
        let alone = format!("extract {PAGES}/{name} --model {READER} -q");
        let record = Ran::of(&mut room.omnidocs(&alone))
            .expect(0)
            .records()
            .remove(0);
        expected.extend(
            record
                .content
                .unwrap()
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        );
    }
    receipt.save(room.path("receipt.png")).unwrap();
    let args = format!("extract receipt.png --model {READER} -q");
    let record = Ran::of(&mut room.omnidocs(&args))
        .expect(0)
        .records()
        .remove(0);
    assert!(
        record.parts.is_some_and(|parts| parts >= 3),
        "{:?}",
        record.parts
    );
    let width = record.width.unwrap();
    // A letter or two may be read otherwise beside other lines.
    let words: Vec<_> = record
        .content
        .as_deref()
        .unwrap()
        .split_whitespace()
        .collect();
    let wrong = strsim::generic_levenshtein(
        &words,
        &expected.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    assert!(
        20 * wrong <= expected.len(),
        "{wrong} of {} words: {words:?}",
        expected.len()
    );

    let whole = format!("{args} --split off");
    let record = Ran::of(&mut room.omnidocs(&whole))
        .expect(0)
        .records()
        .remove(0);
    assert_eq!(record.parts, None);
    assert!(record.width < Some(width));
}

#[test]
fn page_of_small_print_is_seen_large_enough_in_parts() {
    let room = Room::new();
    // A newspaper's page, and one of usual size.
    let lines = (0..120).map(|line| {
        (
            60,
            60 + 13 * line,
            9,
            "one of the many lines of a newspaper ".repeat(6),
        )
    });
    room.put(
        "in/news.pdf",
        written(1100, 1640, &lines.collect::<Vec<_>>()),
    );
    let server = ChatServer::new();
    let record = read(&room, &server, 0, "");
    let parts = record.parts.expect("it is read in parts");
    assert!((2..=6).contains(&parts), "{parts}");
    let pages: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| format!("page {}", request.page))
        .collect();
    assert_eq!(pages.len(), parts);
    let content = record.content.unwrap();
    assert!(pages.iter().all(|page| content.contains(page)), "{content}");
    assert!(!record.warnings.contains(&Warning::LargeImage));
    let pixels = record.width.unwrap() * record.height.unwrap();
    assert!(pixels > 3_000_000, "{pixels}");

    let record = read(&room, &server, 0, "--split off --restart");
    assert_eq!((record.parts, record.status), (None, Status::Ok));
    assert!(record.width.unwrap() * record.height.unwrap() <= 2_097_152);
}

#[test]
fn page_of_usual_print_is_read_whole() {
    let room = Room::new();
    let lines = (0..60).map(|line| (60, 60 + 12 * line, 9, "some words of a letter ".repeat(5)));
    room.put(
        "in/letter.pdf",
        written(595, 842, &lines.collect::<Vec<_>>()),
    );
    let record = read(&room, &ChatServer::new(), 0, "");
    assert_eq!(record.parts, None);
    // A large sheet with large print.
    let lines = (0..20).map(|line| (200, 200 + 150 * line, 60, "a poster".to_owned()));
    room.put(
        "in/letter.pdf",
        written(2384, 3370, &lines.collect::<Vec<_>>()),
    );
    let record = read(&room, &ChatServer::new(), 0, "--restart");
    assert_eq!(record.parts, None);
}

#[test]
fn page_of_which_a_part_fails_has_failed_and_is_read_again() {
    let room = Room::new();
    let receipt = RgbImage::from_fn(300, 3000, |x, y| {
        Rgb(if y % 30 < 12 && x % 11 < 7 {
            [0; 3]
        } else {
            [255; 3]
        })
    });
    std::fs::create_dir(room.path("in")).unwrap();
    receipt.save(room.path("in/receipt.png")).unwrap();
    let server = ChatServer::with(Duration::ZERO, |n, _| {
        if n == 1 {
            Reply::Status(422, String::new(), "no".to_owned())
        } else {
            Reply::Text
        }
    });
    let record = read(&room, &server, 3, "--concurrency 1");
    assert_eq!((record.status, record.parts), (Status::Failed, None));
    let message = record.error.unwrap().message;
    assert!(message.starts_with("part 2 of 4: "), "{message}");
    let record = read(&room, &server, 0, "--retry failed");
    assert_eq!((record.status, record.parts), (Status::Ok, Some(4)));
}

#[test]
fn resume_refuses_another_split() {
    let room = Room::new();
    room.put(
        "in/letter.pdf",
        written(595, 842, &[(60, 60, 12, "a letter".to_owned())]),
    );
    let server = ChatServer::new();
    read(&room, &server, 0, "");
    let url = server.url();
    let args = format!("extract in -o out.jsonl --engine server --server-url {url} --split off");
    let refused = Ran::of(&mut room.omnidocs(&args)).expect(10);
    let line = "split: \"auto\" recorded, null now";
    assert!(refused.stderr.contains(line), "{}", refused.stderr);
}
