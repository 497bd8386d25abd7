//! What the program and its worker processes say to each other, in [`frames`].
//!
//! The raw bytes of a request are the document's path, which need not be UTF-8, and then the passwords to try on it; those
//! of a page are its pixels, its text, and where that is, as JSON.
//!
//! A worker may have been taken over by what it decodes. So every request carries a ticket that its answer must repeat,
//! and a frame that is longer than the answer to its request can be is not read.

use std::io::{self, Read, Write};

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::{
    decoder::{DecodedPage, MAX_PAGES, MAX_PLACE_BYTES, MAX_TEXT_BYTES, PageCount, PageRequest},
    frames::{self, invalid, read_bytes, read_header},
    resize::max_resized_pixels,
    script::Script,
    split::MAX_PARTS,
};
use crate::{
    error::{PageError, Stage},
    formats::DecoderKind,
    page::{Format, Rotation, Warning},
};

/// An error's message has at most so many bytes, so that it fits into a frame's header however it is escaped.
const MAX_MESSAGE: usize = 8 << 10;
/// A page has at most so many warnings: there are no more kinds.
const MAX_WARNINGS: usize = 16;

/// The first thing that a worker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Greeting {
    /// It has started and can work.
    Ready,
    /// It can never work, for this reason.
    Broken(String),
}

/// What is asked of a worker. Every request names its document, so that any worker can answer it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Request {
    /// Differs from request to request.
    pub ticket: u64,
    /// Differs from document to document; the worker keeps the latest one open.
    pub document: u64,
    /// What the document's first bytes show.
    pub format: Format,
    /// The length of the document's path; the passwords come after it.
    pub path_bytes: u64,
    /// The question.
    pub wanted: Wanted,
}

/// A question about a document.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// How many pages it has.
    PageCount,
    /// One of its pages.
    Page(PageRequest),
}

impl Wanted {
    /// Where in the data flow an error in the answer belongs.
    pub fn stage(self) -> Stage {
        match self {
            Self::PageCount => Stage::Open,
            Self::Page(_) => Stage::Prepare,
        }
    }

    /// How many raw bytes an answer has at most.
    pub fn max_bytes(self) -> u64 {
        match self {
            Self::PageCount => 0,
            Self::Page(PageRequest {
                raster,
                needs,
                split,
                ..
            }) => {
                let parts = split.map_or(1, |_| MAX_PARTS);
                let pixels = if needs.pixels {
                    max_resized_pixels(&raster.budget).saturating_mul(3 * parts)
                } else {
                    0
                };
                let text = if needs.text {
                    MAX_TEXT_BYTES + MAX_PLACE_BYTES
                } else {
                    0
                };
                pixels.saturating_add(text)
            }
        }
    }
}

/// What a worker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// That of the request.
    pub ticket: u64,
    /// The answer proper.
    pub reply: Reply,
}

/// The answer to a request's question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// [`Wanted::PageCount`].
    PageCount(PageCount),
    /// [`Wanted::Page`]; the frame's bytes are the pixels, u8 RGB, row by row, the text in UTF-8, and its
    /// places.
    Page(PageHeader),
    /// The document or the page has this error.
    Failed(PageError),
}

/// All of a page but its pixels and its text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PageHeader {
    /// (width, height) of the pixels.
    pub size: Option<(u32, u32)>,
    /// (width, height) before the page was brought to the size that the model sees.
    pub original: Option<(u32, u32)>,
    /// (width, height) in the file: pixels, or points for a PDF.
    pub page_size: Option<(u32, u32)>,
    /// Whether the pixels show nothing.
    pub blank: bool,
    /// The turn that rights the page, by its text.
    pub upright: Option<Rotation>,
    /// The length of the text layer in bytes.
    pub text_bytes: Option<u64>,
    /// The length of its places.
    pub place_bytes: u64,
    /// Whether the page is an image with next to no text over it.
    pub is_scan: bool,
    /// Whether it has fields to fill in.
    pub has_fields: bool,
    /// What there is to say about the page.
    pub warnings: Vec<Warning>,
    /// The script that a font is missing for.
    pub missing_script: Option<Script>,
}

impl PageHeader {
    fn of(page: &DecodedPage, places: &[u8]) -> Self {
        Self {
            size: page.pixels.as_ref().map(RgbImage::dimensions),
            original: page.original,
            page_size: page.page_size,
            blank: page.blank,
            upright: page.upright,
            text_bytes: page.text.as_ref().map(|text| text.len() as u64),
            place_bytes: places.len() as u64,
            is_scan: page.is_scan,
            has_fields: page.has_fields,
            warnings: page.warnings.clone(),
            missing_script: page.missing_script,
        }
    }

    fn pixel_bytes(&self) -> u64 {
        let (width, height) = self.size.unwrap_or_default();
        (u64::from(width) * u64::from(height)).saturating_mul(3)
    }
}

/// A request's answer, of the kind that was asked for.
#[derive(Debug)]
pub enum Answered {
    /// A document has so many pages.
    PageCount(PageCount),
    /// A page.
    Page(DecodedPage),
    /// The document or the page has this error.
    Failed(PageError),
}

