//! Wires the stages together: prepared pages go to the engine, what becomes of them goes to the journal.

mod slow_pages;

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use crossbeam_channel::Select;

use self::slow_pages::SlowPageDetector;
use crate::{
    cancel::Cancel,
    engine::Engine,
    error::{PageError, Stage},
    journal::{Journal, PageKey},
    page::{EngineInfo, PageId, PageOutcome, PageRef, PreparedPage, Upcoming, Warning},
    prepare::Pages,
    progress::Progress,
    record::{Admitted, PageFacts, Record},
    source::{Next, PageSource},
};

/// Writes the records of the copies that come before the first page to be read. Whether there is such a page.
///
/// # Errors
/// The output or the preparation can't go on.
pub fn copy_first(pages: &mut Pages, journal: &mut Journal, progress: &Progress) -> Result<bool> {
    let mut is_copied = false;
    while let Some(copy) = pages.next_copy()? {
        progress.tally().document_started(&copy, 0);
        let original = journal.original(&PageKey::of_page(&copy))?;
        write_copy(journal, progress, &copy, original.as_ref())?;
        is_copied = true;
    }
    if is_copied {
        journal.sync()?;
    }
    pages.has_pages()
}

/// Reads every page of `upcoming` and writes its record as soon as it is done.
///
/// Pages that could not be prepared, or that show nothing, are written without the engine seeing them. Once `cancel` asks the
/// run to end, the engine gets no more pages and finishes those that it has. An `Err` ends the run: the engine or the output
/// can't go on.
pub fn run(
    upcoming: &mut dyn PageSource<Upcoming>,
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
        waiting: HashMap::new(),
        slow_pages: SlowPageDetector::default(),
    });
    let mut pages = Admission {
        upcoming,
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
    upcoming: &'r mut dyn PageSource<Upcoming>,
    writer: &'r RefCell<RecordWriter<'w>>,
    cancel: &'r Cancel,
    /// Since when the engine could have had a page.
    idle_since: Option<Instant>,
}

impl PageSource for Admission<'_, '_> {
    fn poll(&mut self) -> Result<Next<PreparedPage>> {
        while self.cancel.reason().is_none() {
            let asked = *self.idle_since.get_or_insert_with(Instant::now);
            let upcoming = match self.upcoming.poll()? {
                Next::Item(upcoming) => upcoming,
                Next::NotYet => return Ok(Next::NotYet),
                Next::End => return Ok(Next::End),
            };
            self.idle_since = None;
            let mut writer = self.writer.borrow_mut();
            if let Some(page) = writer.admit(upcoming, asked.elapsed())? {
                return Ok(Next::Item(page));
            }
        }
        Ok(Next::End)
    }

    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        self.upcoming.watch(select);
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
    /// The copies of pages that the engine holds.
    waiting: HashMap<PageKey, Vec<PageRef>>,
    slow_pages: SlowPageDetector,
}

