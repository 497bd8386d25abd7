//! The text of a page's line and of the summary.

use std::time::Duration;

use super::{
    bar::format_pace,
    gpus::GpuUse,
    tally::{Failure, Tally, Warned},
};
use crate::{
    discover::Ignored,
    journal::Target,
    page::{DeviceStats, Warning},
    record::{Record, Status, spelled},
    terminal::{Colour, Lines, paint, printable},
    words::{counted, human, number},
};

impl Tally {
    /// The summary of the run.
    pub(super) fn summary(&self, ignored: &Ignored, output: &Target) -> Lines {
        self.summary_after(self.elapsed(), ignored, output)
    }

    pub(super) fn summary_after(
        &self,
        elapsed: Duration,
        ignored: &Ignored,
        output: &Target,
    ) -> Lines {
        let mut lines = Lines::default();
        let target = match output {
            Target::Stdout => String::new(),
            Target::File(_) => format!(" → {output}"),
        };
        lines.add("read", self.format_documents() + &target);
        if self.before.pages() > 0 {
            lines.add("before", self.format_before());
        }
        lines.add("pages", self.format_pages());
        if self.by_engine.len() > 1 {
            lines.add("engines", self.format_engines());
        }
        if self.pages() > 0 {
            if self.read() > 0 {
                lines.add("pace", self.format_pace(elapsed));
            }
            for (place, device) in self.device_stats.iter().enumerate() {
                let label = if place == 0 { "devices" } else { "" };
                lines.add(label, format_device(device));
            }
            let gpus = self.gpus.iter().filter_map(GpuUse::describe);
            for (place, gpu) in gpus.enumerate() {
                lines.add(if place == 0 { "gpus" } else { "" }, gpu);
            }
            if let Some(idle) = self.idle_gpus(elapsed) {
                lines.add_in(Colour::Yellow, "idle", idle);
            }
            lines.add("time", self.format_time(elapsed));
        }
        if !ignored.0.is_empty() {
            lines.add("ignored", ignored.to_string());
        }
        for (place, (&warning, warned)) in self.warnings.iter().enumerate() {
            let label = if place == 0 { "warnings" } else { "" };
            lines.add_in(Colour::Yellow, label, format_warned(warning, warned));
        }
        lines.append(self.failures(output));
        lines
    }

    /// The failures, and where to find the others.
    pub(super) fn failures(&self, output: &Target) -> Lines {
        let mut lines = Lines::default();
        for failure in &self.failures {
            lines.add_in(Colour::Red, "failed", format_failure(failure));
        }
        let (failures_before, shown_before) = self.failures_before();
        for failure in &failures_before {
            lines.add_in(Colour::Red, "failed", format_failure(failure));
        }
        let shown = self.failures_shown + shown_before;
        let failed = self.failed + self.before.failed;
        if failed > shown {
            let more = number(failed - shown);
            lines.add("", format!("… and {more} more; they are in {output}"));
        }
        lines
    }

    fn format_documents(&self) -> String {
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
        let met = self.documents_met + self.done_before.0 + self.elsewhere;
        match self.documents.saturating_sub(met) {
            0 => documents,
            _ if self.interrupted => format!("{} of {documents}", number(met)),
            more => format!(
                "{documents}, {} without any of the requested pages",
                number(more)
            ),
        }
    }

    fn format_before(&self) -> String {
        let before = &self.before;
        let blank = also(before.blank, "blank");
        let skipped = also(before.skipped, "skipped");
        format!(
            "{}: {} ok, {} failed{blank}{skipped}",
            counted(before.pages(), "page", "pages"),
            number(before.ok),
            number(before.failed)
        )
    }

    fn format_pages(&self) -> String {
        let blank = also(self.blank, "blank");
        let words = counted(self.words, "word", "words");
        let copied = match self.copied {
            0 => String::new(),
            copied => format!(" ({} copied)", number(copied)),
        };
        format!(
            "{} ok{copied}, {} failed{blank}{}; {words}",
            number(self.ok),
            number(self.failed),
            self.format_skipped()
        )
    }

