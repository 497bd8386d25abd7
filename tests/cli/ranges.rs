//! Pages that a document claims and does not have.

use omnidocs::record::{Record, Status};

use crate::common::{Ran, Room, pdf};

const OUT: &str = "out.jsonl";

/// A PDF with one page that claims so many.
fn claiming(pages: u32) -> Vec<u8> {
    let text = String::from_utf8(pdf(&["one"])).unwrap();
    text.replace("/Count 1 ", &format!("/Count {pages} "))
        .into_bytes()
}

fn places(records: &[Record]) -> Vec<(u32, Option<u32>, Status)> {
    let places = records.iter();
    places
        .map(|it| (it.page, it.last_page, it.status))
        .collect()
}

#[test]
fn pages_that_are_not_there_are_one_record() {
    let room = Room::new();
    room.put("in/a.pdf", claiming(700_000))
        .put("in/b.pdf", claiming(700_000));
    let ran = room.extract("in -o out.jsonl").expect(3);
    let records = room.records(OUT);
    let expected = [(1, None, Status::Ok), (2, Some(700_000), Status::Failed)];
    assert_eq!(places(&records), [expected, expected].concat());
    assert_eq!(records[1].page_count, Some(700_000));
    for words in [
        "2 ok (1 copied), 1,399,998 failed",
        "failed    in/a.pdf, page 2 and 699,998 more: the document claims these pages",
    ] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    let before = room.read(OUT);
    let again = room.extract("in -o out.jsonl").expect(3);
    assert!(
        again
            .stderr
            .contains("before    1,400,000 pages: 2 ok, 1,399,998 failed"),
        "{}",
        again.stderr
    );
    assert_eq!(room.read(OUT), before);
    let merged = Ran::of(&mut room.omnidocs("merge out.jsonl")).expect(0);
    assert!(
        merged
            .stderr
            .contains("merged    1,400,000 pages of 2 documents")
            && merged.stderr.contains("1,399,998 of them failed"),
        "{}",
        merged.stderr
    );
    assert_eq!(merged.stdout, before);
    room.extract("in -o out.jsonl --retry failed").expect(3);
    assert_eq!(places(&room.records(OUT))[4..], [expected[1], expected[1]]);
}

#[test]
fn only_selected_pages_of_a_range_count() {
    let room = Room::new();
    room.put("a.pdf", claiming(1_000));
    room.extract("a.pdf -o out.jsonl --pages 1").expect(0);
    let ran = room.extract("a.pdf -o out.jsonl --pages 5-7,20").expect(3);
    assert!(ran.stderr.contains("0 ok, 4 failed"), "{}", ran.stderr);
    let expected = [(1, None, Status::Ok), (2, Some(1_000), Status::Failed)];
    assert_eq!(places(&room.records(OUT)), expected);
    room.extract("a.pdf -o out.jsonl --pages 1").expect(0);
    let ran = room.extract("a.pdf -o out.jsonl --pages 1-2").expect(3);
    assert!(
        ran.stderr.contains("before    2 pages: 1 ok, 1 failed"),
        "{}",
        ran.stderr
    );
    room.extract("a.pdf -o out.jsonl").expect(3);
    assert_eq!(places(&room.records(OUT)), expected);
    let dry = room.extract("a.pdf --dry-run").expect(0);
    assert!(
        dry.stdout.contains("a.pdf: 1 of 1000 pages"),
        "{}",
        dry.stdout
    );
}

#[test]
fn one_page_that_is_not_there_has_no_range() {
    let room = Room::new();
    room.put("a.pdf", claiming(2));
    room.extract("a.pdf -o out.jsonl").expect(3);
    assert_eq!(
        places(&room.records(OUT)),
        [(1, None, Status::Ok), (2, None, Status::Failed)]
    );
}

#[test]
fn pages_failed_one_by_one_are_not_failed_again() {
    let room = Room::new();
    room.put("a.pdf", claiming(9));
    room.extract("a.pdf -o out.jsonl").expect(3);
    // As a killed run of an earlier version left them.
    let lines = room.read(OUT);
    let (one, range) = lines.split_once('\n').unwrap();
    let single = |page: u32| {
        range.replace(
            "\"page\":2,\"last_page\":9",
            &format!("\"page\":{page},\"last_page\":null"),
        )
    };
    room.put(OUT, format!("{one}\n{}{}", single(2), single(3)));
    let ran = room.extract("a.pdf -o out.jsonl").expect(3);
    let last = room.records(OUT).pop().unwrap();
    assert_eq!((last.page, last.last_page), (4, Some(9)));
    assert!(
        ran.stderr.contains("before    3 pages: 1 ok, 2 failed"),
        "{}",
        ran.stderr
    );
    let ran = room.extract("a.pdf -o out.jsonl").expect(3);
    assert!(
        ran.stderr.contains("before    9 pages: 1 ok, 8 failed"),
        "{}",
        ran.stderr
    );
    assert_eq!(room.records(OUT).len(), 4);
}
