//! What people look at, made from an output: its status, its pages, its documents as files, a report.

pub mod advice;
pub mod dolma;
pub mod export;
pub mod figures;
pub mod histogram;
pub mod listing;
pub mod pictures;
pub mod report;
pub mod show;
pub mod status;

use std::{borrow::Cow, collections::BTreeMap};

use crate::journal::Document;

/// `text` with an end of its last line, if there is a line.
#[must_use]
pub fn with_newline(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The newest document of each path: an edited file has several.
fn newest<'a>(documents: &'a [Document<'a>]) -> BTreeMap<Cow<'a, str>, &'a Document<'a>> {
    let mut newest: BTreeMap<Cow<str>, &Document> = BTreeMap::new();
    for document in documents {
        let kept = newest.entry(document.path()).or_insert(document);
        if document.newest() > kept.newest() {
            *kept = document;
        }
    }
    newest
}
