//! One line of progress: full width for a log, or fitted to a terminal.

use std::time::Duration;

use console::measure_text_width;

use super::tally::Tally;
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
        let (done, known, more) = self.pages_of();
        let (now, left) = (self.pages(), self.pages_left());
        let (read, timed) = (self.read(), now - self.copied);
        State {
            done: done as f64 / (done as f64 + left).max(1.0),
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
            failed: (self.failed > 0).then(|| format!("{} failed", number(self.failed))),
            pace: (read > 0 && !elapsed.is_zero()).then(|| self.pace(elapsed)),
            // Failures alone say nothing of how long a page takes.
            left: (read > 0)
                .then(|| Duration::try_from_secs_f64(elapsed.as_secs_f64() * left / timed as f64))
                .map(|left| left.unwrap_or(Duration::MAX)),
            document: printable_path(&self.latest),
        }
    }
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
            self.document.clone(),
        ];
        joined(&parts)
    }

    /// The line, narrower than `width`. Parts without room are left out: first the bar, then the pace, then the
    /// document. The percentage and the time left stay.
    pub(super) fn fitted(&self, width: usize, tick: usize, coloured: bool) -> String {
        // The last column stays free, where some terminals break the line.
        let width = width.saturating_sub(1);
        let failed = self.failed.clone().unwrap_or_default();
        let pace = self.pace.clone().unwrap_or_default();
        let red = paint(&failed, Colour::Red, coloured && !failed.is_empty());
        let spinner = SPINNER[tick % SPINNER.len()];
        let (percent, left) = (format!("{:>3}", self.percent()), self.left());
        let empty = String::new();
        let line = |glyphs: bool, pace: &String, pages: &String, failed: &String| {
            let bar = if glyphs { self.glyphs() } else { String::new() };
            let parts = [&percent, pages, failed, pace, &left].map(String::clone);
            format!("{spinner} {bar}{}", joined(&parts))
        };
        let path_room = if self.document.is_empty() {
            0
        } else {
            MIN_PATH + 3
        };
        let full = line(true, &pace, &self.pages, &red);
        if measure_text_width(&full) + path_room.max(self.path_wanted().min(30)) <= width {
            return self.with_document(full, width);
        }
        let bare = line(false, &pace, &self.pages, &red);
        if measure_text_width(&bare) + path_room <= width {
            return self.with_document(bare, width);
        }
        let slow = line(false, &empty, &self.pages, &red);
        if measure_text_width(&slow) + path_room <= width {
            return self.with_document(slow, width);
        }
        let shorter = [
            slow,
            line(false, &empty, &self.pages, &empty),
            line(false, &empty, &empty, &empty),
            format!("{percent} {left}"),
        ];
        let fits = shorter
            .iter()
            .find(|line| measure_text_width(line) <= width);
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
