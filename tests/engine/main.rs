//! What becomes of a page that an engine fails on, shown with engines that fail on purpose.

mod scripted;
mod split;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use image::{Rgb, RgbImage};
use omnidocs::{
    engine::{
        Engine, OneSlot, SingleReader,
        fallback::Fallback,
        scheduler::{Policy, Scheduler},
        text_layer::TextLayer,
    },
    error::ErrorKind,
    options::OutputFormat,
    page::{FinishReason, Needs, PageAnswer, PageId, PageOutcome, PageText, PreparedPage, Warning},
    source::Ready,
};

use crate::scripted::{Call, Scripted, error};

const POLICY: Policy = Policy {
    retries: 2,
    page_timeout: Duration::from_secs(60),
    factor: 32,
};

fn page(number: u64) -> PreparedPage {
    PreparedPage {
        id: PageId(number),
        pixels: Some(Arc::new(RgbImage::from_pixel(640, 640, Rgb([9; 3])))),
        original: Some((640, 640)),
        ..PreparedPage::default()
    }
}

fn answer(content: &str, finish_reason: FinishReason) -> PageAnswer {
    PageAnswer {
        content: content.to_owned(),
        finish_reason: Some(finish_reason),
        ..PageAnswer::default()
    }
}

fn stop(content: &str) -> PageAnswer {
    answer(content, FinishReason::Stop)
}

fn run(engine: &mut dyn Engine, pages: Vec<PreparedPage>) -> Vec<PageOutcome> {
    let mut outcomes = Vec::new();
    engine
        .run(&mut Ready(pages.into_iter()), &mut |outcome| {
            outcomes.push(outcome);
            Ok(())
        })
        .unwrap();
    outcomes
}

/// What becomes of one page, and what the engine was asked on the way.
fn read_one(reader: Scripted, policy: Policy) -> (PageOutcome, Vec<Call>) {
    let calls = Arc::clone(&reader.calls);
    let outcome = run(&mut Scheduler::new(reader, policy), vec![page(1)]).remove(0);
    let calls = calls.lock().unwrap().clone();
    (outcome, calls)
}

fn content(outcome: &PageOutcome) -> Result<&str, ErrorKind> {
    let result = outcome.result.as_ref();
    result
        .map(|answer| answer.content.as_str())
        .map_err(|error| error.kind)
}

#[test]
fn transient_errors_are_retried_and_others_are_not() {
    for (kind, attempts) in [
        (ErrorKind::Server, 3),
        (ErrorKind::Crashed, 3),
        (ErrorKind::Engine, 1),
        (ErrorKind::Timeout, 1),
    ] {
        let (outcome, calls) = read_one(Scripted::new(move |_, _| Err(error(kind))), POLICY);
        assert_eq!(content(&outcome), Err(kind));
        assert_eq!(
            (outcome.attempts, calls.len()),
            (attempts, attempts as usize)
        );
    }
    let results = [Err(error(ErrorKind::Crashed)), Ok(stop("read"))];
    let (outcome, _) = read_one(Scripted::of(results), POLICY);
    assert_eq!((content(&outcome), outcome.attempts), (Ok("read"), 2));
    assert_eq!(outcome.warnings, []);
}

#[test]
fn engine_panic_fails_one_page() {
    let mut first = true;
    let reader = Scripted::new(move |_, _| {
        assert!(!std::mem::take(&mut first), "index out of bounds");
        Ok(stop("read"))
    });
    let policy = Policy {
        retries: 0,
        ..POLICY
    };
    let outcomes = run(&mut Scheduler::new(reader, policy), vec![page(1), page(2)]);
    assert_eq!(content(&outcomes[0]), Err(ErrorKind::Crashed));
    let message = &outcomes[0].result.as_ref().unwrap_err().message;
    assert!(message.contains("index out of bounds"), "{message}");
    assert_eq!(content(&outcomes[1]), Ok("read"));
}