/// Writes the answer to a request.
///
/// # Errors
/// The other side is gone.
pub fn write_answer(to: &mut impl Write, ticket: u64, answer: &Answered) -> io::Result<()> {
    let mut places = Vec::new();
    let (reply, pixels, text) = match answer {
        Answered::PageCount(count) => (Reply::PageCount(*count), None, None),
        Answered::Page(page) => {
            if !page.places.is_empty() {
                places = serde_json::to_vec(&page.places)?;
            }
            if places.len() as u64 > MAX_PLACE_BYTES {
                places.clear();
            }
            let header = PageHeader::of(page, &places);
            (
                Reply::Page(header),
                page.pixels.as_ref(),
                page.text.as_ref(),
            )
        }
        Answered::Failed(error) => (Reply::Failed(shortened(error)), None, None),
    };
    let pixels = pixels.map(|pixels| pixels.as_raw().as_slice());
    let text = text.map(String::as_bytes);
    let (pixels, text) = (pixels.unwrap_or_default(), text.unwrap_or_default());
    let bytes = [pixels, text, &places];
    frames::write(to, &Answer { ticket, reply }, &bytes)
}

fn shortened(error: &PageError) -> PageError {
    let mut error = error.clone();
    if error.message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rfind(|&end| error.message.is_char_boundary(end));
        error.message.truncate(end.unwrap_or(0));
        error.message.push('…');
    }
    error
}

/// Reads an answer of at most `max_bytes` raw bytes, asked for when one comes. No memory is taken for what the header does
/// not account for.
///
/// # Errors
/// [`InvalidData`](io::ErrorKind::InvalidData) if the other side sends what no worker sends; others if it has ended.
pub fn read_answer(
    from: &mut impl Read,
    max_bytes: impl FnOnce() -> u64,
) -> io::Result<(Answer, Vec<u8>)> {
    let (answer, length) = read_header::<Answer>(from, max_bytes)?;
    let expected = match &answer.reply {
        Reply::Page(header) => header
            .pixel_bytes()
            .saturating_add(header.text_bytes.unwrap_or(0))
            .saturating_add(header.place_bytes),
        Reply::PageCount(_) | Reply::Failed(_) => 0,
    };
    if length != expected {
        return Err(invalid(format!(
            "{length} bytes for a page of {expected} bytes"
        )));
    }
    Ok((answer, read_bytes(from, length)?))
}

/// What an answer says to its request.
///
/// # Errors
/// It is the answer to another one, or to none that there can be.
pub fn check_answer(
    request: &Request,
    (answer, mut bytes): (Answer, Vec<u8>),
) -> io::Result<Answered> {
    if answer.ticket != request.ticket {
        return Err(invalid("an answer to another question"));
    }
    match (answer.reply, request.wanted) {
        (Reply::Failed(error), _) => Ok(Answered::Failed(error)),
        (Reply::PageCount(count), Wanted::PageCount) => {
            let most = match request.format.info().decoder {
                DecoderKind::Pdf | DecoderKind::Tiff => MAX_PAGES,
                DecoderKind::Jpeg | DecoderKind::Jpeg2000 | DecoderKind::Image(_) => 1,
            };
            if count.is_possible(most) {
                Ok(Answered::PageCount(count))
            } else {
                Err(invalid(format!("a document of {} pages", count.claimed)))
            }
        }
        (Reply::Page(header), Wanted::Page(page)) => {
            let PageRequest {
                needs, text_first, ..
            } = page;
            let may_do_without = text_first && header.text_bytes.is_some();
            let has_pixels = header.size.is_some();
            if (has_pixels != needs.pixels && (has_pixels || !may_do_without))
                || (header.text_bytes.is_some() || header.place_bytes > 0) && !needs.text
            {
                return Err(invalid("a page with other parts than those asked for"));
            }
            if header.warnings.len() > MAX_WARNINGS {
                return Err(invalid("a page with more warnings than there are"));
            }
            let mut text = bytes.split_off(header.pixel_bytes() as usize);
            let places = text.split_off(header.text_bytes.unwrap_or(0) as usize);
            let places = if places.is_empty() {
                Vec::new()
            } else {
                serde_json::from_slice(&places).map_err(|error| invalid(error.to_string()))?
            };
            let text = header.text_bytes.map(|_| String::from_utf8(text));
            let pixels = match header.size {
                Some((0, _) | (_, 0)) => return Err(invalid("a page without pixels")),
                Some((width, height)) => RgbImage::from_raw(width, height, bytes),
                None => None,
            };
            Ok(Answered::Page(DecodedPage {
                pixels,
                original: header.original,
                page_size: header.page_size,
                blank: header.blank,
                upright: header.upright,
                is_scan: header.is_scan,
                has_fields: header.has_fields,
                warnings: header.warnings,
                missing_script: header.missing_script,
                text: text.transpose().map_err(|_| invalid("text that is none"))?,
                places,
            }))
        }
        _ => Err(invalid("an answer to another question")),
    }
}

#[cfg(test)]
mod tests;
