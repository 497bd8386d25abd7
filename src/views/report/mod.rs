//! The report: one HTML page, complete in itself, with the status of an output and some of its pages beside what was read.
//!
//! Nothing in it is fetched, and nothing from a document can run: text is escaped or cleaned (`markup`), and the page's policy
//! allows its own style and script alone, by their checksums.

mod jpeg;
mod markup;
mod pick;

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use self::{
    jpeg::Shown,
    markup::{escape, render},
};
use super::{
    pictures::{Originals, Pictures},
    show::Facts,
    status::Status,
};
use crate::{
    block::Block,
    cancel::Cancel,
    journal::Snapshot,
    record::{Record, Status as PageStatus, spelled},
    terminal::printable,
    words::counted,
};

pub use self::pick::Pick;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Minimum size in bytes of a page in the report.
const MIN_ARTICLE: usize = 256;
/// What a page can be filtered by, as `data-kinds` and as people read it.
const KINDS: [(&str, &str); 6] = [
    ("ok", "ok"),
    ("failed", "failed"),
    ("blank", "blank"),
    ("skipped", "skipped"),
    ("warnings", "with warnings"),
    ("copies", "copies"),
];

/// What to show, and from where.
#[derive(Debug, Clone)]
pub struct Report {
    /// Which pages.
    pub pick: Pick,
    /// Where the documents are.
    pub originals: Originals,
    /// Maximum size of the report in bytes; pages beyond it are left out.
    pub max_bytes: usize,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The page.
    pub html: String,
    /// Number of pages in it.
    pub pages: usize,
    /// Number of pages that did not fit.
    pub left_out: usize,
    /// Number of pages without a picture.
    pub without_picture: usize,
}

impl Report {
    /// Builds the report of an output.
    ///
    /// # Errors
    /// The output can't be read, no worker process can be started, or the run is cancelled.
    pub fn build(&self, snapshot: &Snapshot, cancel: &Cancel) -> Result<Built> {
        let status = Status::read(snapshot, None)?;
        let room = self.max_bytes.saturating_sub(STYLE.len() + SCRIPT.len());
        let mut entries = self.pick.entries(snapshot)?;
        let picked = entries.len();
        entries.truncate(room / MIN_ARTICLE);
        let read = |entry| snapshot.read::<Record>(entry);
        let mut wanted = Vec::with_capacity(entries.len());
        for entry in &entries {
            let record = read(entry)?;
            let file = self
                .originals
                .file_of(&record.path, record.path_bytes.as_deref());
            wanted.push((file, entry.page()));
        }
        let mut pictures = Pictures::start(&wanted, jpeg::SIZE, &self.originals, cancel)?;
        let mut built = Built {
            html: String::new(),
            pages: 0,
            left_out: 0,
            without_picture: 0,
        };
        let (mut articles, mut size, mut kinds) = (Vec::new(), 0, BTreeSet::new());
        for (entry, (path, _)) in entries.iter().zip(&wanted) {
            if cancel.reason().is_some() {
                bail!("interrupted");
            }
            let record = read(entry)?;
            let picture = pictures.of(path, record.page, record.doc_id.as_deref())?;
            let picture = Shown::of(picture);
            let article = article(&record, &picture);
            size += article.len();
            if size > room {
                break;
            }
            built.pages += 1;
            built.without_picture += usize::from(matches!(picture, Shown::Missing(_)));
            kinds.extend(kinds_of(&record));
            let worst = record.confidence.map_or(0.0, |confidence| confidence.worst);
            articles.push((worst, article));
        }
        if let Pick::Unsure(_) = self.pick {
            articles.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        }
        let articles: String = articles.into_iter().map(|(_, article)| article).collect();
        built.left_out = picked - built.pages;
        built.html = self.page(&status, &kinds, &articles, &built);
        Ok(built)
    }

