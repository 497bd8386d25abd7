//! What the program and its worker processes say to each other, in [`frames`].
//!
//! The raw bytes of a request are the document's path, which need not be UTF-8, and then the passwords to try on it; those
//! of a page are its pixels and then its text.
//!
//! A worker may have been taken over by what it decodes. So every request carries a ticket that its answer must repeat,
//! and a frame that is longer than the answer to its request can be is not read.

use std::io::{self, Read, Write};

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::{
    decoder::{DecodedPage, MAX_PAGES, MAX_TEXT_BYTES, PageCount, PageRequest},
    frames::{self, invalid, read_bytes, read_header},
    resize::max_resized_pixels,
    script::Script,
};
use crate::{
    error::{PageError, Stage},
    formats::DecoderKind,
    page::{Format, Warning},
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
            Self::Page(PageRequest { raster, needs, .. }) => {
                let pixels = if needs.pixels {
                    max_resized_pixels(&raster.budget).saturating_mul(3)
                } else {
                    0
                };
                let text = if needs.text { MAX_TEXT_BYTES } else { 0 };
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
    /// [`Wanted::Page`]; the frame's bytes are the pixels, u8 RGB, row by row, and then the text in UTF-8.
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
    /// The length of the text layer in bytes.
    pub text_bytes: Option<u64>,
    /// Whether the page is an image with next to no text over it.
    pub is_scan: bool,
    /// What there is to say about the page.
    pub warnings: Vec<Warning>,
    /// The script that a font is missing for.
    pub missing_script: Option<Script>,
}

impl PageHeader {
    fn of(page: &DecodedPage) -> Self {
        Self {
            size: page.pixels.as_ref().map(RgbImage::dimensions),
            original: page.original,
            page_size: page.page_size,
            blank: page.blank,
            text_bytes: page.text.as_ref().map(|text| text.len() as u64),
            is_scan: page.is_scan,
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
    let (reply, pixels, text) = match answer {
        Answered::PageCount(count) => (Reply::PageCount(*count), None, None),
        Answered::Page(page) => (
            Reply::Page(PageHeader::of(page)),
            page.pixels.as_ref(),
            page.text.as_ref(),
        ),
        Answered::Failed(error) => (Reply::Failed(shortened(error)), None, None),
    };
    let pixels = pixels.map(|pixels| pixels.as_raw().as_slice());
    let text = text.map(String::as_bytes);
    let bytes = [pixels.unwrap_or_default(), text.unwrap_or_default()];
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
            .saturating_add(header.text_bytes.unwrap_or(0)),
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
                || header.text_bytes.is_some() && !needs.text
            {
                return Err(invalid("a page with other parts than those asked for"));
            }
            if header.warnings.len() > MAX_WARNINGS {
                return Err(invalid("a page with more warnings than there are"));
            }
            let text = bytes.split_off(header.pixel_bytes() as usize);
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
                is_scan: header.is_scan,
                warnings: header.warnings,
                missing_script: header.missing_script,
                text: text.transpose().map_err(|_| invalid("text that is none"))?,
            }))
        }
        _ => Err(invalid("an answer to another question")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        error::ErrorKind as Kind,
        page::{Needs, PixelBudget},
        prepare::decoder::Raster,
    };

    fn request(pixels: bool, text: bool) -> Request {
        let budget = PixelBudget {
            factor: 1,
            min_pixels: 1,
            max_pixels: 100,
        };
        let page = PageRequest {
            number: 1,
            raster: Raster { dpi: 72.0, budget },
            needs: Needs { pixels, text },
            text_first: false,
        };
        Request {
            ticket: 7,
            document: 0,
            format: Format::Pdf,
            path_bytes: 0,
            wanted: Wanted::Page(page),
        }
    }

    fn page() -> DecodedPage {
        DecodedPage {
            pixels: Some(RgbImage::from_fn(2, 1, |x, _| image::Rgb([x as u8; 3]))),
            original: Some((20, 10)),
            page_size: Some((30, 15)),
            blank: false,
            text: Some("ä".to_owned()),
            is_scan: true,
            warnings: vec![Warning::MissingGlyphs],
            missing_script: Some(Script::Han),
        }
    }

    fn sent(ticket: u64, answer: &Answered) -> Vec<u8> {
        let mut sent = Vec::new();
        write_answer(&mut sent, ticket, answer).unwrap();
        sent
    }

    /// What becomes of `sent` as the answer to `request`.
    fn received(request: &Request, mut sent: &[u8]) -> io::Result<Answered> {
        check_answer(
            request,
            read_answer(&mut sent, || request.wanted.max_bytes())?,
        )
    }

    #[test]
    fn page_round_trips_and_half_a_page_fails() {
        let sent = sent(7, &Answered::Page(page()));
        let Answered::Page(arrived) = received(&request(true, true), &sent).unwrap() else {
            panic!("no page");
        };
        assert_eq!(arrived, page());
        for length in 0..sent.len() {
            let error = received(&request(true, true), &sent[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{length}");
        }
    }

    #[test]
    fn answer_with_another_ticket_is_refused() {
        let count = Request {
            wanted: Wanted::PageCount,
            ..request(true, true)
        };
        for (request, ticket, answer) in [
            (request(true, true), 6, Answered::Page(page())),
            (
                request(true, true),
                7,
                Answered::PageCount(PageCount::all(1)),
            ),
            (request(false, true), 7, Answered::Page(page())),
            (request(true, false), 7, Answered::Page(page())),
            (
                request(true, true),
                7,
                Answered::Page(DecodedPage::default()),
            ),
            (count, 7, Answered::PageCount(PageCount::all(u32::MAX))),
            (count, 7, Answered::PageCount(PageCount::all(0))),
            (
                count,
                7,
                Answered::PageCount(PageCount {
                    claimed: 1,
                    present: 2,
                }),
            ),
            (count, 7, Answered::Page(DecodedPage::default())),
        ] {
            let error = received(&request, &sent(ticket, &answer)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{answer:?}");
        }
        let png = Request {
            format: Format::Png,
            ..count
        };
        assert!(received(&png, &sent(7, &Answered::PageCount(PageCount::all(2)))).is_err());
    }

    #[test]
    fn bytes_beyond_the_header_are_refused() {
        for size in [None, Some((1, 1)), Some((u32::MAX, u32::MAX))] {
            let header = PageHeader {
                size,
                ..PageHeader::default()
            };
            let reply = Reply::Page(header);
            let mut sent = Vec::new();
            frames::write(&mut sent, &Answer { ticket: 7, reply }, &[b"pixels"]).unwrap();
            let error = received(&request(true, true), &sent).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{size:?}");
        }
    }

    #[test]
    fn a_long_message_fits_into_a_header() {
        let message = "\u{1}".repeat(MAX_MESSAGE - 1) + &"ä".repeat(1000);
        let error = PageError::new(Kind::Unreadable, Stage::Prepare, message);
        let sent = sent(7, &Answered::Failed(error));
        let received = received(&request(true, true), &sent).unwrap();
        let Answered::Failed(error) = received else {
            panic!("no error");
        };
        assert!(error.message.ends_with("\u{1}…"));
    }

    #[test]
    fn damaged_answers_and_requests_never_panic() {
        let error = PageError::new(Kind::Unreadable, Stage::Prepare, "no page");
        let answers = [
            Answered::Page(page()),
            Answered::PageCount(PageCount::all(3)),
            Answered::Failed(error),
        ];
        let mut valid: Vec<_> = answers.iter().map(|answer| sent(7, answer)).collect();
        let mut asked = Vec::new();
        frames::write(&mut asked, &request(true, true), &[b"a.pdf"]).unwrap();
        valid.push(asked);
        crate::fuzz::feed("worker frames", &valid, |bytes| {
            for (pixels, text) in [(true, true), (false, true), (true, false)] {
                if let Ok(Answered::Page(page)) = received(&request(pixels, text), bytes) {
                    assert_eq!(page.pixels.is_some(), pixels);
                }
            }
            let _ =
                frames::read::<Request>(&mut &bytes[..], crate::prepare::request_bytes::MAX_PATH);
        });
    }

    proptest! {
        #[test]
        fn protocol_reader_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200, at in 0_usize..200) {
            let _ = received(&request(true, true), &bytes);
            let mut damaged = sent(7, &Answered::Page(page()));
            let at = at % damaged.len();
            bytes.truncate(damaged.len() - at);
            damaged[at..at + bytes.len()].copy_from_slice(&bytes);
            damaged.truncate(damaged.len() - cut % damaged.len());
            let _ = received(&request(true, true), &damaged);
        }
    }
}
