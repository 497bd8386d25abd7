//! Pictures of pages, made anew from their files, as small JPEGs.

use std::{
    collections::{BTreeSet, HashMap},
    iter::Peekable,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{RgbImage, codecs::jpeg::JpegEncoder};

use crate::{
    cancel::Cancel,
    page::{Document, Needs, PixelBudget, Preparation, Source},
    prepare::{self, DecoderChoice, Done, Known, Pages, Raster},
    record::Record,
    secrets::Passwords,
};

/// Resolution of PDF pages, within [`MAX_PIXELS`].
const DPI: f64 = 100.0;
/// Maximum size of a picture: print of 10 points can still be read.
const MAX_PIXELS: u64 = 900_000;
/// Quality of the JPEGs.
const QUALITY: u8 = 72;
/// A page that takes longer has no picture.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The picture of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picture {
    /// A `data:` URL, the width and the height in pixels.
    Jpeg(String, u32, u32),
    /// There is none, for this reason.
    Missing(String),
}

/// The pictures of some pages, prepared ahead in their order.
pub struct Pictures {
    pages: Peekable<Pages>,
    /// The places of the documents in the order of preparation.
    places: HashMap<PathBuf, usize>,
}

/// A page that a picture is wanted of: its document's file, and its number.
pub type Wanted = (PathBuf, u32);

impl Pictures {
    /// Starts to prepare pictures of the pages, which are sorted by document and number.
    ///
    /// # Errors
    /// No thread or worker process can be started.
    pub fn start(
        wanted: &[Wanted],
        passwords: Passwords,
        decoder: DecoderChoice,
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
            raster: Raster {
                dpi: DPI,
                budget: PixelBudget {
                    factor: 1,
                    min_pixels: 1,
                    max_pixels: MAX_PIXELS,
                },
            },
            selection: None,
            needs: Needs {
                pixels: true,
                text: false,
            },
            text_first: false,
            draft: None,
            passwords,
            workers: workers.min(sources.len()).max(1),
            prefetch: 2 * workers,
            retries: 0,
            page_timeout: TIMEOUT,
            decoder,
        };
        let pages = prepare::pages_except(sources, settings, Box::new(Only(pages)), cancel)?;
        Ok(Self {
            pages: pages.peekable(),
            places,
        })
    }

    /// The picture of a record's page, which comes behind all that were asked for before.
    ///
    /// # Errors
    /// The preparation can't go on.
    pub fn of(&mut self, path: &Path, record: &Record) -> Result<Picture> {
        let Some(&document) = self.places.get(path) else {
            return Ok(Picture::Missing("the document was not opened".to_owned()));
        };
        let wanted = (document, record.page);
        while let Some(next) = self.pages.peek() {
            let Ok(found) = next else { break };
            let number = found.page.number;
            let place = self.places.get(&found.page.document.path);
            let place = place.copied().unwrap_or(usize::MAX);
            let last = found.page.last_number.unwrap_or(number);
            // Page 0 stands for all pages of a document that can't be opened.
            let covers = number == 0 || (number..=last).contains(&record.page);
            if place == document && covers {
                return Ok(picture(found, record));
            }
            if (place, number) > wanted {
                return Ok(Picture::Missing("the file has no such page".to_owned()));
            }
            self.pages.next();
        }
        match self.pages.next() {
            Some(Err(error)) => Err(error),
            _ => Ok(Picture::Missing("the file has no such page".to_owned())),
        }
    }
}

/// The picture of a page that was prepared.
fn picture(found: &Preparation, record: &Record) -> Picture {
    let now = found.page.document.doc_id.as_ref();
    if let (Some(then), Some(now)) = (&record.doc_id, now)
        && then != now
    {
        return Picture::Missing("the file has changed since it was read".to_owned());
    }
    match &found.result {
        Ok(page) => match &page.pixels {
            Some(pixels) => encode(pixels),
            None => Picture::Missing("the page has no pixels".to_owned()),
        },
        Err(error) => Picture::Missing(error.message.clone()),
    }
}

fn encode(pixels: &RgbImage) -> Picture {
    let mut jpeg = Vec::new();
    match JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(pixels) {
        Ok(()) => {
            let url = format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg));
            Picture::Jpeg(url, pixels.width(), pixels.height())
        }
        Err(error) => Picture::Missing(format!("the picture cannot be written: {error}")),
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
