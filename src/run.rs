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
    signal::Interrupt,
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
    interrupt: &Interrupt,
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
    if let Some(error) = broken {
        return Err(error);
    }
    ended?;
    desk.borrow_mut().journal.sync()?;
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

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        config::{ProgressChoice, Verbosity},
        document::{Document, Needs, OutputFormat, PageRef, PageText},
        error::{ErrorKind, Stage},
        journal::{OutputSettings, Target},
    };

    /// Answers pages in pairs, the second one first; keeps the pages for which `keeps` is true.
    struct Pairs {
        keeps: fn(PageId) -> bool,
    }

    impl Engine for Pairs {
        fn name(&self) -> &'static str {
            "pairs"
        }

        fn model(&self) -> Option<&str> {
            None
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
                    })?;
                }
            }
            Ok(())
        }
    }

    /// Five pages of one document, of which the third can't be prepared; the records that a run of them leaves.
    fn run_five_pages(output: &Path, keeps: fn(PageId) -> bool) -> Result<Vec<Record>> {
        let document = Arc::new(Document {
            path: "a.pdf".into(),
            size_bytes: None,
            doc_id: None,
            format: None,
            page_count: Some(5),
        });
        let mut preparations = (1..=5).map(|number| Preparation {
            page: PageRef {
                document: Arc::clone(&document),
                number,
            },
            result: match number {
                3 => Err(PageError::new(ErrorKind::Render, Stage::Prepare, "torn")),
                _ => Ok(PreparedPage {
                    id: PageId(number.into()),
                    pixels: None,
                    text: Some(PageText(format!("text of {number}"))),
                }),
            },
            elapsed: Duration::from_millis(7),
        });
        let facts = RunFacts {
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
            &mut Pairs { keeps },
            facts,
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
            ]
        );
        assert!(
            records
                .iter()
                .all(|record| record.timings_ms.prepare == 7 && record.timings_ms.total >= 7)
        );
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
