//! Pages that are read in parts.

use std::sync::Arc;

use image::{Rgb, RgbImage};
use omnidocs::{
    block::{Block, BlockType},
    cancel::Cancel,
    confidence::Confidence,
    engine::{Engine, scheduler::Scheduler, split::Split},
    error::ErrorKind,
    page::{FinishReason, Joint, PageAnswer, PageOutcome, Part, PixelBudget, PreparedPage},
};

use crate::{
    POLICY, answer, content, page, run,
    scripted::{Scripted, error},
    stop,
};

const BUDGET: PixelBudget = PixelBudget {
    factor: 32,
    min_pixels: 1024,
    max_pixels: 640 * 640,
};

/// A page of three parts below each other: 640 × 1600 pixels.
fn long_page(number: u64, joint: Joint) -> PreparedPage {
    let shared = match joint {
        Joint::Overlap(rows) => rows,
        _ => 0,
    };
    let parts = [0, 500, 1000].map(|top: u32| Part {
        area: [0, top.saturating_sub(shared), 640, (top + 600).min(1600)],
        joint: if top == 0 { Joint::Paragraph } else { joint },
    });
    PreparedPage {
        pixels: Some(Arc::new(RgbImage::from_pixel(640, 1600, Rgb([9; 3])))),
        parts: parts.to_vec(),
        ..page(number)
    }
}

fn read(reader: Scripted, pages: Vec<PreparedPage>) -> Vec<PageOutcome> {
    let engine = Box::new(Scheduler::new(reader, POLICY));
    run(&mut Split::new(engine, BUDGET, &Cancel::default()), pages)
}

#[test]
fn parts_are_read_one_by_one_and_joined_in_order() {
    let answers = ["one", "two", "three"].map(|text| {
        Ok(PageAnswer {
            completion_tokens: Some(10),
            prompt_tokens: Some(70),
            confidence: Confidence::of(&[-0.1]),
            ..stop(text)
        })
    });
    let mut reader = Scripted::of(answers.into_iter().chain([Ok(stop("whole"))]));
    reader.slots = 1;
    let calls = Arc::clone(&reader.calls);
    let outcomes = read(reader, vec![long_page(1, Joint::Line), page(2)]);
    assert_eq!(outcomes.len(), 2);
    assert_eq!(content(&outcomes[0]), Ok("one\ntwo\nthree"));
    assert_eq!((outcomes[0].id.0, outcomes[0].size), (1, Some((640, 1600))));
    let answer = outcomes[0].result.as_ref().unwrap();
    assert_eq!(
        (answer.parts, answer.prompt_tokens, answer.completion_tokens),
        (Some(3), Some(210), Some(30))
    );
    assert_eq!(answer.confidence, Confidence::of(&[-0.1]));
    assert_eq!((outcomes[1].id.0, content(&outcomes[1])), (2, Ok("whole")));
    assert_eq!(outcomes[1].result.as_ref().unwrap().parts, None);
    let calls = calls.lock().unwrap();
    let sizes: Vec<_> = calls.iter().map(|call| call.pages[0].1).collect();
    assert_eq!(sizes, [(640, 608), (640, 608), (640, 608), (640, 640)]);
}

#[test]
fn parts_of_several_pages_are_read_together() {
    let mut reader = Scripted::new(|_, _| Ok(stop("text")));
    reader.slots = 4;
    let calls = Arc::clone(&reader.calls);
    let pages = vec![
        long_page(1, Joint::Paragraph),
        long_page(2, Joint::Paragraph),
    ];
    let outcomes = read(reader, pages);
    assert_eq!(outcomes.len(), 2);
    for outcome in &outcomes {
        assert_eq!(content(outcome), Ok("text\n\ntext\n\ntext"));
    }
    let together: Vec<_> = calls
        .lock()
        .unwrap()
        .iter()
        .map(|call| call.pages.len())
        .collect();
    assert_eq!(together, [4, 2]);
}

#[test]
fn part_that_fails_fails_its_page_and_no_more_of_it_is_read() {
    let results = [
        Ok(stop("one")),
        Err(error(ErrorKind::Engine)),
        Ok(stop("next page")),
    ];
    let outcomes = read(
        Scripted::of(results),
        vec![long_page(1, Joint::Line), page(2)],
    );
    assert_eq!(content(&outcomes[0]), Err(ErrorKind::Engine));
    let message = &outcomes[0].result.as_ref().unwrap_err().message;
    assert!(message.starts_with("part 2 of 3: "), "{message}");
    assert_eq!(content(&outcomes[1]), Ok("next page"));
}

#[test]
fn part_that_is_cut_off_shows_in_the_whole() {
    let cut = |text: &str, reason| Ok(answer(text, reason));
    let results = [
        cut("a", FinishReason::Length),
        cut("a", FinishReason::Length),
        cut("b", FinishReason::Stop),
        cut("c", FinishReason::Stop),
    ];
    let outcome = read(Scripted::of(results), vec![long_page(1, Joint::Line)]).remove(0);
    let answer = outcome.result.unwrap();
    assert_eq!(answer.finish_reason, Some(FinishReason::Length));
    assert_eq!((answer.content.as_str(), outcome.attempts), ("a\nb\nc", 2));
}

#[test]
fn blocks_of_parts_have_their_boxes_on_the_page() {
    let block = |text: &str, top: f64, bottom: f64| Block {
        bbox: Some([0.0, top, 1.0, bottom]),
        ..Block::new(BlockType::Text, text)
    };
    let answer = |blocks: Vec<Block>| {
        Ok(PageAnswer {
            blocks: Some(blocks),
            ..stop("text")
        })
    };
    let shared = "a paragraph that is cut into two pieces";
    let results = [
        answer(vec![
            block("first", 0.0, 0.5),
            block(&format!("{shared} he"), 0.6, 1.0),
        ]),
        answer(vec![
            block(&format!("{shared} here and goes on"), 0.0, 0.5),
            block("below", 0.6, 0.7),
        ]),
        answer(vec![
            block("seen twice", 0.0, 0.05),
            block("last", 0.5, 1.0),
        ]),
    ];
    let page = long_page(1, Joint::Overlap(200));
    assert_eq!(page.parts[1].area, [0, 300, 640, 1100]);
    let outcome = read(Scripted::of(results), vec![page]).remove(0);
    let blocks = outcome.result.unwrap().blocks.unwrap();
    let seen: Vec<_> = blocks.iter().map(|block| block.text.as_str()).collect();
    let joined = format!("{shared} here and goes on");
    assert_eq!(seen, ["first", &joined, "below", "last"]);
    let places = [
        [0.0, 0.1875],
        [0.1875, 0.4375],
        [0.4875, 0.5375],
        [0.75, 1.0],
    ];
    for (block, [top, bottom]) in blocks.iter().zip(places) {
        assert_eq!(block.bbox, Some([0.0, top, 1.0, bottom]), "{}", block.text);
    }
}

#[test]
fn page_of_which_parts_are_missing_at_the_end_of_a_run_is_left() {
    let cancel = Cancel::default();
    let stop_after_one = cancel.clone();
    let reader = Scripted::new(move |_, _| {
        stop_after_one.cancel(omnidocs::cancel::Reason::Stopped);
        Ok(stop("one"))
    });
    let engine = Box::new(Scheduler::new(reader, POLICY));
    let mut split = Split::new(engine, BUDGET, &cancel);
    let engine: &mut dyn Engine = &mut split;
    assert!(run(engine, vec![long_page(1, Joint::Line)]).is_empty());
}
