//! What a run has come to so far, in words: a line as it goes, a summary at its end.

use std::{fmt::Write, time::Duration};

use indicatif::HumanCount;

use super::tally::{Failure, Tally};
use crate::{
    discover::Ignored,
    journal::Target,
    page::DeviceStats,
    record::{Record, Status},
};

impl Tally {
    /// One line on how the run goes: pages, documents, pace, time left.
    #[must_use]
    pub fn state(&self) -> String {
        self.state_after(self.elapsed())
    }

    fn state_after(&self, elapsed: Duration) -> String {
        let ((read, behind), all) = (self.documents_read(), self.documents as f64);
        let mut line = format!("{} done", counted(self.pages(), "page", "pages"));
        if self.failed > 0 {
            line += &format!(" ({} failed)", number(self.failed));
        }
        line += &format!(
            " · {}/{} documents",
            number(behind as usize),
            number(self.documents)
        );
        if self.pages() > 0 && !elapsed.is_zero() {
            let left = elapsed.as_secs_f64() * (all - behind).max(0.0) / read;
            let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
            line += &format!(" · {} · {} left", self.pace(elapsed), human(left));
        }
        line
    }

    /// What the run came to, as lines for a person.
    #[must_use]
    pub fn summary(&self, ignored: &Ignored, output: &Target) -> String {
        self.summary_after(self.elapsed(), ignored, output)
    }

    fn summary_after(&self, elapsed: Duration, ignored: &Ignored, output: &Target) -> String {
        let mut text = String::new();
        let mut line = |label: &str, content: &str| {
            let _ = writeln!(text, "{label:<10}{content}");
        };
        line("read", &self.documents_told());
        if self.before.pages() > 0 {
            line("before", &self.before_told());
        }
        line("pages", &self.pages_told());
        if !self.warnings.is_empty() {
            line("warnings", &self.warnings_told());
        }
        if self.pages() > 0 {
            line("pace", &self.pace_told(elapsed));
            for (place, share) in self.shares.iter().enumerate() {
                let label = if place == 0 { "devices" } else { "" };
                line(label, &share_told(share));
            }
            line("time", &self.time_told(elapsed));
        }
        if !ignored.0.is_empty() {
            line("ignored", &ignored.to_string());
        }
        for failure in &self.failures {
            line("failed", &failure_told(failure));
        }
        let (failures_before, told_before) = self.told_before();
        for failure in &failures_before {
            line("failed", &failure_told(failure));
        }
        let more =
            (self.failed + self.before.failed).saturating_sub(self.failures_told + told_before);
        if more > 0 {
            let more = number(more);
            line("", &format!("… and {more} more; they are in {output}"));
        }
        text
    }

    fn documents_told(&self) -> String {
        let documents = counted(self.documents, "document", "documents");
        let copies = match self.copies {
            0 => String::new(),
            1 => ", 1 of them a copy of another".to_owned(),
            copies => format!(", {} of them copies of others", number(copies)),
        };
        let elsewhere = match self.elsewhere {
            0 => String::new(),
            count => format!(", {} of them in other shards", number(count)),
        };
        let documents = documents + &elsewhere + &copies;
        let met = self.documents_met + self.done_documents + self.copies + self.elsewhere;
        match self.documents.saturating_sub(met) {
            0 => documents,
            _ if self.interrupted => format!("{} of {documents}", number(met)),
            more => format!(
                "{documents}, {} without any of the pages asked for",
                number(more)
            ),
        }
    }

    fn before_told(&self) -> String {
        let before = &self.before;
        let blank = match before.blank {
            0 => String::new(),
            blank => format!(", {} blank", number(blank)),
        };
        format!(
            "{}: {} ok, {} failed{blank}",
            counted(before.pages(), "page", "pages"),
            number(before.ok),
            number(before.failed)
        )
    }

    fn warnings_told(&self) -> String {
        let told = self.warnings.iter().map(|(warning, &pages)| {
            // Named as in the records, where the pages can be looked up.
            let name = serde_json::to_value(warning).unwrap_or_default();
            format!("{} {}", number(pages), name.as_str().unwrap_or_default())
        });
        told.collect::<Vec<_>>().join(", ")
    }

    fn pages_told(&self) -> String {
        let blank = if self.blank > 0 {
            format!(", {} blank", number(self.blank))
        } else {
            String::new()
        };
        let words = counted(self.words, "word", "words");
        format!(
            "{} ok, {} failed{blank}; {words}",
            number(self.ok),
            number(self.failed)
        )
    }