    /// How many pages were skipped, and why.
    fn format_skipped(&self) -> String {
        if self.skips.is_empty() {
            return String::new();
        }
        let mut reasons: Vec<_> = self.skips.iter().collect();
        reasons.sort_by_key(|(_, pages)| std::cmp::Reverse(**pages));
        let reasons = reasons
            .iter()
            .map(|(reason, pages)| format!("{} {reason}", number(**pages)));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        format!(", {} skipped ({reasons})", number(self.skipped_pages()))
    }

    /// How many pages each engine read, where there is a fallback.
    fn format_engines(&self) -> String {
        let engines = self.by_engine.iter();
        let engines: Vec<_> = engines
            .map(|(engine, &pages)| format!("{engine} {}", counted(pages, "page", "pages")))
            .collect();
        engines.join(", ")
    }

    fn format_pace(&self, elapsed: Duration) -> String {
        let pages = self.read() as f64 / elapsed.as_secs_f64().max(1e-9);
        let mut pace = format_pace(pages);
        if self.tokens > 0 {
            let tokens = self.tokens as f64 / elapsed.as_secs_f64().max(1e-9);
            pace += &format!(", {tokens:.0} tokens/s");
        }
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

    fn format_time(&self, elapsed: Duration) -> String {
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
            "{all}{colon}{}; preparation {prepared} (in parallel)",
            parts.join(", ")
        )
    }
}

/// So many pages that ended otherwise than most; nothing if there are none.
fn also(pages: usize, how: &str) -> String {
    match pages {
        0 => String::new(),
        pages => format!(", {} {how}", number(pages)),
    }
}

fn format_device(device: &DeviceStats) -> String {
    let minutes = device.time.as_secs_f64() / 60.0;
    let pace = device.pages as f64 / minutes.max(1e-9);
    let decimals = usize::from(pace < 100.0);
    let lost = if device.lost { ", then lost" } else { "" };
    format!(
        "{}: {}, {pace:.decimals$} a minute{lost}",
        device.device,
        counted(device.pages, "page", "pages")
    )
}

fn format_warned(warning: Warning, warned: &Warned) -> String {
    let places = warned.first.iter();
    let mut places: Vec<_> = places
        .map(|(path, page)| format!("{path} p.{page}"))
        .collect();
    let more = warned.pages - warned.first.len();
    if more > 0 {
        places.push(format!("… and {} more", number(more)));
    }
    format!(
        "{} {}: {}",
        number(warned.pages),
        // Named as in the records, where the pages can be looked up.
        spelled(&warning),
        places.join(", ")
    )
}

fn format_failure(failure: &Failure) -> String {
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

/// The line of one page for `--verbose`, printable except for its colours: `[12/340] a.pdf p.3 ✓ 245 words 2.1 s`.
pub(super) fn page_line(tally: &Tally, record: &Record, coloured: bool) -> String {
    let (done, known, more) = tally.pages_of();
    let more = if more { "+" } else { "" };
    let path = printable(&record.path);
    let page = match (record.page, record.last_page) {
        (0, _) => String::new(),
        (page, None) => format!(" p.{page}"),
        (page, Some(last)) => format!(" p.{page}-{last}"),
    };
    let took = human(Duration::from_millis(record.timings_ms.total));
    let (mark, colour, what) = match (&record.error, record.status) {
        (Some(error), _) => {
            // Named as in the records.
            let kind = spelled(&error.kind);
            let message = printable(&error.message);
            ("✗", Colour::Red, format!("{kind}: {message}"))
        }
        (None, _) if record.copy_of.is_some() => {
            let original = printable(record.copy_of.as_deref().unwrap_or_default());
            ("✓", Colour::Green, format!("copied from {original}"))
        }
        (None, Status::Skipped) => {
            let reason = record.skip_reason.as_deref().unwrap_or_default();
            (
                "–",
                Colour::Yellow,
                format!("skipped: {}", printable(reason)),
            )
        }
        (None, Status::Blank) => ("✓", Colour::Green, format!("blank {took}")),
        (None, _) => {
            let words = counted(record.word_count, "word", "words");
            let parts = record.parts.map(|parts| format!(" in {parts} parts"));
            let parts = parts.unwrap_or_default();
            ("✓", Colour::Green, format!("{words}{parts} {took}"))
        }
    };
    let mark = paint(mark, colour, coloured);
    format!(
        "[{}/{}{more}] {path}{page} {mark} {what}",
        number(done),
        number(known)
    )
}
