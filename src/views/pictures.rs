//! Pictures of pages, made anew from their files.

use std::{
    collections::{BTreeSet, HashMap},
    iter::Peekable,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::RgbImage;

use crate::{
    cancel::Cancel,
    page::{Document, PixelBudget, Preparation, Source},
    prepare::{self, DecoderChoice, Done, Known, Pages, Raster},
    secrets::Passwords,
};

/// A page that takes longer has no picture.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The picture of a page, or why there is none.
pub type Picture = Result<Arc<RgbImage>, String>;

/// Pictures of some pages, prepared ahead in their order.
pub struct Pictures {
    pages: Peekable<Pages>,
    /// The places of the documents in the order of preparation.
    places: HashMap<PathBuf, usize>,
}

/// A page that a picture is wanted of: its document's file, and its number.
pub type Wanted = (PathBuf, u32);

/// How large pictures are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Resolution of PDF pages.
    pub dpi: f64,
    /// Pixels of a picture at most.
    pub max_pixels: u64,
}

/// Where the documents of an output are, and what opens them.
#[derive(Debug, Clone)]
pub struct Originals {
    /// The folder that relative paths of the records start from.
    pub root: PathBuf,
    /// What opens encrypted documents.
    pub passwords: Passwords,
    /// What opens the documents.
    pub decoder: DecoderChoice,
}

impl Originals {
    /// Where the document of a record should be.
    #[must_use]
    pub fn file_of(&self, path: &str, path_bytes: Option<&str>) -> PathBuf {
        #[cfg(unix)]
        if let Some(bytes) = path_bytes
            && let Ok(bytes) = STANDARD.decode(bytes)
        {
            use std::os::unix::ffi::OsStringExt;
            return self.root.join(std::ffi::OsString::from_vec(bytes));
        }
        self.root.join(path)
    }
}

impl Pictures {
    /// Starts to prepare pictures of the pages, which are sorted by document and number.
    ///
    /// # Errors
    /// No thread or worker process can be started.
    pub fn start(
        wanted: &[Wanted],
        size: Size,
        originals: &Originals,
        cancel: &Cancel,
    ) -> Result<Self> {
        let mut places = HashMap::new();
        let mut sources = Vec::new();
        let mut pages: HashMap<PathBuf, BTreeSet<u32>> = HashMap::new();
        for (path, page) in wanted.iter().filter(|(_, page)| *page > 0) {
            if !places.contains_key(path) {
                places.insert(path.clone(), sources.len());
                sources.push(Source {
                    path: path.clone(),
                    size_bytes: None,
                    error: None,
                });
            }
            pages.entry(path.clone()).or_default().insert(*page);
        }
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        let settings = prepare::Settings {
            passwords: originals.passwords.clone(),
            workers: workers.min(sources.len()).max(1),
            prefetch: 2 * workers,
            page_timeout: TIMEOUT,
            ..prepare::Settings::of_pixels(
                Raster {
                    dpi: size.dpi,
                    budget: PixelBudget {
                        factor: 1,
                        min_pixels: 1,
                        max_pixels: size.max_pixels,
                    },
                },
                originals.decoder.clone(),
            )
        };
        let pages = prepare::pages_except(sources, settings, Box::new(Only(pages)), cancel)?;
        Ok(Self {
            pages: pages.peekable(),
            places,
        })
    }

    /// The picture of a page of the document that had this id, which comes behind all that were asked for before.
    ///
    /// # Errors
    /// The preparation can't go on.
    pub fn of(&mut self, path: &Path, page: u32, doc_id: Option<&str>) -> Result<Picture> {
        let Some(&document) = self.places.get(path) else {
            return Ok(Err("the document was not opened".to_owned()));
        };
        let wanted = (document, page);
        while let Some(next) = self.pages.peek() {
            let Ok(found) = next else { break };
            let number = found.page.number;
            let place = self.places.get(&found.page.document.path);
            let place = place.copied().unwrap_or(usize::MAX);
            let last = found.page.last_number.unwrap_or(number);
            // Page 0 stands for all pages of a document that can't be opened.
            let covers = number == 0 || (number..=last).contains(&page);
            if place == document && covers {
                return Ok(picture(found, doc_id));
            }
            if (place, number) > wanted {
                return Ok(Err("the file has no such page".to_owned()));
            }
            self.pages.next();
        }
        match self.pages.next() {
            Some(Err(error)) => Err(error),
            _ => Ok(Err("the file has no such page".to_owned())),
        }
    }
}

/// The picture of a page that was prepared.
fn picture(found: &Preparation, then: Option<&str>) -> Picture {
    let now = found.page.document.doc_id.as_deref();
    if then.zip(now).is_some_and(|(then, now)| then != now) {
        return Err("the file has changed since it was read".to_owned());
    }
    match &found.result {
        Ok(page) => {
            let pixels = page.pixels.clone();
            pixels.ok_or_else(|| "the page has no pixels".to_owned())
        }
        Err(error) => Err(error.message.clone()),
    }
}

/// Leaves out all pages but these.
struct Only(HashMap<PathBuf, BTreeSet<u32>>);

impl Done for Only {
    fn known(&self, document: &Document, page: u32) -> Known {
        let wanted = self.0.get(&document.path);
        let next = wanted.and_then(|pages| pages.range(page..).next());
        match next {
            _ if page == 0 => Known::Unread,
            Some(&next) if next == page => Known::Unread,
            Some(&next) => Known::Here(next - 1),
            None => Known::Here(u32::MAX),
        }
    }
}
