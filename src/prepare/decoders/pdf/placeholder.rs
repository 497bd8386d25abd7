//! Pages that stand for content which only one program shows.

use crate::prepare::decoders::pdfium::{Document, FormKind};

/// A page with more letters shows more than a note.
const MAX_LETTERS: usize = 2000;
/// What such notes say in English; other languages are known by the file's structure alone.
const NOTES: [&str; 4] = [
    "if this message is not eventually replaced",
    "your pdf viewer may not be able to display this type of document",
    "open this pdf portfolio in acrobat",
    "to view the full contents of this document, you need a later version of the pdf viewer",
];

/// Whether a page with this text only says that its document can't be shown: a form of XML alone, or a portfolio of files.
pub(super) fn is_placeholder(document: &Document, names_collection: bool, text: &str) -> bool {
    if names_collection && document.attachments() > 0 {
        return true;
    }
    let form = document.form_kind();
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    if letters.take(MAX_LETTERS + 1).count() > MAX_LETTERS {
        return false;
    }
    form == FormKind::XmlAlone || says_so(text) && form != FormKind::OnPages
}

fn says_so(text: &str) -> bool {
    let words: Vec<_> = text.split_whitespace().map(str::to_lowercase).collect();
    let text = words.join(" ");
    NOTES.iter().any(|note| text.contains(note))
}
