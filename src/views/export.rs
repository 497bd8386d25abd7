//! The documents of an output as files: one file per document, or one per page.
//!
//! A document `2023/report.pdf` becomes `2023/report.pdf.md` below the folder: its extension stays, so that `report.pdf` and
//! `report.png` don't collide. No path leads out of the folder. Files are replaced atomically, unchanged ones are left alone.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    fs,
    hash::{Hash, Hasher},
    io::{self, Write},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{
    figures::{Figures, PageWithFigures, places},
    newest,
    pictures::Originals,
    with_newline,
};
use crate::{
    answer::markdown,
    block::Block,
    cancel::Cancel,
    error::PageError,
    journal::{Document, Snapshot},
    options::OutputFormat,
    record::{Status, spelled},
};

/// Maximum length of a document's name in bytes: file systems allow 255, and the page and the extension come on top.
const MAX_NAME: usize = 235;

/// How documents become files.
#[derive(Debug, Clone)]
pub struct Export {
    /// The folder that they are written to.
    pub folder: PathBuf,
    /// One file per page.
    pub per_page: bool,
    /// The text before each page but the first, in place of page marks; `{page}` is the page's number.
    pub page_break: Option<String>,
    /// Where the documents are, if figures are cut out of them.
    pub originals: Option<Originals>,
}

/// What an export did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Documents.
    pub documents: usize,
    /// Files that were written.
    pub written: usize,
    /// Files whose content was there already.
    pub unchanged: usize,
    /// Pages that failed, for which there is a placeholder.
    pub failed: usize,
    /// Figures.
    pub figures: usize,
    /// Why there are no figures of some pages, which have some: the first reason, and the number of the pages.
    pub without_figures: Option<(String, usize)>,
}

/// The fields of a record that an export needs.
#[derive(Debug, Deserialize)]
struct Row {
    page: u32,
    last_page: Option<u32>,
    content: Option<String>,
    output_format: OutputFormat,
    error: Option<PageError>,
    path: String,
    path_bytes: Option<String>,
    doc_id: Option<String>,
    skip_reason: Option<String>,
    rotation: Option<u16>,
    blocks: Option<Vec<Block>>,
}

