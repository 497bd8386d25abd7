//! Several engines as one: who gets which page, and what becomes of the pages of one that is lost.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use crossbeam_channel::Select;
use omnidocs::{
    engine::{Engine, pool::EnginePool},
    options::OutputFormat,
    page::{EngineInfo, Needs, PageAnswer, PageId, PageOutcome, PreparedPage},
    source::{Next, PageSource, Ready},
};

/// An engine that does as its script says.
struct Scripted<F> {
    info: EngineInfo,
    script: F,
}

type Pages<'a> = Waiting<'a>;
type Done<'a> = dyn FnMut(PageOutcome) -> Result<()> + 'a;

/// Waits for each page of a source.
struct Waiting<'a>(&'a mut dyn PageSource);

impl Iterator for Waiting<'_> {
    type Item = PreparedPage;

    fn next(&mut self) -> Option<PreparedPage> {
        loop {
            match self.0.poll() {
                Ok(Next::Item(page)) => return Some(page),
                Ok(Next::NotYet) => {
                    let mut select = Select::new();
                    self.0.watch(&mut select);
                    select.ready();
                }
                Ok(Next::End) | Err(_) => return None,
            }
        }
    }
}

impl<F: FnMut(&mut Pages, &mut Done) -> Result<()> + Send> Engine for Scripted<F> {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn needs(&self) -> Needs {
        Needs {
            pixels: true,
            text: false,
        }
    }

    fn run(
        &mut self,
        pages: &mut dyn PageSource,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        (self.script)(&mut Waiting(pages), done)
    }
}

fn scripted(
    script: impl FnMut(&mut Pages, &mut Done) -> Result<()> + Send + 'static,
) -> Box<dyn Engine> {
    let info = EngineInfo {
        engine: "scripted",
        model: None,
        output_format: OutputFormat::Markdown,
        device: None,
        dtype: None,
    };
    Box::new(Scripted { info, script })
}

/// Answers each page after some milliseconds.
fn steady(milliseconds: u64) -> Box<dyn Engine> {
    scripted(move |pages, done| {
        for page in pages {
            thread::sleep(Duration::from_millis(milliseconds));
            done(answer(&page))?;
        }
        Ok(())
    })
}

fn page(number: u64) -> PreparedPage {
    PreparedPage {
        id: PageId(number),
        ..PreparedPage::default()
    }
}

fn answer(page: &PreparedPage) -> PageOutcome {
    PageOutcome {
        id: page.id,
        result: Ok(PageAnswer::default()),
        by: EngineInfo {
            engine: "scripted",
            model: None,
            output_format: OutputFormat::Markdown,
            device: None,
            dtype: None,
        },
        attempts: 1,
        size: None,
        warnings: Vec::new(),
        elapsed: Duration::ZERO,
    }
}

fn several<const N: usize>(engines: [Box<dyn Engine>; N]) -> EnginePool {
    let named = engines.into_iter().enumerate();
    EnginePool::new(named.map(|(place, engine)| (format!("cuda:{place}"), engine))).unwrap()
}

/// Reads pages 1 to `count`; how the run ended, and the pages that were answered, in their order.
fn run(engine: &mut EnginePool, count: u64) -> (Result<()>, Vec<u64>) {
    let mut answered = Vec::new();
    let ended = engine.run(&mut Ready((1..=count).map(page)), &mut |outcome| {
        answered.push(outcome.id.0);
        Ok(())
    });
    answered.sort_unstable();
    (ended, answered)
}