    fn page(
        &self,
        status: &Status,
        kinds: &BTreeSet<&'static str>,
        articles: &str,
        built: &Built,
    ) -> String {
        let (style, script) = (checksum(STYLE), checksum(SCRIPT));
        let output = shown(&status.output);
        let mut facts = String::new();
        for (label, text, is_bar) in status.lines().each() {
            let class = if is_bar { " class=\"bar\"" } else { "" };
            facts += &format!(
                "<dt>{}</dt><dd{class}>{}</dd>\n",
                escape(label),
                shown(text)
            );
        }
        let options: String = KINDS
            .iter()
            .filter(|(kind, _)| kinds.contains(kind))
            .map(|(kind, name)| format!("<option value=\"{kind}\">{name}</option>"))
            .collect();
        let note = self.note(status, built);
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
             style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n\
             <title>{output} · omnidocs report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <header>\n<h1>{output}</h1>\n<details open><summary>status</summary>\n\
             <dl class=\"facts\">\n{facts}</dl>\n</details>\n<p class=\"empty\">{note}</p>\n</header>\n\
             <nav>\n<input id=\"search\" type=\"search\" placeholder=\"search paths and text\" aria-label=\"search\">\n\
             <select id=\"filter\" aria-label=\"filter\"><option value=\"all\">all pages</option>{options}</select>\n\
             <output id=\"count\"></output>\n\
             <span class=\"keys\"><kbd>j</kbd> <kbd>k</kbd> next, previous · <kbd>f</kbd> filter · <kbd>/</kbd> search · \
             click a picture: larger</span>\n</nav>\n\
             <main>\n{articles}</main>\n<footer class=\"empty\">omnidocs {version}</footer>\n\
             <script>{SCRIPT}</script>\n</body>\n</html>\n"
        )
    }

    /// Which pages are shown.
    fn note(&self, status: &Status, built: &Built) -> String {
        let pages = &status.pages;
        let all = pages.recorded() as usize;
        let mut note = match self.pick {
            Pick::Sample(_) if built.pages + built.left_out >= all => "All pages.".to_owned(),
            Pick::Sample(_) => {
                let all = counted(all, "page", "pages");
                format!("A random sample of {} of {all}.", built.pages)
            }
            Pick::Failed => "The pages that failed.".to_owned(),
            Pick::Warnings => "The pages with warnings.".to_owned(),
            Pick::Unsure(_) => {
                "The pages that the model was least sure of, the least sure first.".to_owned()
            }
        };
        if built.left_out > 0 {
            let left_out = counted(built.left_out, "more page does", "more pages do");
            note += &format!(" {left_out} not fit: raise --max-mb.");
        }
        note
    }
}

/// One page: its facts, its picture, and what was read.
fn article(record: &Record, picture: &Shown) -> String {
    let status = spelled(&record.status);
    let mut html = format!(
        "<article data-kinds=\"{}\">\n<h2><span class=\"{status}\">{status}</span> {}</h2>\n",
        kinds_of(record).collect::<Vec<_>>().join(" "),
        shown(&Facts(record).title()),
    );
    let details = Facts(record).details();
    let copied = record.copy_of.as_ref();
    let copied = copied.map_or_else(String::new, |path| format!("copy of {} · ", shown(path)));
    html += &format!("<p class=\"details\">{copied}{}</p>\n", shown(&details));
    if let Some(error) = &record.error {
        let (kind, message) = (spelled(&error.kind), shown(&error.message));
        html += &format!("<p class=\"error\"><strong>{kind}</strong>: {message}</p>\n");
    }
    html += "<div class=\"pair\">\n";
    html += &match picture {
        Shown::Jpeg(url, width, height) => {
            let boxes = boxes(record.blocks.as_deref().unwrap_or_default());
            format!(
                "<figure class=\"page\"><img src=\"{url}\" width=\"{width}\" height=\"{height}\" loading=\"lazy\" \
                 alt=\"the page\">{boxes}</figure>\n"
            )
        }
        Shown::Missing(why) => format!("<p class=\"nopicture\">no picture: {}</p>\n", shown(why)),
    };
    let content = record.content.as_deref().unwrap_or_default();
    html += &if record.status == PageStatus::Failed || record.status == PageStatus::Skipped {
        String::new()
    } else if content.trim().is_empty() {
        "<p class=\"empty\">no text</p>\n".to_owned()
    } else {
        let content = render(content, record.output_format);
        format!("<div class=\"text\">{content}</div>\n")
    };
    html + "</div>\n</article>\n"
}

fn kinds_of(record: &Record) -> impl Iterator<Item = &'static str> {
    let status = match record.status {
        PageStatus::Ok => "ok",
        PageStatus::Failed => "failed",
        PageStatus::Blank => "blank",
        PageStatus::Skipped => "skipped",
    };
    let warnings = (!record.warnings.is_empty()).then_some("warnings");
    let copies = record.copy_of.is_some().then_some("copies");
    [Some(status), warnings, copies].into_iter().flatten()
}

/// The boxes of blocks over a picture.
fn boxes(blocks: &[Block]) -> String {
    let rects: String = blocks
        .iter()
        .filter_map(|block| {
            let [left, top, right, bottom] = block.bbox?;
            let (width, height) = (right - left, bottom - top);
            let kind = spelled(&block.kind);
            Some(format!(
                "<rect class=\"{kind}\" x=\"{left}\" y=\"{top}\" width=\"{width:.4}\" height=\"{height:.4}\">\
                 <title>{kind}</title></rect>"
            ))
        })
        .collect();
    if rects.is_empty() {
        return rects;
    }
    format!("<svg viewBox=\"0 0 1 1\" preserveAspectRatio=\"none\">{rects}</svg>")
}

/// Text of one line that may come from a document.
fn shown(text: &str) -> String {
    escape(&printable(text)).into_owned()
}

/// The SHA-256 of a style or a script, as a policy names it.
fn checksum(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}