impl Export {
    /// Writes the files, until `go_on` fails.
    ///
    /// # Errors
    /// The output can't be read, a file can't be written, or the error of `go_on`.
    pub fn write(
        &self,
        snapshot: &Snapshot,
        cancel: &Cancel,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Exported> {
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot create {}", self.folder.display()))?;
        let mut exported = Exported::default();
        let documents = snapshot.documents();
        let documents = newest(&documents);
        let mut figures = None;
        if let Some(originals) = &self.originals {
            let mut wanted = Vec::new();
            for document in documents.values() {
                go_on()?;
                let pages = rows(snapshot, document)?;
                let with_figures = pages.iter().filter(|page| page.has_figures());
                wanted.extend(with_figures.map(|page| (page.file(originals), page.page)));
            }
            if !wanted.is_empty() {
                figures = Some(Figures::start(&wanted, originals, cancel)?);
            }
        }
        for document in documents.values() {
            go_on()?;
            let mut pages = rows(snapshot, document)?;
            if let Some((figures, originals)) = figures.as_mut().zip(self.originals.as_ref()) {
                let path = document.path();
                self.cut_figures(figures, originals, &path, &mut pages, &mut exported)?;
            }
            let failed = document.records().iter();
            let failed = failed.filter(|entry| entry.state().status == Status::Failed);
            let failed = failed.map(|entry| entry.pages(None).max(1) as usize);
            exported.failed += failed.sum::<usize>();
            self.write_document(&document.path(), &pages, &mut exported)?;
        }
        Ok(exported)
    }

    /// Writes the figures of the pages, and links the pages' text to them.
    fn cut_figures(
        &self,
        figures: &mut Figures,
        originals: &Originals,
        path: &str,
        pages: &mut [Row],
        exported: &mut Exported,
    ) -> Result<()> {
        let document = self.folder.join(contained(path));
        let name = document.file_name().unwrap_or_default().to_string_lossy();
        let folder = format!("{name}.figures");
        for page in pages.iter_mut().filter(|page| page.has_figures()) {
            let blocks = page.blocks.take().unwrap_or_default();
            let cuts = figures.of(PageWithFigures {
                file: &page.file(originals),
                number: page.page,
                doc_id: page.doc_id.as_deref(),
                rotation: page.rotation.unwrap_or(0),
                blocks: &blocks,
            })?;
            let cuts = match cuts {
                Ok(cuts) => cuts,
                Err(why) => {
                    let without = exported.without_figures.get_or_insert((why, 0));
                    without.1 += 1;
                    continue;
                }
            };
            let mut links = BTreeMap::new();
            for (number, (place, file)) in cuts.into_iter().enumerate() {
                let figure = format!("p{:04}-{}.webp", page.page, number + 1);
                put(
                    &document.with_file_name(&folder).join(&figure),
                    &file,
                    exported,
                )?;
                links.insert(place, link(&format!("{folder}/{figure}")));
                exported.figures += 1;
            }
            page.link(&blocks, &links);
        }
        Ok(())
    }

    fn write_document(&self, path: &str, pages: &[Row], exported: &mut Exported) -> Result<()> {
        let Some(first) = pages.first() else {
            return Ok(());
        };
        exported.documents += 1;
        let extension = match first.output_format {
            OutputFormat::Markdown => "md",
            OutputFormat::Html => "html",
            OutputFormat::Text => "txt",
        };
        let file = |suffix: &str| {
            let mut file = self.folder.join(contained(path)).into_os_string();
            file.push(format!("{suffix}.{extension}"));
            PathBuf::from(file)
        };
        if !self.per_page {
            return put(&file(""), self.whole(pages).as_bytes(), exported);
        }
        for page in pages {
            let suffix = format!(".p{:04}", page.page);
            put(
                &file(&suffix),
                with_newline(page.text()).as_bytes(),
                exported,
            )?;
        }
        Ok(())
    }

    /// All pages, with marks or breaks between them.
    fn whole(&self, pages: &[Row]) -> String {
        let mut text = String::new();
        for (place, page) in pages.iter().enumerate() {
            let number = page.page.to_string();
            match &self.page_break {
                Some(_) if place == 0 => {}
                Some(page_break) => {
                    text += &page_break.replace("{page}", &number);
                    text += "\n";
                }
                None if page.page == 0 => {}
                None if page.output_format == OutputFormat::Text => {
                    // As pdftotext separates pages.
                    text += if place == 0 { "" } else { "\u{c}" };
                }
                None => text += &format!("<!-- page {number} -->\n\n"),
            }
            text += &with_newline(page.text());
            if place + 1 < pages.len() && page.output_format != OutputFormat::Text {
                text += "\n";
            }
        }
        text
    }
}

/// The records of a document.
fn rows(snapshot: &Snapshot, document: &Document) -> Result<Vec<Row>> {
    let entries = document.records().iter();
    entries.map(|entry| snapshot.read(entry)).collect()
}

/// A path as a link of Markdown or HTML.
fn link(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let bytes = path.bytes().map(|byte| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    bytes.collect()
}

impl Row {
    fn has_figures(&self) -> bool {
        places(self.blocks.as_deref().unwrap_or_default())
            .next()
            .is_some()
    }

    fn file(&self, originals: &Originals) -> PathBuf {
        originals.file_of(&self.path, self.path_bytes.as_deref())
    }

    /// Links the content to the files of its figures. Where it is not made of the blocks, they are shown below it.
    fn link(&mut self, blocks: &[Block], links: &BTreeMap<usize, String>) {
        let linked = |place: usize| links.get(&place).cloned();
        let content = self.content.get_or_insert_default();
        match self.output_format {
            OutputFormat::Markdown if *content == markdown(blocks, &|_| None) => {
                *content = markdown(blocks, &linked);
            }
            OutputFormat::Markdown => {
                for (place, link) in links {
                    let only = &blocks[*place..=*place];
                    *content += &format!("\n\n{}", markdown(only, &|_| Some(link.clone())));
                }
            }
            OutputFormat::Html => {
                for link in links.values() {
                    *content += &format!("\n<img src=\"{link}\">");
                }
            }
            OutputFormat::Text => {}
        }
    }

    /// The content, or a placeholder.
    fn text(&self) -> String {
        if let Some(reason) = &self.skip_reason {
            let text = format!("page {} skipped: {reason}", self.page);
            return self.comment(&text);
        }
        if let Some(error) = &self.error {
            let pages = match self.last_page {
                Some(last) if last > self.page => format!("pages {} to {last}", self.page),
                _ if self.page == 0 => "document".to_owned(),
                _ => format!("page {}", self.page),
            };
            // A comment must not end early.
            let message = error.message.replace("--", "- -");
            let text = format!("{pages} failed as {}: {message}", spelled(&error.kind));
            return self.comment(&text);
        }
        self.content.clone().unwrap_or_default()
    }

    fn comment(&self, text: &str) -> String {
        match self.output_format {
            OutputFormat::Text => format!("[{text}]"),
            OutputFormat::Markdown | OutputFormat::Html => format!("<!-- {text} -->"),
        }
    }
}

/// The path below the folder of an export. `..` becomes `_`, so that nothing leads out of it; the root of an absolute path goes.
fn contained(path: &str) -> PathBuf {
    let path: PathBuf = Path::new(path)
        .components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("_".into()),
            Component::CurDir | Component::RootDir => None,
            Component::Prefix(prefix) => {
                let prefix = prefix.as_os_str().to_string_lossy();
                Some(prefix.replace([':', '\\', '?', '/'], "_").into())
            }
        })
        .collect();
    match path.file_name().and_then(|name| name.to_str()) {
        None => "_".into(),
        Some(name) if name.len() > MAX_NAME => {
            let shortened = shortened(name);
            path.with_file_name(shortened)
        }
        Some(_) => path,
    }
}

/// The start of a name that is too long with a further extension, and what tells it from others like it.
fn shortened(name: &str) -> String {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let mut start = MAX_NAME - 20;
    while !name.is_char_boundary(start) {
        start -= 1;
    }
    format!("{}~{:016x}", &name[..start], hasher.finish())
}

/// Writes a file atomically, unless it has this content already.
fn put(path: &Path, content: &[u8], exported: &mut Exported) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    match fs::read(path) {
        Ok(there) if there == content => {
            exported.unchanged += 1;
            return Ok(());
        }
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            bail!("{}: it is a folder", failed())
        }
        _ => {}
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(failed)?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).with_context(failed)?;
    file.write_all(content).with_context(failed)?;
    file.persist(path)
        .map_err(|error| error.error)
        .with_context(failed)?;
    exported.written += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_folder() {
        let at = |path: &str| contained(path).to_string_lossy().into_owned();
        assert_eq!(at("2023/report.pdf"), "2023/report.pdf");
        assert_eq!(at("/etc/passwd"), "etc/passwd");
        assert_eq!(at("../../a.pdf"), "_/_/a.pdf");
        assert_eq!(at("a/./b/../c.pdf"), "a/b/_/c.pdf");
        assert_eq!(at(""), "_");
        let long = |last| format!("in/{}{last}", "é".repeat(125));
        assert!(at(&long("a")).len() < 3 + MAX_NAME);
        assert_ne!(at(&long("a")), at(&long("b")));
    }
}