#[test]
fn out_of_memory_reduces_the_batch_then_the_pixels() {
    // Memory for two pages at a time, and for page 3 only at half its size.
    let mut reader = Scripted::new(|pages, _| {
        let pixels = |page: &PreparedPage| page.pixels.as_ref().unwrap().len() / 3;
        let huge = pages
            .iter()
            .any(|page| page.id == PageId(3) && pixels(page) > 640 * 640 / 2);
        if pages.len() > 2 || huge {
            return Err(error(ErrorKind::OutOfMemory));
        }
        Ok(stop("read"))
    });
    reader.slots = 4;
    let calls = Arc::clone(&reader.calls);
    let pages = (1..=6).map(page).collect();
    let outcomes = run(&mut Scheduler::new(reader, POLICY), pages);
    let together: Vec<Vec<u64>> = calls
        .lock()
        .unwrap()
        .iter()
        .map(|call| call.pages.iter().map(|page| page.0).collect())
        .collect();
    assert_eq!(
        together,
        [
            vec![1, 2, 3, 4],
            // Halves of it from now on …
            vec![1, 2],
            vec![3, 4],
            // … and one by one, the third page at fewer pixels each time.
            vec![3],
            vec![3],
            vec![3],
            vec![4],
            vec![5],
            vec![6],
        ]
    );
    let mut ids: Vec<_> = outcomes.iter().map(|outcome| outcome.id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    for outcome in &outcomes {
        assert_eq!(content(outcome), Ok("read"));
        let shrunk = outcome.id == PageId(3);
        let warnings: &[_] = if shrunk {
            &[Warning::DownscaledAfterOom]
        } else {
            &[]
        };
        assert_eq!(outcome.warnings, warnings, "{:?}", outcome.id);
        assert_eq!(
            outcome.size,
            Some(if shrunk { (416, 416) } else { (640, 640) })
        );
    }
}

#[test]
fn out_of_memory_page_is_read_after_the_others() {
    let mut reader = Scripted::new(|_, _| Ok(stop("read")));
    reader.slots = 4;
    reader.refuses = Some((3, 2));
    let calls = Arc::clone(&reader.calls);
    let outcomes = run(
        &mut Scheduler::new(reader, POLICY),
        (1..=5).map(page).collect(),
    );
    let ids: Vec<_> = outcomes.iter().map(|outcome| outcome.id.0).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    assert!(
        outcomes
            .iter()
            .all(|outcome| content(outcome) == Ok("read"))
    );
    let sizes: Vec<_> = calls
        .lock()
        .unwrap()
        .iter()
        .map(|call| call.pages.len())
        .collect();
    assert_eq!(sizes, [2, 2, 1], "two at a time from then on");
}

#[test]
fn page_given_up_for_memory_in_a_step_is_read_again_whole() {
    let mut reader = Scripted::new(|_, _| Ok(stop("read")));
    reader.slots = 4;
    reader.room = 2;
    let calls = Arc::clone(&reader.calls);
    let pages = (1..=5).map(page).collect();
    let outcomes = run(&mut Scheduler::new(reader, POLICY), pages);
    let ids: Vec<_> = outcomes.iter().map(|outcome| outcome.id.0).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    for outcome in &outcomes {
        assert_eq!((content(outcome), outcome.attempts), (Ok("read"), 1));
        assert_eq!(
            (outcome.size, &outcome.warnings),
            (Some((640, 640)), &vec![])
        );
    }
    let together: Vec<_> = calls
        .lock()
        .unwrap()
        .iter()
        .map(|call| call.pages.len())
        .collect();
    assert_eq!(together, [2, 2, 1], "two at a time from then on");
}

#[test]
fn out_of_memory_shrinks_the_page_twice_then_fails() {
    let (outcome, calls) = read_one(
        Scripted::new(|_, _| Err(error(ErrorKind::OutOfMemory))),
        POLICY,
    );
    assert_eq!(content(&outcome), Err(ErrorKind::OutOfMemory));
    assert_eq!(outcome.warnings, [Warning::DownscaledAfterOom]);
    let sizes: Vec<_> = calls.iter().map(|call| call.pages[0].1).collect();
    assert_eq!(sizes, [(640, 640), (512, 512), (416, 416)]);
    for pair in sizes.windows(2) {
        let pixels = |(width, height): (u32, u32)| f64::from(width * height);
        assert!(pixels(pair[1]) <= 0.7 * pixels(pair[0]));
    }
    assert_eq!(outcome.attempts, 3);
}

#[test]
fn broken_engine_ends_the_run_after_its_page() {
    for (slots, wanted) in [
        (1, vec![(1, Ok("read")), (2, Err(ErrorKind::Engine))]),
        // Which page of these it was can't be known; one of them has to be behind the next run.
        (3, vec![(1, Err(ErrorKind::Engine))]),
    ] {
        let mut reader = Scripted::new(move |pages, _| {
            if pages.iter().any(|page| page.id.0 == 2) || pages.len() == 1 && slots > 1 {
                Err(error(ErrorKind::Engine))
            } else {
                Ok(stop("read"))
            }
        });
        reader.slots = slots;
        reader.breaks_at = Some(2);
        let mut outcomes = Vec::new();
        let ended =
            Scheduler::new(reader, POLICY).run(&mut Ready((1..=5).map(page)), &mut |outcome| {
                outcomes.push(outcome);
                Ok(())
            });
        assert_eq!(ended.unwrap_err().to_string(), "the device is lost");
        let found: Vec<_> = outcomes
            .iter()
            .map(|outcome| (outcome.id.0, content(outcome)))
            .collect();
        assert_eq!(found, wanted);
    }
}

#[test]
fn looped_or_cut_answer_is_resampled_once() {
    use FinishReason::{Length, Repetition, Stop};
    for (first, second, kept) in [
        (Repetition, Stop, "second"),
        (Length, Stop, "second"),
        (Repetition, Length, "second"),
        (Repetition, Repetition, "first"),
        (Length, Length, "first"),
        (Length, Repetition, "first"),
    ] {
        let results = [Ok(answer("first", first)), Ok(answer("second", second))];
        let (outcome, calls) = read_one(Scripted::of(results), POLICY);
        assert_eq!(content(&outcome), Ok(kept), "{first:?}, {second:?}");
        assert_eq!(outcome.attempts, 2);
        let looks: Vec<_> = calls.iter().map(|call| call.resample).collect();
        assert_eq!(looks, [false, true]);
    }
    // A second look that fails leaves the first answer.
    let results = [Ok(answer("first", Length)), Err(error(ErrorKind::Timeout))];
    let (outcome, _) = read_one(Scripted::of(results), POLICY);
    assert_eq!(content(&outcome), Ok("first"));
    // No retries, no second look.
    let policy = Policy {
        retries: 0,
        ..POLICY
    };
    let (outcome, calls) = read_one(Scripted::of([Ok(answer("first", Length))]), policy);
    assert_eq!((content(&outcome), calls.len()), (Ok("first"), 1));
}

#[test]
fn all_attempts_at_a_page_share_its_deadline() {
    let deadlines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&deadlines);
    let reader = Scripted::new(move |_, attempt| {
        seen.lock().unwrap().push(attempt.deadline);
        Err(error(ErrorKind::Crashed))
    });
    let begin = Instant::now();
    read_one(reader, POLICY);
    let deadlines = deadlines.lock().unwrap();
    assert_eq!(deadlines.len(), 3);
    assert!(deadlines.iter().all(|deadline| *deadline == deadlines[0]));
    assert!(deadlines[0] >= begin + POLICY.page_timeout);
}

