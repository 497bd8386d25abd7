//! One line of progress: full width for a log, or fitted to a terminal.

use std::time::Duration;

use console::measure_text_width;

use super::{
    gpus::format_gpus,
    tally::{Numbers, Tally},
};
use crate::{
    terminal::{Colour, paint, printable_path},
    words::{human, number},
};

/// Columns of the bar, if there is room.
const BAR: usize = 20;
/// Minimum columns of a path; below, it is left out.
const MIN_PATH: usize = 12;
/// The spinner's frames.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The content of the line.
#[derive(Debug, Default)]
pub(super) struct State {
    /// 0 to 1.
    done: f64,
    pages: String,
    documents: String,
    failed: Option<String>,
    pace: Option<String>,
    left: Option<Duration>,
    gpus: Option<String>,
    /// The document of the latest page, printable.
    document: String,
}

impl Tally {
    /// One line of progress for a log.
    #[must_use]
    pub fn status_line(&self) -> String {
        self.state_after(self.elapsed()).line()
    }

    pub(super) fn state_after(&self, elapsed: Duration) -> State {
        let Numbers {
            fraction,
            done,
            known,
            more,
            failed,
            pages_per_second,
            left,
        } = self.numbers_after(elapsed);
        State {
            done: fraction,
            pages: format!(
                "{}/{}{} {}",
                number(done),
                number(known),
                if more { "+" } else { "" },
                if known == 1 && !more { "page" } else { "pages" }
            ),
            documents: format!(
                "{}/{} documents",
                number(self.documents_behind()),
                number(self.documents)
            ),
            failed: (failed > 0).then(|| format!("{} failed", number(failed))),
            pace: pages_per_second.map(format_pace),
            left,
            gpus: format_gpus(&self.gpus),
            document: printable_path(&self.latest),
        }
    }
}

/// `2.31 pages/s`.
pub(super) fn format_pace(pages_per_second: f64) -> String {
    let decimals = if pages_per_second < 10.0 { 2 } else { 0 };
    format!("{pages_per_second:.decimals$} pages/s")
}

impl State {
    /// The full line.
    pub(super) fn line(&self) -> String {
        let parts = [
            self.percent(),
            self.pages.clone(),
            self.failed.clone().unwrap_or_default(),
            self.documents.clone(),
            self.pace.clone().unwrap_or_default(),
            self.left(),
            self.gpus.clone().unwrap_or_default(),
            self.document.clone(),
        ];
        joined(&parts)
    }

    /// The line, narrower than `width`. Parts without room are left out: first the bar, then the pace, the document
    /// and the GPUs. The percentage and the time left stay.
    pub(super) fn fitted(&self, width: usize, tick: usize, coloured: bool) -> String {
        // The last column stays free, where some terminals break the line.
        let width = width.saturating_sub(1);
        let failed = self.failed.clone().unwrap_or_default();
        let red = paint(&failed, Colour::Red, coloured && !failed.is_empty());
        let spinner = SPINNER[tick % SPINNER.len()];
        let (percent, left) = (format!("{:>3}", self.percent()), self.left());
        let line = |glyphs: &str, pages: &str, failed: &str, pace: &str, gpus: &str| {
            let parts = [&percent, pages, failed, pace, &left, gpus].map(str::to_owned);
            format!("{spinner} {glyphs}{}", joined(&parts))
        };
        let pace = self.pace.as_deref().unwrap_or_default();
        let gpus = self.gpus.as_deref().unwrap_or_default();
        let path_room = match self.path_wanted() {
            0 => 0,
            _ => MIN_PATH + 3,
        };
        let with_path = [
            (
                line(&self.glyphs(), &self.pages, &red, pace, gpus),
                path_room.max(self.path_wanted().min(30)),
            ),
            (line("", &self.pages, &red, pace, gpus), path_room),
            (line("", &self.pages, &red, "", gpus), path_room),
        ];
        let fits = |line: &String, more: usize| measure_text_width(line) + more <= width;
        if let Some((line, _)) = with_path.iter().find(|(line, room)| fits(line, *room)) {
            return self.with_document(line.clone(), width);
        }
        let shorter = [
            line("", &self.pages, &red, "", gpus),
            line("", &self.pages, &red, "", ""),
            line("", &self.pages, "", "", ""),
            line("", "", "", "", ""),
            format!("{percent} {left}"),
        ];
        let fits = shorter.iter().find(|line| fits(line, 0));
        fits.cloned().unwrap_or_else(|| cut(&percent, width))
    }

    fn path_wanted(&self) -> usize {
        match measure_text_width(&self.document) {
            0 => 0,
            columns => columns + 3,
        }
    }

    fn with_document(&self, line: String, width: usize) -> String {
        if self.document.is_empty() {
            return line;
        }
        let room = width.saturating_sub(measure_text_width(&line) + 3);
        format!("{line} · {}", end_of(&self.document, room))
    }

    fn percent(&self) -> String {
        // What is not done is not shown as done.
        format!("{:.0}%", (self.done * 100.0).floor().clamp(0.0, 100.0))
    }