    fn pace_told(&self, elapsed: Duration) -> String {
        let pace = self.pace(elapsed);
        match (self.page_time(0.5), self.page_time(0.95)) {
            (Some(median), Some(p95)) => {
                format!(
                    "{pace}; {} a page (median), {} (95th percentile)",
                    human(median),
                    human(p95)
                )
            }
            _ => pace,
        }
    }

    fn time_told(&self, elapsed: Duration) -> String {
        let parts = [
            (self.loading, "loading the model"),
            (self.prefill, "prefill"),
            (self.decode, "decode"),
            (self.waiting, "waiting for pages"),
        ];
        let parts = parts.iter().filter(|(time, _)| time.as_millis() > 0);
        let parts: Vec<_> = parts
            .map(|&(time, what)| format!("{} {what}", human(time)))
            .collect();
        let colon = if parts.is_empty() { "" } else { ": " };
        let (all, prepared) = (human(self.loading + elapsed), human(self.prepare));
        format!(
            "{all}{colon}{}; pages were prepared in {prepared} beside it",
            parts.join(", ")
        )
    }

    fn pace(&self, elapsed: Duration) -> String {
        let pages = self.pages() as f64 / elapsed.as_secs_f64().max(1e-9);
        let decimals = if pages < 10.0 { 2 } else { 0 };
        format!("{pages:.decimals$} pages/s")
    }
}

fn share_told(share: &DeviceStats) -> String {
    let minutes = share.time.as_secs_f64() / 60.0;
    let pace = share.pages as f64 / minutes.max(1e-9);
    let decimals = usize::from(pace < 100.0);
    let lost = if share.lost { ", then lost" } else { "" };
    format!(
        "{}: {}, {pace:.decimals$} a minute{lost}",
        share.device,
        counted(share.pages, "page", "pages")
    )
}

fn failure_told(failure: &Failure) -> String {
    let Failure {
        path,
        first_page,
        pages,
        reason,
    } = failure;
    match (first_page, pages) {
        (0, _) => format!("{path}: {reason}"),
        (page, 1) => format!("{path}, page {page}: {reason}"),
        (page, pages) => format!(
            "{path}, page {page} and {} more: {reason}",
            number(pages - 1)
        ),
    }
}

