//! The status as lines for a terminal.

use std::time::Duration;

use super::{Stages, Status};
use crate::{
    record::spelled,
    terminal::{Colour, Lines},
    words::{counted, human, number},
};

impl Status {
    /// Labelled lines.
    #[must_use]
    pub fn lines(&self) -> Lines {
        let mut lines = Lines::default();
        let colour = match self.state {
            "finished" => Colour::Green,
            "running" => Colour::Bold,
            _ => Colour::Yellow,
        };
        lines.add("output", self.output.clone());
        lines.add_in(colour, "run", self.run());
        lines.add("documents", self.documents());
        lines.add("pages", self.pages());
        if self.words > 0 {
            lines.add("content", self.content());
        }
        if self.engines.len() > 1 {
            let engines = self.engines.iter();
            let engines = engines.map(|(name, pages)| format!("{} by {name}", amount(*pages)));
            lines.add("engines", engines.collect::<Vec<_>>().join(", "));
        }
        if let Some(seconds) = &self.seconds_per_page {
            let time = |seconds| human(Duration::from_secs_f64(seconds));
            let (median, p95, max) = (time(seconds.median), time(seconds.p95), time(seconds.max));
            lines.add(
                "per page",
                format!("{median} (median), {p95} (95th percentile), {max} (slowest)"),
            );
            for (place, bar) in self.times.bars().into_iter().enumerate() {
                lines.add_whole(if place == 0 { "times" } else { "" }, bar);
            }
            let stages = stages(&self.seconds_by_stage);
            if !stages.is_empty() {
                lines.add("stages", stages);
            }
        }
        if !self.warnings.is_empty() {
            let warnings = self.warnings.iter();
            let warnings =
                warnings.map(|(warning, pages)| format!("{} {}", amount(*pages), spelled(warning)));
            let warnings = warnings.collect::<Vec<_>>().join(", ");
            lines.add_in(Colour::Yellow, "warnings", warnings);
        }
        for failures in &self.failures {
            let kind = spelled(&failures.kind);
            let pages = counted(failures.pages as usize, "page", "pages");
            let advice = failures.advice;
            lines.add_in(
                Colour::Red,
                "failed",
                format!("{pages} as {kind}: {advice}"),
            );
            for example in &failures.examples {
                let page = match example.page {
                    0 => String::new(),
                    page => format!(" p.{page}"),
                };
                lines.add("", format!("{}{page}: {}", example.path, example.message));
            }
        }
        for (name, value) in &self.settings {
            let value = match value.as_str() {
                // A prompt may be a page long.
                Some(text) => text.lines().next().unwrap_or_default().to_owned(),
                None => value.to_string(),
            };
            let label = if Some(name) == self.settings.keys().next() {
                "settings"
            } else {
                ""
            };
            lines.add(label, format!("{name} {value}"));
        }
        lines
    }

    fn run(&self) -> String {
        let Some(run) = &self.last_run else {
            return self.state.to_owned();
        };
        let pages = counted(run.pages as usize, "page", "pages");
        let time = match run.seconds {
            0 => "less than a second".to_owned(),
            seconds => human(Duration::from_secs(seconds)),
        };
        let mut text = format!("{}; the last run recorded {pages} in {time}", self.state);
        if let Some(pace) = run.pages_per_second {
            text += &format!(", {pace:.2} pages/s");
        }
        if let Some(price) = run.price_per_million_pages {
            text += &format!(", {} a million pages", number(price.round() as usize));
        }
        text
    }

    fn documents(&self) -> String {
        let documents = &self.documents;
        let mut text = format!(
            "{}: {} complete",
            amount(documents.total),
            amount(documents.complete)
        );
        if documents.failed > 0 {
            text += &format!(", {} with failures", amount(documents.failed));
        }
        if documents.unfinished > 0 {
            text += &format!(", {} unfinished", amount(documents.unfinished));
        }
        text
    }

    fn pages(&self) -> String {
        let pages = &self.pages;
        let mut text = format!("{} ok, {} failed", amount(pages.ok), amount(pages.failed));
        if pages.blank > 0 {
            text += &format!(", {} blank", amount(pages.blank));
        }
        if pages.skipped > 0 {
            text += &format!(", {} skipped", amount(pages.skipped));
        }
        if pages.pending > 0 {
            text += &format!("; {} without a record", amount(pages.pending));
        }
        text
    }

    fn content(&self) -> String {
        let words = counted(self.words as usize, "word", "words");
        match self.tokens {
            0 => words,
            tokens => format!("{words}, {}", counted(tokens as usize, "token", "tokens")),
        }
    }
}

fn amount(count: u64) -> String {
    number(count as usize)
}

fn stages(stages: &Stages) -> String {
    let named = [
        ("preparation", stages.prepare),
        ("prefill", stages.prefill),
        ("decode", stages.decode),
    ];
    let spent = named.into_iter().filter(|(_, seconds)| *seconds > 0.0);
    let spent =
        spent.map(|(name, seconds)| format!("{} {name}", human(Duration::from_secs_f64(seconds))));
    spent.collect::<Vec<_>>().join(", ")
}