    fn left(&self) -> String {
        match self.left {
            Some(left) => format!("{} left", human(left)),
            None => "time left unknown".to_owned(),
        }
    }

    fn glyphs(&self) -> String {
        let full = (self.done * BAR as f64) as usize;
        let full = full.min(BAR);
        format!("{}{} ", "━".repeat(full), "─".repeat(BAR - full))
    }
}

fn joined(parts: &[String]) -> String {
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.map(String::as_str).collect::<Vec<_>>().join(" · ")
}

/// A line for a slow stage: `⠋ loading the model (3 s)`.
pub(super) fn waiting(what: &str, since: Duration, width: usize, tick: usize) -> String {
    let spinner = SPINNER[tick % SPINNER.len()];
    let seconds = human(Duration::from_secs(since.as_secs().max(1)));
    cut(
        &format!("{spinner} {what} ({seconds})"),
        width.saturating_sub(1),
    )
}

/// The start of a text, in at most `width` columns.
fn cut(text: &str, width: usize) -> String {
    if width == 0 {
        return String::new();
    }
    console::truncate_str(text, width, "…").into_owned()
}

/// The end of a path, in at most `width` columns.
fn end_of(path: &str, width: usize) -> String {
    if measure_text_width(path) <= width {
        return path.to_owned();
    }
    let mut columns = 1;
    let mut start = path.len();
    for (index, character) in path.char_indices().rev() {
        columns += measure_text_width(character.encode_utf8(&mut [0; 4]));
        if columns > width {
            break;
        }
        start = index;
    }
    format!("…{}", &path[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            done: 0.4285,
            pages: "12,345/28,812+ pages".to_owned(),
            documents: "7/9 documents".to_owned(),
            failed: Some("3 failed".to_owned()),
            pace: Some("0.54 pages/s".to_owned()),
            left: Some(Duration::from_secs(11_100)),
            gpus: None,
            document: "archive/2023/invoices/a long name of a document.pdf".to_owned(),
        }
    }

    #[test]
    fn narrow_bar_drops_bar_pace_document_in_order() {
        let shown: Vec<_> = [140, 110, 80, 70, 60, 40, 30, 20, 4]
            .map(|width| {
                let line = state().fitted(width, 0, false);
                assert!(measure_text_width(&line) < width, "{width}: {line}");
                assert_eq!(
                    measure_text_width(&state().fitted(width, 0, true)),
                    measure_text_width(&line)
                );
                line
            })
            .into();
        insta::assert_snapshot!(shown.join("\n"), @r"
        ⠋ ━━━━━━━━──────────── 42% · 12,345/28,812+ pages · 3 failed · 0.54 pages/s · 3h 05m left · …ve/2023/invoices/a long name of a document.pdf
        ⠋ 42% · 12,345/28,812+ pages · 3 failed · 0.54 pages/s · 3h 05m left · …nvoices/a long name of a document.pdf
        ⠋ 42% · 12,345/28,812+ pages · 3 failed · 3h 05m left · …name of a document.pdf
        ⠋ 42% · 12,345/28,812+ pages · 3 failed · 3h 05m left · …document.pdf
        ⠋ 42% · 12,345/28,812+ pages · 3 failed · 3h 05m left
        ⠋ 42% · 3h 05m left
        ⠋ 42% · 3h 05m left
        ⠋ 42% · 3h 05m left
        42%
        ");
    }

    #[test]
    fn narrow_bar_keeps_the_gpu_rather_than_the_document() {
        let on_gpu = || State {
            gpus: Some("cuda:0 97% 21/80 GB".to_owned()),
            ..state()
        };
        let shown = [150, 110, 80, 60].map(|width| on_gpu().fitted(width, 0, false));
        insta::assert_snapshot!(shown.join("\n"), @r"
        ⠋ ━━━━━━━━──────────── 42% · 12,345/28,812+ pages · 3 failed · 0.54 pages/s · 3h 05m left · cuda:0 97% 21/80 GB · …ices/a long name of a document.pdf
        ⠋ 42% · 12,345/28,812+ pages · 3 failed · 0.54 pages/s · 3h 05m left · cuda:0 97% 21/80 GB · … a document.pdf
        ⠋ 42% · 12,345/28,812+ pages · 3 failed · 3h 05m left · cuda:0 97% 21/80 GB
        ⠋ 42% · 12,345/28,812+ pages · 3 failed · 3h 05m left
        ");
    }

    #[test]
    fn bar_fits_any_width() {
        for width in 1..300 {
            let line = state().fitted(width, 3, false);
            assert!(measure_text_width(&line) < width, "{width}: {line}");
            assert!(width < 22 || line.contains("42%") && line.contains("3h 05m left"));
            let line = waiting("loading the model", Duration::from_secs(75), width, 1);
            assert!(measure_text_width(&line) < width, "{width}: {line}");
        }
    }

    #[test]
    fn bar_before_the_first_page_has_no_estimate() {
        let tally = Tally::new(3, None);
        assert_eq!(
            tally.status_line(),
            "0% · 0/0+ pages · 0/3 documents · time left unknown"
        );
    }
}
