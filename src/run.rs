//! Wires the stages together: prepared pages go to the engine, what becomes of them goes to the journal.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use crossbeam_channel::Select;

use crate::{
    cancel::Cancel,
    engine::Engine,
    journal::Journal,
    page::{EngineInfo, PageId, PageOutcome, Preparation, PreparedPage, Warning},
    progress::Progress,
    record::{PageFacts, Record},
    source::{Next, PageSource},
};

/// Reads every page of `preparations` and writes its record as soon as it is done.
///
/// Pages that could not be prepared, or that show nothing, are written without the engine seeing them. Once `cancel` asks the
/// run to end, the engine gets no more pages and finishes those that it has. An `Err` ends the run: the engine or the output
/// can't go on.
pub fn run(
    preparations: &mut dyn PageSource<Preparation>,
    engine: &mut dyn Engine,
    journal: &mut Journal,
    progress: &mut Progress,
    cancel: &Cancel,
) -> Result<()> {
    progress.start();
    let writer = RefCell::new(RecordWriter {
        engine: engine.info().clone(),
        journal,
        progress,
        in_flight: HashMap::new(),
        slow_pages: SlowPageDetector::default(),
    });
    let mut pages = Admission {
        preparations,
        writer: &writer,
        cancel,
        idle_since: None,
    };
    let ended = engine.run(&mut pages, &mut |outcome| {
        writer.borrow_mut().finish(outcome)
    });
    // What was read is kept, also where the engine or the output could not go on.
    let synced = writer.borrow_mut().journal.sync();
    ended?;
    synced?;
    let lost = writer.borrow().in_flight.len();
    // Asked to end, an engine need not wait for what it could not read.
    ensure!(
        lost == 0 || cancel.reason().is_some(),
        "the engine {} gave no answer for {lost} of its pages; this is a bug",
        engine.info().engine
    );
    Ok(())
}

/// Lets prepared pages through to the engine.
struct Admission<'r, 'w> {
    preparations: &'r mut dyn PageSource<Preparation>,
    writer: &'r RefCell<RecordWriter<'w>>,
    cancel: &'r Cancel,
    /// Since when the engine could have had a page.
    idle_since: Option<Instant>,
}

impl PageSource for Admission<'_, '_> {
    fn poll(&mut self) -> Result<Next<PreparedPage>> {
        while self.cancel.reason().is_none() {
            let asked = *self.idle_since.get_or_insert_with(Instant::now);
            let preparation = match self.preparations.poll()? {
                Next::Item(preparation) => preparation,
                Next::NotYet => return Ok(Next::NotYet),
                Next::End => return Ok(Next::End),
            };
            self.idle_since = None;
            let mut writer = self.writer.borrow_mut();
            if let Some(page) = writer.admit(preparation, asked.elapsed())? {
                return Ok(Next::Item(page));
            }
        }
        Ok(Next::End)
    }

    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        self.preparations.watch(select);
        self.cancel.watch(select);
    }
}

/// Books pages out to the engine and back in, and writes their records.
struct RecordWriter<'a> {
    /// Who pages are shown to.
    engine: EngineInfo,
    journal: &'a mut Journal,
    progress: &'a mut Progress,
    /// The pages that the engine holds.
    in_flight: HashMap<PageId, PageFacts>,
    slow_pages: SlowPageDetector,
}

