//! The documents of an output as training data: one line per document, with the fields of Dolma as olmOCR fills them
//! (`olmocr/pipeline.py`, `build_dolma_document`).

use std::{
    collections::HashSet,
    io::Write,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Result;
use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::newest;
use crate::{
    journal::{Snapshot, put_whole},
    page::Warning,
    record::Status,
    terminal::timestamp,
};

/// What was written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Written {
    /// Documents with text.
    pub documents: usize,
    /// Documents without any text.
    pub empty: usize,
    /// Documents with the bytes of another one.
    pub copies: usize,
    /// Pages that failed, of which there is no text.
    pub failed: usize,
}

/// The fields of a record that are needed.
#[derive(Debug, Deserialize)]
struct Row {
    path: String,
    doc_id: Option<String>,
    page: u32,
    page_count: Option<u32>,
    status: Status,
    content: Option<String>,
    model: Option<String>,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    warnings: Vec<Warning>,
}

/// A line.
#[derive(Serialize)]
struct Line {
    id: String,
    text: String,
    source: &'static str,
    added: String,
    created: String,
    metadata: Map<String, Value>,
    attributes: Attributes,
}

#[derive(Serialize)]
struct Attributes {
    /// First character, the one behind the last, page.
    pdf_page_numbers: Vec<(usize, usize, u32)>,
}

/// Writes the documents to a file, until `go_on` fails. Documents without text are left out, and so are copies.
///
/// # Errors
/// The output can't be read, the file can't be written, or the error of `go_on`.
pub fn write(snapshot: &Snapshot, path: &Path, go_on: &dyn Fn() -> Result<()>) -> Result<Written> {
    let mut written = Written::default();
    let mut seen = HashSet::new();
    let day = day(snapshot);
    let documents = snapshot.documents();
    put_whole(path, |file| {
        for document in newest(&documents).values() {
            go_on()?;
            let entries = document.records().iter();
            let pages = entries.map(|entry| snapshot.read(entry));
            let pages: Vec<Row> = pages.collect::<Result<_>>()?;
            written.failed += count_failed(&pages);
            let id = pages.iter().find_map(|page| page.doc_id.clone());
            let Some(id) = id.filter(|_| has_text(&pages)) else {
                written.empty += 1;
                continue;
            };
            if !seen.insert(id.clone()) {
                written.copies += 1;
                continue;
            }
            serde_json::to_writer(&mut *file, &line(id, &pages, &day))?;
            file.write_all(b"\n")?;
            written.documents += 1;
        }
        Ok(())
    })?;
    Ok(written)
}

fn count_failed(pages: &[Row]) -> usize {
    let failed = pages.iter().filter(|page| page.status == Status::Failed);
    failed.count()
}

fn has_text(pages: &[Row]) -> bool {
    let mut contents = pages.iter().filter_map(|page| page.content.as_ref());
    contents.any(|content| !content.trim().is_empty())
}

fn line(id: String, pages: &[Row], day: &str) -> Line {
    let (mut text, mut end, mut spans) = (String::new(), 0, Vec::with_capacity(pages.len()));
    for (place, page) in pages.iter().enumerate() {
        let start = end;
        if let Some(content) = &page.content {
            text += content;
            end += content.chars().count();
            if place + 1 < pages.len() {
                text.push('\n');
                end += 1;
            }
        }
        spans.push((start, end, page.page));
    }
    let sum = |tokens: fn(&Row) -> Option<u64>| pages.iter().filter_map(tokens).sum::<u64>();
    let fallback = |page: &&Row| page.warnings.contains(&Warning::FallbackUsed);
    let metadata = [
        (
            "Source-File",
            pages.first().map(|page| page.path.as_str()).into(),
        ),
        ("omnidocs-version", env!("CARGO_PKG_VERSION").into()),
        (
            "model",
            pages.iter().find_map(|page| page.model.as_deref()).into(),
        ),
        (
            "pdf-total-pages",
            pages.iter().find_map(|page| page.page_count).into(),
        ),
        ("total-input-tokens", sum(|page| page.prompt_tokens).into()),
        (
            "total-output-tokens",
            sum(|page| page.completion_tokens).into(),
        ),
        (
            "total-fallback-pages",
            pages.iter().filter(fallback).count().into(),
        ),
        ("total-failed-pages", json!(count_failed(pages))),
    ];
    let metadata = metadata.map(|(name, value): (&str, Value)| (name.to_owned(), value));
    Line {
        id,
        text,
        source: "omnidocs",
        added: day.to_owned(),
        created: day.to_owned(),
        metadata: metadata.into_iter().collect(),
        attributes: Attributes {
            pdf_page_numbers: spans,
        },
    }
}

/// The day of the output's last run, so that the same output gives the same file.
fn day(snapshot: &Snapshot) -> String {
    let started = snapshot.meta().map(|meta| meta.run.started());
    let seconds = started.or_else(|| snapshot.modified()).unwrap_or(0);
    let mut time = timestamp(
        UNIX_EPOCH + Duration::from_secs(seconds),
        SecondsFormat::Secs,
    );
    time.truncate("2026-11-28".len());
    time
}
