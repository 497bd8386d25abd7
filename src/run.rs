//! Wires the stages together: prepared pages go to the engine, what becomes of them goes to the journal.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    iter,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    cancel::Interrupt,
    engine::{Engine, EngineFacts, PageOutcome},
    journal::Journal,
    page::{PageId, Preparation, PreparedPage},
    progress::Progress,
    record::{PageFacts, Record, Warning},
};

/// Reads every page that `preparations` gives and writes its record as soon as it is done, in the order of finishing.
///
/// Pages that could not be prepared, or that show nothing, are written without the engine seeing them. An `Err` ends the run: the engine or
/// the output can't go on.
pub fn run(
    preparations: &mut dyn Iterator<Item = Preparation>,
    engine: &mut dyn Engine,
    journal: &mut Journal,
    progress: &mut Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    progress.start();
    let desk = RefCell::new(Desk {
        engine: engine.facts().clone(),
        journal,
        progress,
        in_flight: HashMap::new(),
        pace: Pace::default(),
    });
    let mut broken = None;
    let mut pages = iter::from_fn(|| {
        // Asked to end, the engine gets no more pages and finishes those that it has.
        while interrupt.signal().is_none() {
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
        None
    });
    let ended = engine.run(&mut pages, &mut |outcome| desk.borrow_mut().finish(outcome));
    // What was read is kept, also where the engine or the output could not go on.
    let synced = desk.borrow_mut().journal.sync();
    if let Some(error) = broken {
        return Err(error);
    }
    ended?;
    synced?;
    let lost = desk.borrow().in_flight.len();
    // Asked to end, an engine need not wait for what it could not read.
    ensure!(
        lost == 0 || interrupt.signal().is_some(),
        "the engine {} gave no answer for {lost} of its pages; this is a bug",
        engine.facts().engine
    );
    Ok(())
}

/// Where pages are booked out to the engine and back in.
struct Desk<'a> {
    /// Who pages are shown to.
    engine: EngineFacts,
    journal: &'a mut Journal,
    progress: &'a mut Progress,
    /// What is known of the pages that the engine has, and when it took them.
    in_flight: HashMap<PageId, (PageFacts, Instant)>,
    pace: Pace,
}

impl Desk<'_> {
    /// Takes what preparation gave, which the engine waited for; a page that failed there, or is blank, ends here.
    fn admit(
        &mut self,
        preparation: Preparation,
        waited: Duration,
    ) -> Result<Option<PreparedPage>> {
        {
            let mut tally = self.progress.tally();
            tally.waiting += waited;
            tally.meet(&preparation.page.document.path, preparation.passed_over);
        }
        let mut facts = PageFacts {
            page: preparation.page,
            size: None,
            original: None,
            prepare: preparation.elapsed,
            attempts: preparation.attempts,
            engine: Duration::ZERO,
        };
        let page = match preparation.result {
            Ok(page) => page,
            Err(error) => {
                let record = Record::failed(&facts, &self.engine, error);
                return self.write(&record).map(|()| None);
            }
        };
        facts.size = page.pixels.as_ref().map(image::RgbImage::dimensions);
        facts.original = page.original;
        if page.blank {
            let record = Record::blank(&facts, &self.engine);
            return self.write(&record).map(|()| None);
        }
        self.in_flight.insert(page.id, (facts, Instant::now()));
        Ok(Some(page))
    }

    /// Takes what the engine answered.
    fn finish(&mut self, outcome: PageOutcome) -> Result<()> {
        let Some((mut facts, taken)) = self.in_flight.remove(&outcome.id) else {
            anyhow::bail!("an engine answered for a page that it does not have; this is a bug");
        };
        facts.engine = taken.elapsed();
        let mut record = Record::read(&facts, outcome);
        if self.pace.is_slow(facts.engine) {
            record.warnings.push(Warning::SlowPage);
        }
        self.write(&record)
    }

    fn write(&mut self, record: &Record) -> Result<()> {
        self.journal.append(record)?;
        self.progress.page_done(record);
        Ok(())
    }
}

/// How long the engine took over the latest pages.
#[derive(Default)]
struct Pace {
    latest: VecDeque<Duration>,
}

impl Pace {
    /// So many of the latest pages are compared with.
    const WINDOW: usize = 256;
    /// From so many on there is something to compare with.
    const ENOUGH: usize = 8;
    /// So many times the median is slow.
    const SLOW: u32 = 5;
    /// What takes no longer than this is not slow, however fast all else is.
    const FAST: Duration = Duration::from_secs(1);

    /// Whether a page that took so long is slow; counts it among the latest.
    fn is_slow(&mut self, took: Duration) -> bool {
        let is_slow = took > Self::FAST
            && self
                .median()
                .is_some_and(|median| took > median * Self::SLOW);
        if self.latest.len() == Self::WINDOW {
            self.latest.pop_front();
        }
        self.latest.push_back(took);
        is_slow
    }