impl RecordWriter<'_> {
    /// Takes what preparation gave, which the engine waited for; a page that failed there, is blank, is skipped, or
    /// is a copy, ends here.
    fn admit(&mut self, upcoming: Upcoming, waited: Duration) -> Result<Option<PreparedPage>> {
        let (page, passed_over) = match &upcoming {
            Upcoming::Page(preparation) => (&preparation.page, preparation.passed_over),
            Upcoming::Copy(page) => (page, 0),
        };
        {
            let mut tally = self.progress.tally();
            tally.waiting += waited;
            tally.document_started(page, passed_over);
        }
        let preparation = match upcoming {
            Upcoming::Page(preparation) => preparation,
            Upcoming::Copy(page) => return self.copy(page).map(|()| None),
        };
        let document = Arc::clone(&preparation.page.document);
        match Record::admit(preparation, &self.engine) {
            Admitted::Record(record) if record.error.is_none() && document.has_changed() => {
                let record = record.with_error(PageError::changed(Stage::Prepare));
                self.write(&record).map(|()| None)
            }
            Admitted::Record(record) => self.write(&record).map(|()| None),
            Admitted::Page(facts, page) => {
                self.in_flight.insert(page.id, facts);
                Ok(Some(page))
            }
        }
    }

    /// Copies the record of a page from another path, or waits for it.
    fn copy(&mut self, copy: PageRef) -> Result<()> {
        let key = PageKey::of_page(&copy);
        let mut in_flight = self.in_flight.values();
        if in_flight.any(|facts| PageKey::of_page(&facts.page) == key) {
            self.waiting.entry(key).or_default().push(copy);
            return Ok(());
        }
        let original = self.journal.original(&key)?;
        write_copy(self.journal, self.progress, &copy, original.as_ref())
    }

    /// Takes what the engine answered.
    fn finish(&mut self, outcome: PageOutcome) -> Result<()> {
        let Some(facts) = self.in_flight.remove(&outcome.id) else {
            anyhow::bail!("an engine answered for a page that it does not have; this is a bug");
        };
        let elapsed = outcome.elapsed;
        let outcome = if facts.page.document.has_changed() {
            PageOutcome {
                result: Err(PageError::changed(Stage::Engine)),
                ..outcome
            }
        } else {
            outcome
        };
        let mut record = Record::read(&facts, outcome);
        if self.slow_pages.is_slow(elapsed) {
            record.warnings.push(Warning::SlowPage);
        }
        self.write(&record)
    }

    /// Writes the record of a page that was read at its own path, and its copies.
    fn write(&mut self, record: &Record) -> Result<()> {
        write(self.journal, self.progress, record)?;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let copies = self.waiting.remove(&PageKey::of_record(record));
        let mut copies = copies.iter().flatten();
        copies.try_for_each(|copy| write_copy(self.journal, self.progress, copy, Some(record)))
    }
}

fn write(journal: &mut Journal, progress: &Progress, record: &Record) -> Result<()> {
    journal.append(record)?;
    progress.page_done(record);
    Ok(())
}

/// Writes the record of a copy, whose page has this record at another path.
fn write_copy(
    journal: &mut Journal,
    progress: &Progress,
    copy: &PageRef,
    original: Option<&Record>,
) -> Result<()> {
    let document = &copy.document;
    let Some(original) = original else {
        // Its size was another one when the inputs were listed, so that nothing was kept for copies.
        let path = document.path.display();
        tracing::warn!(
            "{path} is a copy of a file that has changed since the run began; run the same command again"
        );
        return Ok(());
    };
    let mut record = original.copied_to(document);
    if document.has_changed() {
        record = record.with_error(PageError::changed(Stage::Prepare));
    }
    write(journal, progress, &record)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        error::{ErrorKind, PageError, Stage},
        journal::{Opening, OutputSettings, Target},
        options::{OutputFormat, ProgressChoice, Verbosity},
        page::{Document, Needs, PageAnswer, PageText, Preparation},
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
                    let content = page.text.map(|text| text.text).unwrap_or_default();
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
            stamp: None,
        });
        let preparations = (1..=6).map(|number| Preparation {
            page: PageRef {
                document: Arc::clone(&document),
                number,
                last_number: None,
            },
            result: match number {
                3 => Err(PageError::new(ErrorKind::Render, Stage::Prepare, "torn")),
                _ => Ok(PreparedPage {
                    id: PageId(number.into()),
                    blank: number == 6,
                    text: Some(PageText::from(format!("text of {number}"))),
                    ..PreparedPage::default()
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
            device: None,
            dtype: None,
        };
        let mut journal = Journal::open(
            &Target::File(output.to_owned()),
            OutputSettings::new(),
            Opening::default(),
        )?
        .0;
        let mut progress = Progress::new(ProgressChoice::Off, Verbosity::Quiet, false);
        run(
            &mut Ready(preparations.map(Upcoming::Page)),
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
