//! One page, or all pages of a document, for reading on a terminal.

use std::fmt;

use anyhow::{Result, bail};

use crate::{
    journal::{Document, Snapshot},
    record::{Record, Status, spelled},
    words::human,
};

/// Maximum number of names in a message.
const NAMED: usize = 5;

/// What to show: `a.pdf`, or `a.pdf:3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// As typed, for a document whose name ends like a page number.
    whole: String,
    document: String,
    page: Option<u32>,
}

impl Selector {
    /// Parses what was typed; anything names a document.
    #[must_use]
    pub fn new(typed: &str) -> Self {
        let page = typed.rsplit_once(':').and_then(|(document, page)| {
            let page = page.parse().ok()?;
            (!document.is_empty()).then(|| (document.to_owned(), page))
        });
        let (document, page) = page.unzip();
        Self {
            whole: typed.to_owned(),
            document: document.unwrap_or_else(|| typed.to_owned()),
            page,
        }
    }

    /// The records that it selects, by page.
    ///
    /// # Errors
    /// No document, or more than one, has this name; the document has no record of this page; or the output can't be read.
    pub fn find(&self, snapshot: &Snapshot) -> Result<Vec<Record>> {
        let documents = snapshot.documents();
        let (document, page) = match one(&documents, &self.whole)? {
            Some(document) => (document, None),
            None => match one(&documents, &self.document)? {
                Some(document) => (document, self.page),
                None => bail!(unknown(&documents, &self.document, snapshot)),
            },
        };
        let entries = document.records().iter();
        let entries = entries.filter(|entry| page.is_none_or(|page| entry.page() == page));
        let records: Vec<Record> = entries
            .map(|entry| snapshot.read(entry))
            .collect::<Result<_>>()?;
        if records.is_empty() {
            let path = document.path();
            let page = page.unwrap_or(0);
            match document.page_count() {
                Some(count) if page > count => bail!("{path} has {count} pages, no page {page}"),
                _ => bail!("{path} has no record of page {page}"),
            }
        }
        Ok(records)
    }
}

/// The newest document with this path; else the one whose path ends in these parts.
fn one<'a>(documents: &'a [Document<'a>], typed: &str) -> Result<Option<&'a Document<'a>>> {
    let newest = |some: Vec<&'a Document<'a>>| some.into_iter().max_by_key(|it| it.newest());
    let exact = documents.iter().filter(|it| it.path() == typed).collect();
    if let Some(document) = newest(exact) {
        return Ok(Some(document));
    }
    let ends = |path: &str| {
        let before = path.strip_suffix(typed);
        before.is_some_and(|before| before.ends_with(['/', '\\']))
    };
    let ending: Vec<_> = documents.iter().filter(|it| ends(&it.path())).collect();
    let mut paths: Vec<_> = ending.iter().map(|it| it.path()).collect();
    paths.dedup();
    if paths.len() > 1 {
        let named = paths.iter().take(NAMED).map(AsRef::as_ref);
        let named: Vec<&str> = named.collect();
        let more = if paths.len() > NAMED { ", …" } else { "" };
        bail!(
            "{} documents are called {typed}: name one of them by its path: {}{more}",
            paths.len(),
            named.join(", ")
        );
    }
    Ok(newest(ending))
}

fn unknown(documents: &[Document], typed: &str, snapshot: &Snapshot) -> String {
    let output = snapshot.path().display();
    let file = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned();
    let distance = |path: &str| {
        let whole = strsim::damerau_levenshtein(path, typed);
        whole.min(strsim::damerau_levenshtein(&file(path), &file(typed)))
    };
    let near = documents
        .iter()
        .map(|it| (distance(&it.path()), it.path()))
        .min();
    match near {
        Some((distance, path)) if distance <= typed.chars().count() / 2 => {
            format!("{output} has no document {typed}; did you mean {path}?")
        }
        _ => format!("{output} has no document {typed}"),
    }
}

/// The facts of a record in a line or two, without its content.
pub struct Facts<'a>(pub &'a Record);

impl Facts<'_> {
    /// The document and the page.
    #[must_use]
    pub fn title(&self) -> String {
        let record = self.0;
        let mut title = record.path.clone();
        if record.page > 0 {
            title += &format!(" p.{}", record.page);
        }
        if let Some(count) = record.page_count {
            title += &format!(" of {count}");
        }
        title
    }

    /// How it was read.
    #[must_use]
    pub fn details(&self) -> String {
        let record = self.0;
        let mut details = Vec::new();
        if record.status == Status::Ok {
            details.push(format!("{} words", record.word_count));
        }
        let model = record.model.as_ref();
        let model = model.map_or_else(String::new, |model| format!(" {model}"));
        details.push(format!("{}{model}", record.engine));
        details.extend(record.skip_reason.clone());
        if let Some((width, height)) = record.width.zip(record.height) {
            let parts = record
                .parts
                .map_or_else(String::new, |parts| format!(" in {parts} parts"));
            details.push(format!("{width}×{height}{parts}"));
        }
        let total = std::time::Duration::from_millis(record.timings_ms.total);
        details.push(human(total));
        if record.attempts > 1 {
            details.push(format!("{} attempts", record.attempts));
        }
        if let Some(confidence) = record.confidence {
            // The geometric mean of the tokens' probabilities.
            let [mean, worst] =
                [confidence.mean, confidence.worst].map(|log| (100.0 * log.exp()).round());
            details.push(format!("confidence {mean} % (worst part {worst} %)"));
        }
        details.extend(record.warnings.iter().map(spelled));
        details.join(" · ")
    }
}

impl fmt::Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.0;
        let (title, details) = (self.title(), self.details());
        write!(f, "{title} · {} · {details}", spelled(&record.status))?;
        if let Some(error) = &record.error {
            write!(f, "\n{}: {}", spelled(&error.kind), error.message)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selector_takes_a_page_after_the_last_colon() {
        let of = |typed| {
            let selector = Selector::new(typed);
            (selector.document, selector.page)
        };
        assert_eq!(of("in/a.pdf:3"), ("in/a.pdf".to_owned(), Some(3)));
        assert_eq!(of("in/a.pdf"), ("in/a.pdf".to_owned(), None));
        assert_eq!(of("C:a.pdf"), ("C:a.pdf".to_owned(), None));
        assert_eq!(of(":3"), (":3".to_owned(), None));
    }
}