/// The line of one page for `--verbose`.
#[must_use]
pub fn page_line(record: &Record) -> String {
    let Record {
        path, page, status, ..
    } = record;
    let place = if *page == 0 {
        path.clone()
    } else {
        format!("{path}, page {page}")
    };
    let took = human(Duration::from_millis(record.timings_ms.total));
    match (&record.error, status) {
        (Some(error), _) => format!("failed    {place}: {error}"),
        (None, Status::Blank) => format!("blank     {place}: {took}"),
        (None, _) => format!(
            "ok        {place}: {}, {took}",
            counted(record.word_count, "word", "words")
        ),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!(
        "{} {}",
        HumanCount(count as u64),
        if count == 1 { one } else { many }
    )
}

fn number(count: usize) -> HumanCount {
    HumanCount(count as u64)
}

/// `190 ms`, `1.9 s`, `12 s`, `4m 12s`, `3h 05m`.
fn human(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = seconds.round() as u64;
    match seconds {
        ..0.0005 => "under 1 ms".to_owned(),
        ..0.9995 => format!("{:.0} ms", seconds * 1000.0),
        ..9.95 => format!("{seconds:.1} s"),
        ..59.5 => format!("{whole} s"),
        ..3599.5 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::progress::tally::FAILURES_SHOWN;
    use crate::{
        error::{ErrorKind, PageError, Stage},
        options::OutputFormat,
        page::{Document, EngineInfo, PageAnswer, PageId, PageOutcome, PageRef},
        record::PageFacts,
    };

    /// Counts page `number` of `path`, a document of four pages, as the pipeline does.
    fn count(tally: &mut Tally, path: &str, number: u32, result: Result<PageAnswer, &str>) {
        let document = Arc::new(Document {
            path: path.into(),
            size_bytes: None,
            doc_id: None,
            format: None,
            page_count: (number > 0).then_some(4),
        });
        let by = EngineInfo {
            engine: "qwen",
            model: None,
            output_format: OutputFormat::Markdown,
        };
        let facts = PageFacts {
            page: PageRef { document, number },
            size: None,
            original: None,
            prepare: Duration::from_millis(40),
            attempts: 1,
        };
        let result =
            result.map_err(|reason| PageError::new(ErrorKind::Render, Stage::Prepare, reason));
        tally.document_started(path.as_ref(), 0);
        let outcome = PageOutcome {
            id: PageId(0),
            result,
            by,
            attempts: 1,
            size: None,
            warnings: Vec::new(),
            elapsed: Duration::from_millis(u64::from(number) * 1000),
        };
        tally.add(&Record::read(&facts, outcome));
    }

    fn answer() -> PageAnswer {
        PageAnswer {
            content: "three short words".to_owned(),
            prefill: Duration::from_millis(300),
            decode: Duration::from_millis(600),
            ..PageAnswer::default()
        }
    }

    #[test]
    fn a_summary_tells_what_a_run_came_to() {
        let mut tally = Tally::new(1_003, "1-4".parse().ok());
        tally.loading = Duration::from_millis(3_140);
        tally.waiting = Duration::from_secs(7);
        for document in 0..1_000 {
            for page in 1..=4 {
                count(
                    &mut tally,
                    &format!("pdfs/{document:04}.pdf"),
                    page,
                    Ok(answer()),
                );
            }
        }
        count(
            &mut tally,
            "pdfs/locked.pdf",
            0,
            Err("the PDF wants a password"),
        );
        for page in 2..=4 {
            count(
                &mut tally,
                "pdfs/torn.pdf",
                page,
                Err("the page can't be rendered"),
            );
        }
        tally.shares = [(3_990, 3_990, false), (14, 600, true)]
            .into_iter()
            .zip(0..)
            .map(|((pages, seconds, lost), number)| DeviceStats {
                device: format!("cuda:{number}"),
                pages,
                time: Duration::from_secs(seconds),
                lost,
            })
            .collect();
        let ignored = Ignored(BTreeMap::from([
            (".txt".to_owned(), 10),
            (".docx".to_owned(), 2),
        ]));
        let output = Target::File("results.jsonl".into());
        insta::assert_snapshot!(tally.summary_after(Duration::from_secs(4_000), &ignored, &output), @r"
        read      1,003 documents, 1 without any of the pages asked for
        pages     4,000 ok, 4 failed; 12,000 words
        pace      1.00 pages/s; 2.0 s a page (median), 4.0 s (95th percentile)
        devices   cuda:0: 3,990 pages, 60.0 a minute
                  cuda:1: 14 pages, 1.4 a minute, then lost
        time      1h 06m: 3.1 s loading the model, 20m 00s prefill, 40m 00s decode, 7.0 s waiting for pages; pages were prepared in 2m 40s beside it
        ignored   12 other files (.txt 10, .docx 2)
        failed    pdfs/locked.pdf: the PDF wants a password
        failed    pdfs/torn.pdf, page 2 and 2 more: the page can't be rendered
        ");
        insta::assert_snapshot!(tally.state_after(Duration::from_secs(4_000)), @"4,004 pages done (4 failed) · 1,001/1,003 documents · 1.00 pages/s · 5.0 s left");
    }

    #[test]
    fn a_summary_names_the_first_failed_files_and_where_the_rest_are() {
        let mut tally = Tally::new(25, None);
        for document in 0..25 {
            count(
                &mut tally,
                &format!("{document}.pdf"),
                0,
                Err("it is empty"),
            );
        }
        let summary =
            tally.summary_after(Duration::from_secs(1), &Ignored::default(), &Target::Stdout);
        assert_eq!(summary.matches("failed    ").count(), FAILURES_SHOWN);
        assert!(
            summary.ends_with("          … and 5 more; they are in the standard output\n"),
            "{summary}"
        );
    }

    #[test]
    fn the_time_left_goes_by_the_pages_of_the_document_at_work() {
        let mut tally = Tally::new(2, None);
        count(&mut tally, "a.pdf", 1, Ok(answer()));
        assert_eq!(
            tally.state_after(Duration::from_secs(10)),
            "1 page done · 0/2 documents · 0.10 pages/s · 1m 10s left"
        );
        for page in 2..=4 {
            count(&mut tally, "a.pdf", page, Ok(answer()));
        }
        assert!(
            tally
                .state_after(Duration::from_secs(40))
                .contains("1/2 documents")
        );
        tally.selection = "1-2".parse().ok();
        count(&mut tally, "b.pdf", 1, Ok(answer()));
        assert!(
            tally
                .state_after(Duration::from_secs(45))
                .ends_with("· 15 s left")
        );
    }

    #[test]
    fn times_are_told_as_a_person_would() {
        let told = |milliseconds| human(Duration::from_millis(milliseconds));
        let shown = [
            0, 190, 999, 1_900, 9_949, 9_999, 59_499, 59_500, 252_000, 3_599_600, 11_100_000,
        ]
        .map(told);
        assert_eq!(
            shown.join(" | "),
            "under 1 ms | 190 ms | 999 ms | 1.9 s | 9.9 s | 10 s | 59 s | 1m 00s | 4m 12s | 1h 00m | 3h 05m"
        );
    }
}