fn fallback(first: Scripted, second: impl SingleReader + 'static) -> Fallback {
    let needs = second.needs();
    let load = Box::new(move || -> anyhow::Result<Box<dyn Engine>> {
        Ok(Box::new(Scheduler::new(OneSlot::new(second), POLICY)))
    });
    Fallback::new(Box::new(Scheduler::new(first, POLICY)), load, needs)
}

fn with_text(page: PreparedPage, text: &str) -> PreparedPage {
    PreparedPage {
        text: Some(PageText::from(text.to_owned())),
        ..page
    }
}

#[test]
fn fallback_reads_failed_pages_and_names_itself() {
    let first = Scripted::new(|pages, _| match pages[0].id.0 {
        2..=4 => Err(error(ErrorKind::Engine)),
        _ => Ok(stop("first")),
    });
    let mut engine = fallback(first, TextLayer::default());
    assert_eq!(
        engine.needs(),
        Needs {
            pixels: true,
            text: true
        }
    );
    let pages = vec![
        with_text(page(1), "unused"),
        with_text(page(2), "from the text layer"),
        with_text(page(3), " \n"),
        page(4),
    ];
    let outcomes = run(&mut engine, pages);
    let found: Vec<_> = outcomes
        .iter()
        .map(|outcome| (content(outcome), outcome.by.engine, outcome.attempts))
        .collect();
    assert_eq!(
        found,
        [
            (Ok("first"), "scripted", 1),
            (Ok("from the text layer"), "text-layer", 2),
            // A text layer without text, and none at all, are no answer.
            (Err(ErrorKind::Engine), "scripted", 2),
            (Err(ErrorKind::Engine), "scripted", 2),
        ]
    );
    let second = &outcomes[1];
    assert_eq!(second.warnings, [Warning::FallbackUsed]);
    assert_eq!(
        (second.by.output_format, second.size),
        (OutputFormat::Text, None),
        "nobody looked at pixels"
    );
    let message = &outcomes[3].result.as_ref().unwrap_err().message;
    assert!(
        message.starts_with("Engine; fallback text-layer failed too: an image has no text layer"),
        "{message}"
    );
}