/// Waits until `value` is `wanted`.
fn wait_for(value: &AtomicUsize, wanted: usize) {
    let late = Instant::now() + Duration::from_secs(20);
    while value.load(SeqCst) != wanted {
        assert!(Instant::now() < late, "it is never {wanted}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn engines_read_concurrently() {
    let met = Arc::new(AtomicUsize::new(0));
    let engine = || {
        let met = Arc::clone(&met);
        scripted(move |pages, done| {
            for page in pages {
                met.fetch_add(1, SeqCst);
                wait_for(&met, 3);
                done(answer(&page))?;
            }
            Ok(())
        })
    };
    let mut engine = several([engine(), engine(), engine()]);
    let (ended, answered) = run(&mut engine, 3);
    ended.unwrap();
    assert_eq!(answered, [1, 2, 3]);
    for share in engine.device_stats() {
        assert_eq!((share.pages, share.lost), (1, false), "{share:?}");
    }
}

#[test]
fn pages_go_to_the_first_free_engine() {
    let mut engine = several([steady(20), steady(1)]);
    let in_hand = Cell::new(0);
    let pages = (1..=60).map(page).inspect(|_| {
        assert!(in_hand.get() < 2, "both engines have a page");
        in_hand.set(in_hand.get() + 1);
    });
    let mut answered = 0;
    let ended = engine.run(&mut Ready(pages), &mut |_| {
        in_hand.set(in_hand.get() - 1);
        answered += 1;
        Ok(())
    });
    ended.unwrap();
    assert_eq!(answered, 60);
    let pages: Vec<_> = engine
        .device_stats()
        .iter()
        .map(|share| share.pages)
        .collect();
    assert!(pages[1] > 2 * pages[0], "{pages:?}");
    assert_eq!(pages[0] + pages[1], 60);
}

#[test]
fn lost_engine_hands_its_pages_to_the_others() {
    // It holds three pages, and is lost over the first of them.
    let lost = scripted(|pages, done| {
        let held: Vec<_> = pages.take(3).collect();
        done(answer(&held[0]))?;
        bail!("the GPU can't be used any more")
    });
    let mut engine = several([lost, steady(2)]);
    let (ended, answered) = run(&mut engine, 40);
    ended.unwrap();
    assert_eq!(answered, (1..=40).collect::<Vec<_>>());
    let found: Vec<_> = engine
        .device_stats()
        .into_iter()
        .map(|share| (share.device, share.pages, share.lost))
        .collect();
    assert_eq!(
        found,
        [("cuda:0".into(), 1, true), ("cuda:1".into(), 39, false)]
    );
}

#[test]
fn engine_lost_last_hands_its_pages_to_ended_ones() {
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, over) = (Arc::clone(&begun), Arc::clone(&ended));
    let lost = scripted(move |pages, _| {
        let _held = pages.next();
        seen.store(1, SeqCst);
        wait_for(&over, 1);
        bail!("the GPU can't be used any more")
    });
    let last = scripted(move |pages, done| {
        wait_for(&begun, 1);
        for page in pages {
            done(answer(&page))?;
        }
        ended.fetch_add(1, SeqCst);
        Ok(())
    });
    let (ended, answered) = run(&mut several([lost, last]), 5);
    ended.unwrap();
    assert_eq!(answered, [1, 2, 3, 4, 5]);
}

#[test]
fn engine_panic_loses_only_that_engine() {
    let lost = scripted(|pages, _| {
        let _held = pages.next();
        panic!("index out of bounds")
    });
    let mut engine = several([lost, steady(1)]);
    let (ended, answered) = run(&mut engine, 5);
    ended.unwrap();
    assert_eq!(answered, [1, 2, 3, 4, 5]);
    assert!(engine.device_stats()[0].lost);
}

#[test]
fn losing_all_engines_ends_the_run_with_the_last_error() {
    let over = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&over);
    let first = scripted(move |pages, done| {
        for page in pages.take(1) {
            done(answer(&page))?;
        }
        over.store(1, SeqCst);
        bail!("the first is lost")
    });
    let last = scripted(move |pages, done| {
        for page in pages.take(9) {
            done(answer(&page))?;
        }
        wait_for(&seen, 1);
        thread::sleep(Duration::from_millis(200));
        bail!("the last is lost")
    });
    let mut engine = several([first, last]);
    let (ended, answered) = run(&mut engine, 40);
    assert_eq!(ended.unwrap_err().to_string(), "the last is lost");
    assert_eq!(answered, (1..=10).collect::<Vec<_>>());
    assert!(engine.device_stats().iter().all(|share| share.lost));
}

#[test]
fn output_failure_ends_the_run() {
    let mut engine = several([steady(1), steady(1)]);
    let mut written = 0;
    let ended = engine.run(&mut Ready((1..).map(page)), &mut |_| {
        written += 1;
        if written == 5 {
            bail!("the disk is full");
        }
        Ok(())
    });
    assert_eq!(ended.unwrap_err().to_string(), "the disk is full");
    assert_eq!(written, 5);
}

#[test]
fn engines_divide_the_threads() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(5).build();
    let counted = Arc::new(AtomicUsize::new(0));
    let engine = || {
        let counted = Arc::clone(&counted);
        scripted(move |_, _| {
            counted.fetch_add(rayon::current_num_threads(), SeqCst);
            assert!((1..=2).contains(&rayon::current_num_threads()));
            Ok(())
        })
    };
    let engines = [engine(), engine(), engine()];
    let mut engine = pool.unwrap().install(|| several(engines));
    run(&mut engine, 0).0.unwrap();
    assert_eq!(counted.load(SeqCst), 5);
}