impl RecordWriter<'_> {
    /// Takes what preparation gave, which the engine waited for; a page that failed there, or is blank, ends here.
    fn admit(
        &mut self,
        preparation: Preparation,
        waited: Duration,
    ) -> Result<Option<PreparedPage>> {
        {
            let mut tally = self.progress.tally();
            tally.waiting += waited;
            tally.document_started(&preparation.page, preparation.passed_over);
        }
        let mut facts = PageFacts {
            page: preparation.page,
            size: None,
            original: None,
            prepare: preparation.elapsed,
            attempts: preparation.attempts,
        };
        let page = match preparation.result {
            Ok(page) => page,
            Err(error) => {
                let record = Record::failed(&facts, &self.engine, error);
                return self.write(&record).map(|()| None);
            }
        };
        facts.size = page.pixels.as_ref().map(|image| image.dimensions());
        facts.original = page.original;
        if page.blank {
            let record = Record::blank(&facts, &self.engine);
            return self.write(&record).map(|()| None);
        }
        self.in_flight.insert(page.id, facts);
        Ok(Some(page))
    }

    /// Takes what the engine answered.
    fn finish(&mut self, outcome: PageOutcome) -> Result<()> {
        let Some(facts) = self.in_flight.remove(&outcome.id) else {
            anyhow::bail!("an engine answered for a page that it does not have; this is a bug");
        };
        let elapsed = outcome.elapsed;
        let mut record = Record::read(&facts, outcome);
        if self.slow_pages.is_slow(elapsed) {
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
struct SlowPageDetector {
    latest: VecDeque<Duration>,
}

impl SlowPageDetector {
    /// Number of latest pages in the median.
    const WINDOW: usize = 256;
    /// Minimum number of pages for a median.
    const MIN_PAGES: usize = 8;
    /// A page is slow above this multiple of the median.
    const FACTOR: u32 = 5;
    /// What takes no longer than this is not slow, however fast all else is.
    const MIN_TIME: Duration = Duration::from_secs(1);

    /// Whether a page that took so long is slow; counts it among the latest.
    fn is_slow(&mut self, took: Duration) -> bool {
        let is_slow = took > Self::MIN_TIME
            && self
                .median()
                .is_some_and(|median| took > median * Self::FACTOR);
        if self.latest.len() == Self::WINDOW {
            self.latest.pop_front();
        }
        self.latest.push_back(took);
        is_slow
    }

    fn median(&self) -> Option<Duration> {
        let mut times: Vec<_> = self.latest.iter().copied().collect();
        let middle = times.len() / 2;
        (times.len() >= Self::MIN_PAGES).then(|| *times.select_nth_unstable(middle).1)
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        error::{ErrorKind, PageError, Stage},
        journal::{Opening, OutputSettings, Target},
        options::{OutputFormat, ProgressChoice, Verbosity},
        page::{Document, Needs, PageAnswer, PageRef, PageText},
        source::Ready,
    };

    /// Answers pages in pairs, the second one first; keeps the pages for which `keeps` is true.
    struct Pairs {
        info: EngineInfo,
        keeps: fn(PageId) -> bool,
    }

    impl Engine for Pairs {
        fn info(&self) -> &EngineInfo {
            &self.info
        }

        fn needs(&self) -> Needs {
            Needs {
                pixels: false,
                text: true,
            }
        }

        fn run(
            &mut self,
            pages: &mut dyn PageSource,
            done: &mut dyn FnMut(PageOutcome) -> Result<()>,
        ) -> Result<()> {
            let mut next = || match pages.poll() {
                Ok(Next::Item(page)) => Some(page),
                _ => None,
            };
            while let Some(first) = next() {
                for page in next().into_iter().chain([first]) {
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
                        by: self.info.clone(),
                        attempts: 1,
                        size: None,
                        warnings: Vec::new(),
                        elapsed: Duration::ZERO,
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
        let preparations = (1..=6).map(|number| Preparation {
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
        let info = EngineInfo {
            engine: "pairs",
            model: None,
            output_format: OutputFormat::Text,
        };
        let mut journal = Journal::open(
            &Target::File(output.to_owned()),
            OutputSettings::new(),
            Opening::default(),
        )?
        .0;
        let mut progress = Progress::new(ProgressChoice::Off, Verbosity::Quiet, false);
        run(
            &mut Ready(preparations),
            &mut Pairs { info, keeps },
            &mut journal,
            &mut progress,
            &Cancel::default(),
        )?;
        let written = std::fs::read_to_string(output)?;
        Ok(written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect())
    }

    #[test]
    fn outcomes_match_pages_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let records = run_five_pages(&folder.path().join("out.jsonl"), |_| false).unwrap();
        let outcomes: Vec<_> = records
            .iter()
            .map(|record| (record.page, record.content.as_deref()))
            .collect();
        assert_eq!(
            outcomes,
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
    fn slow_page_takes_five_times_the_median_and_a_second() {
        let seconds = Duration::from_secs;
        let mut slow_pages = SlowPageDetector::default();
        assert!(!slow_pages.is_slow(seconds(60)), "nothing to compare with");
        for _ in 0..20 {
            assert!(!slow_pages.is_slow(seconds(2)));
        }
        assert!(!slow_pages.is_slow(seconds(10)));
        assert!(slow_pages.is_slow(seconds(11)));
        let mut fast = SlowPageDetector::default();
        for _ in 0..20 {
            assert!(!fast.is_slow(Duration::from_millis(1)));
        }
        assert!(!fast.is_slow(Duration::from_millis(999)));
        assert!(fast.is_slow(Duration::from_millis(1001)));
        for _ in 0..SlowPageDetector::WINDOW {
            fast.is_slow(seconds(1));
        }
        assert!(!fast.is_slow(seconds(5)), "all pages are slow by now");
    }

    #[test]
    fn engine_that_drops_a_page_is_an_error() {
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