    fn median(&self) -> Option<Duration> {
        let mut times: Vec<_> = self.latest.iter().copied().collect();
        let middle = times.len() / 2;
        (times.len() >= Self::ENOUGH).then(|| *times.select_nth_unstable(middle).1)
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        config::Verbosity,
        engine::PageAnswer,
        error::{ErrorKind, PageError, Stage},
        journal::{OutputSettings, Target},
        options::ProgressChoice,
        page::{Document, Needs, OutputFormat, PageRef, PageText},
    };

    /// Answers pages in pairs, the second one first; keeps the pages for which `keeps` is true.
    struct Pairs {
        facts: EngineFacts,
        keeps: fn(PageId) -> bool,
    }

    impl Engine for Pairs {
        fn facts(&self) -> &EngineFacts {
            &self.facts
        }

        fn needs(&self) -> Needs {
            Needs {
                pixels: false,
                text: true,
            }
        }

        fn run(
            &mut self,
            pages: &mut dyn Iterator<Item = PreparedPage>,
            done: &mut dyn FnMut(PageOutcome) -> Result<()>,
        ) -> Result<()> {
            while let Some(first) = pages.next() {
                for page in pages.next().into_iter().chain([first]) {
                    if (self.keeps)(page.id) {
                        continue;
                    }
                    let content = page.text.map(|text| text.0).unwrap_or_default();
                    done(PageOutcome {
                        id: page.id,
                        result: Ok(PageAnswer {
                            content,
                            ..PageAnswer::default()
                        }),
                        by: self.facts.clone(),
                        attempts: 1,
                        size: None,
                        warnings: Vec::new(),
                    })?;
                }
            }
            Ok(())
        }
    }

    /// Five pages of one document, of which the third can't be prepared, and a blank one; the records that a run of them
    /// leaves.
    fn run_five_pages(output: &Path, keeps: fn(PageId) -> bool) -> Result<Vec<Record>> {
        let document = Arc::new(Document {
            path: "a.pdf".into(),
            size_bytes: None,
            doc_id: None,
            format: None,
            page_count: Some(6),
        });
        let mut preparations = (1..=6).map(|number| Preparation {
            page: PageRef {
                document: Arc::clone(&document),
                number,
            },
            result: match number {
                3 => Err(PageError::new(ErrorKind::Render, Stage::Prepare, "torn")),
                _ => Ok(PreparedPage {
                    id: PageId(number.into()),
                    pixels: None,
                    original: None,
                    blank: number == 6,
                    text: Some(PageText(format!("text of {number}"))),
                    draft: None,
                }),
            },
            elapsed: Duration::from_millis(7),
            attempts: 1,
            passed_over: 0,
        });
        let facts = EngineFacts {
            engine: "pairs",
            model: None,
            output_format: OutputFormat::Text,
        };
        let mut journal = Journal::open(
            &Target::File(output.to_owned()),
            OutputSettings::new(),
            false,
        )?
        .0;
        let mut progress = Progress::new(ProgressChoice::Off, Verbosity::Quiet, false);
        run(
            &mut preparations,
            &mut Pairs { facts, keeps },
            &mut journal,
            &mut progress,
            &Interrupt::default(),
        )?;
        let written = std::fs::read_to_string(output)?;
        Ok(written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect())
    }

    #[test]
    fn answers_in_any_order_find_their_pages_and_failures_pass_the_engine_by() {
        let folder = tempfile::tempdir().unwrap();
        let records = run_five_pages(&folder.path().join("out.jsonl"), |_| false).unwrap();
        let told: Vec<_> = records
            .iter()
            .map(|record| (record.page, record.content.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                (2, Some("text of 2")),
                (1, Some("text of 1")),
                (3, None),
                (5, Some("text of 5")),
                (4, Some("text of 4")),
                (6, Some("")),
            ]
        );
        assert!(
            records
                .iter()
                .all(|record| record.timings_ms.prepare == 7 && record.timings_ms.total >= 7)
        );
    }

    #[test]
    fn a_page_is_slow_that_takes_five_times_the_running_median_and_a_second() {
        let seconds = Duration::from_secs;
        let mut pace = Pace::default();
        assert!(!pace.is_slow(seconds(60)), "nothing to compare with");
        for _ in 0..20 {
            assert!(!pace.is_slow(seconds(2)));
        }
        assert!(!pace.is_slow(seconds(10)));
        assert!(pace.is_slow(seconds(11)));
        let mut fast = Pace::default();
        for _ in 0..20 {
            assert!(!fast.is_slow(Duration::from_millis(1)));
        }
        assert!(!fast.is_slow(Duration::from_millis(999)));
        assert!(fast.is_slow(Duration::from_millis(1001)));
        for _ in 0..Pace::WINDOW {
            fast.is_slow(seconds(1));
        }
        assert!(!fast.is_slow(seconds(5)), "all pages are slow by now");
    }

    #[test]
    fn an_engine_that_keeps_a_page_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let error =
            run_five_pages(&folder.path().join("out.jsonl"), |id| id == PageId(4)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("gave no answer for 1 of its pages"),
            "{error}"
        );
    }
}
