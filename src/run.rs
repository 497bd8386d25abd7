//! Wires the stages together: prepared pages go to the engine, what becomes of them goes to the journal.

use std::{
    cell::RefCell,
    collections::HashMap,
    iter,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    document::{PageId, Preparation, PreparedPage},
    engine::{Engine, PageAnswer, PageOutcome},
    error::PageError,
    journal::Journal,
    progress::Progress,
    record::{PageFacts, Record, RunFacts},
};

/// Reads every page that `preparations` gives and writes its record as soon as it is done, in the order of finishing.
///
/// Pages that could not be prepared are written without the engine seeing them. An `Err` ends the run: the engine or
/// the output can't go on.
pub fn run(
    preparations: &mut dyn Iterator<Item = Preparation>,
    engine: &mut dyn Engine,
    facts: RunFacts,
    journal: &mut Journal,
    progress: &mut Progress,
) -> Result<()> {
    progress.start();
    let desk = RefCell::new(Desk {
        facts,
        journal,
        progress,
        in_flight: HashMap::new(),
    });
    let mut broken = None;
    let mut pages = iter::from_fn(|| {
        loop {
            let asked = Instant::now();
            let preparation = preparations.next()?;
            match desk.borrow_mut().admit(preparation, asked.elapsed()) {
                Ok(None) => {}
                Ok(page) => return page,
                Err(error) => {
                    broken = Some(error);
                    return None;
                }
            }
        }
    });
    let ended = engine.run(&mut pages, &mut |outcome| desk.borrow_mut().finish(outcome));
    if let Some(error) = broken {
        return Err(error);
    }
    ended?;
    let lost = desk.borrow().in_flight.len();
    ensure!(
        lost == 0,
        "the engine {} gave no answer for {lost} of its pages; this is a bug",
        engine.name()
    );
    Ok(())
}

/// Where pages are booked out to the engine and back in.
struct Desk<'a> {
    facts: RunFacts,
    journal: &'a mut Journal,
    progress: &'a mut Progress,
    /// What is known of the pages that the engine has, and when it took them.
    in_flight: HashMap<PageId, (PageFacts, Instant)>,
}

impl Desk<'_> {
    /// Takes what preparation gave, which the engine waited for; a page that failed there ends here.
    fn admit(
        &mut self,
        preparation: Preparation,
        waited: Duration,
    ) -> Result<Option<PreparedPage>> {
        {
            let mut tally = self.progress.tally();
            tally.waiting += waited;
            tally.meet(&preparation.page.document.path);
        }
        let mut facts = PageFacts {
            page: preparation.page,
            size: None,
            prepare: preparation.elapsed,
            engine: Duration::ZERO,
        };
        match preparation.result {
            Ok(page) => {
                facts.size = page.pixels.as_ref().map(image::RgbImage::dimensions);
                self.in_flight.insert(page.id, (facts, Instant::now()));
                Ok(Some(page))
            }
            Err(error) => self.write(&facts, Err(error)).map(|()| None),
        }
    }

    /// Takes what the engine answered.
    fn finish(&mut self, outcome: PageOutcome) -> Result<()> {
        let Some((mut facts, taken)) = self.in_flight.remove(&outcome.id) else {
            anyhow::bail!("an engine answered for a page that it does not have; this is a bug");
        };
        facts.engine = taken.elapsed();
        self.write(&facts, outcome.result)
    }

    fn write(&mut self, facts: &PageFacts, result: Result<PageAnswer, PageError>) -> Result<()> {
        let record = Record::new(&self.facts, facts, result);
        self.journal.append(&record)?;
        self.progress.page_done(&record);
        Ok(())
    }
}
