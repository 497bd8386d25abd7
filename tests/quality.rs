//! The figures of `cargo bench --bench quality` mean what they say, and the reader in `examples/reader` keeps its own.

mod common;
#[allow(dead_code, reason = "the bench uses all of it")]
#[path = "../benches/quality/faces.rs"]
mod faces;
#[allow(dead_code, reason = "the bench uses all of it")]
#[path = "../benches/quality/pages.rs"]
mod pages;
#[path = "../benches/quality/scores.rs"]
mod scores;
#[path = "../benches/quality/sheet.rs"]
mod sheet;
#[allow(dead_code, reason = "the bench uses all of it")]
#[path = "../benches/quality/stack.rs"]
mod stack;

use common::{Ran, Room};
use omnidocs::models::pixel_budget;
use stack::Stack;

use scores::{
    Share, cells, characters, differences, headings, printed, separation, with_interval, words,
};

const TABLE: &str = "| item | cost |\n|---|---|\n| tea | 2.50 |";

fn share(part: u8, whole: u8) -> Share {
    let (part, whole) = (part.into(), whole.into());
    Share { part, whole }
}

#[test]
fn character_errors_ignore_white_space() {
    assert_eq!(characters("kitten", "sitting"), share(3, 6));
    assert_eq!(characters("# über\n\n two", "# über two"), share(0, 10));
    assert_eq!(characters("four", ""), share(4, 4));
    assert_eq!(
        characters(TABLE, &TABLE.replace("---", " :--- ")),
        share(0, 36)
    );
}

#[test]
fn a_word_is_right_or_wrong_as_a_whole() {
    assert_eq!(words("# a fine day", "# a fime  day"), share(1, 4));
    assert_eq!(words("two words", "two more\nwords"), share(1, 2));
    assert_eq!(words("two words", ""), share(2, 2));
}

#[test]
fn marks_of_markdown_and_bullets_are_not_printed() {
    assert_eq!(
        printed("# Tea\n\n- one\n- two", "Tea\n• one\ntwo"),
        share(0, 11)
    );
    assert_eq!(printed(TABLE, "item cost\ntea 2.60"), share(1, 18));
    assert_eq!(printed("two - three", "- two three"), share(2, 11));
}

#[test]
fn a_heading_counts_with_its_level_and_each_once() {
    let truth = "# Tea\n\ntext\n\n## Cake\n\n## Cake";
    assert_eq!(headings(truth, truth), share(6, 6));
    assert_eq!(headings(truth, "# Tea\n## Cake"), share(4, 5));
    assert_eq!(headings(truth, "## Tea\n#Cake"), share(0, 4));
    assert_eq!(headings("text", "text"), share(0, 0));
}

#[test]
fn a_cell_counts_at_its_place_alone() {
    assert_eq!(cells(TABLE, TABLE), share(8, 8));
    assert_eq!(
        cells(TABLE, "| item | cost |\n| --- | --- |\n|tea|2.5|"),
        share(6, 8)
    );
    assert_eq!(
        cells(TABLE, "| cost | item |\n|---|---|\n| tea | 2.50 |"),
        share(4, 8)
    );
    assert_eq!(cells(&format!("{TABLE}\n\n{TABLE}"), TABLE), share(8, 12));
    assert_eq!(cells(TABLE, "item cost\ntea 2.50"), share(0, 4));
    assert_eq!(cells("item cost\ntea 2.50", TABLE), share(0, 4));
}

#[test]
fn an_interval_is_as_wide_as_the_pages_differ() {
    let (share_of_all, interval) = with_interval(&[share(1, 10); 20]).unwrap();
    assert!((share_of_all - 0.1).abs() < 1e-9 && interval.end - interval.start < 1e-9);
    // Of 100 fair coins, 95 % of all throws show 40 to 60 heads.
    let coins: Vec<Share> = (0..100).map(|coin| share(coin % 2, 1)).collect();
    let (share_of_all, interval) = with_interval(&coins).unwrap();
    assert!((share_of_all - 0.5).abs() < 1e-9);
    assert!((0.38..0.42).contains(&interval.start), "{interval:?}");
    assert!((0.58..0.62).contains(&interval.end), "{interval:?}");
    assert_eq!(with_interval(&[share(0, 0)]), None);
}

#[test]
fn pages_are_weighed_by_their_length_and_compared_one_by_one() {
    let (plain, other) = ([share(1, 10), share(3, 90)], [share(2, 10), share(3, 90)]);
    let (of_plain, _) = with_interval(&plain).unwrap();
    let (more, _) = with_interval(&differences(&plain, &other)).unwrap();
    assert!((of_plain - 0.04).abs() < 1e-9 && (more - 0.01).abs() < 1e-9);
}

#[test]
fn separation_is_the_share_of_pairs_in_the_right_order() {
    let pages = |pairs: &[(f64, bool)]| separation(pairs);
    assert_eq!(pages(&[(-2.0, true), (-1.0, false)]), Some(1.0));
    assert_eq!(pages(&[(-1.0, true), (-2.0, false)]), Some(0.0));
    assert_eq!(pages(&[(-1.0, true), (-1.0, false)]), Some(0.5));
    let mixed = [(-3.0, true), (-1.0, true), (-2.0, false), (-0.5, false)];
    assert_eq!(pages(&mixed), Some(0.75));
    assert_eq!(pages(&[(-1.0, false)]), None);
}

#[test]
fn every_word_of_the_pages_is_held_out_of_the_training() {
    let words: Vec<&str> = include_str!("../benches/quality/words.txt")
        .split_whitespace()
        .collect();
    assert!(words.len() > 300);
    // The rule of `examples/reader/pages.py`.
    for word in words {
        assert_eq!(crc32fast::hash(word.as_bytes()) % 20, 0, "{word}");
    }
}

/// Pages of the reader's own sizes, in the faces that PDFium has everywhere: the share of characters that may be wrong.
/// Better weights come with lower floors.
const FLOORS: [((u32, u32), f64); 5] = [
    ((160, 32), 0.06),
    ((256, 64), 0.03),
    ((320, 128), 0.03),
    ((448, 224), 0.04),
    ((640, 448), 0.05),
];

#[test]
fn the_reader_reads_pages_that_it_was_never_trained_on() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reader");
    let limit = pixel_budget(model.as_ref()).unwrap();
    for ((width, height), floor) in FLOORS {
        assert!((limit.min_pixels..=limit.max_pixels).contains(&u64::from(width * height)));
        let stack = Stack::new((width, height), 8, faces::others());
        let room = Room::new();
        stack.write_pdf(&room.path("pages.pdf"));
        let mut command =
            room.omnidocs("extract pages.pdf --dpi 72 --draft off --device cpu --dtype f32");
        let records = Ran::of(command.args(["--model", model]))
            .expect(0)
            .records();
        let shares = records.iter().map(|record| {
            let truth = &stack.pages[record.page as usize - 1].markdown;
            characters(truth, record.content.as_deref().unwrap())
        });
        let (wrong, _) = with_interval(&shares.collect::<Vec<_>>()).unwrap();
        assert!(wrong < floor, "{width}x{height}: {wrong}");
    }
}
