//! The nouns that the stages share: what is found, what is opened, what is ready for an engine.

use std::{fmt, ops::RangeInclusive, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use clap::ValueEnum;
use image::{ImageFormat, RgbImage};
use serde::{Deserialize, Serialize};

use crate::error::PageError;

/// A file format that can be read, by its content and not its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Format {
    Pdf,
    Png,
    Jpeg,
    Webp,
    Bmp,
    Gif,
    Tiff,
}

impl Format {
    /// How many bytes from the start of a file [`Format::of`] wants to see.
    pub const HEAD: usize = 1024;

    /// The format that a file's first bytes show.
    ///
    /// A PDF may have other bytes before its header, within the first 1024 (PDF 1.7, appendix H, note 13).
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        match image::guess_format(head) {
            Ok(ImageFormat::Png) => Some(Self::Png),
            Ok(ImageFormat::Jpeg) => Some(Self::Jpeg),
            Ok(ImageFormat::WebP) => Some(Self::Webp),
            Ok(ImageFormat::Bmp) => Some(Self::Bmp),
            Ok(ImageFormat::Gif) => Some(Self::Gif),
            Ok(ImageFormat::Tiff) => Some(Self::Tiff),
            _ => {
                let head = &head[..head.len().min(Self::HEAD)];
                head.windows(5)
                    .any(|bytes| bytes == b"%PDF-")
                    .then_some(Self::Pdf)
            }
        }
    }
}

/// One input as discovery leaves it: a path that exists, or the reason why it can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As the user gave it, or below the folder that the user gave.
    pub path: PathBuf,
    /// The file's size in bytes, if it could be found out.
    pub size_bytes: Option<u64>,
    /// What discovery ran into here (a missing file, a folder that may not be read).
    pub error: Option<PageError>,
}

/// A document that was opened, as far as that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// As in [`Source::path`].
    pub path: PathBuf,
    /// The file's size in bytes, if it could be found out.
    pub size_bytes: Option<u64>,
    /// SHA-256 of the file's bytes in lower-case hex, as `sha256sum` prints it; none if there are no bytes or they
    /// can't be read.
    pub doc_id: Option<String>,
    /// The format that the content shows; none where it shows none.
    pub format: Option<Format>,
    /// Number of pages; none if the document can't be opened.
    pub page_count: Option<u32>,
}

/// One page of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRef {
    /// The document that the page belongs to.
    pub document: Arc<Document>,
    /// 1-based; 0 stands for a document that can't be opened.
    pub number: u32,
}

/// A ticket that an engine hands back with its answer, so that it needs to know nothing else of where a page came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(pub u64);

/// The text layer of a PDF page, as PDFium reads it, lines separated by `\n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageText(pub String);

/// A page that is ready for an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedPage {
    /// Handed back with the outcome.
    pub id: PageId,
    /// u8 RGB at the size that the model sees; none if no engine of this run looks at pixels.
    pub pixels: Option<RgbImage>,
    /// (width, height) before the page was brought to that size: those of the image file, or of the PDF page at its
    /// dots per inch.
    pub original: Option<(u32, u32)>,
    /// Whether the pixels show nothing at all.
    pub blank: bool,
    /// The text layer, if an engine of this run uses it; none where the page has none (an image).
    pub text: Option<PageText>,
    /// What Tesseract reads on the page, if answers are guessed from that; none where the text layer says enough.
    pub draft: Option<String>,
}

/// What a run's engine wants prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Render the page.
    pub pixels: bool,
    /// Read the page's text layer.
    pub text: bool,
}

impl Needs {
    /// What two engines need together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            pixels: self.pixels || other.pixels,
            text: self.text || other.text,
        }
    }
}

/// What the preparation stage gives out for each page, in input order.
#[derive(Debug)]
pub struct Preparation {
    /// Which page this is.
    pub page: PageRef,
    /// The page, or why there is none.
    pub result: Result<PreparedPage, PageError>,
    /// Time spent on this page by the preparing thread.
    pub elapsed: Duration,
    /// How often the page was tried.
    pub attempts: u32,
    /// Documents before this one in the input that gave no page, so far as is known.
    pub passed_over: u64,
}

/// How large a page may be for the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelBudget {
    /// Height and width become multiples of this many pixels: patch size × spatial merge, 32 for Qwen3-VL.
    pub factor: u32,
    /// Smaller pages are enlarged to at least this many pixels.
    pub min_pixels: u64,
    /// Larger pages are reduced to at most this many pixels.
    pub max_pixels: u64,
}

/// What a page's content is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// Markdown, with its table syntax and LaTeX formulas
    Markdown,
    /// HTML with semantic tags
    Html,
    /// Plain text in reading order
    Text,
}

/// Which pages of each document are read: `1-3,7`, `5-`, `-3`.
///
/// Page numbers are 1-based. Numbers past the end of a document select nothing there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageSelection(Vec<RangeInclusive<u32>>);

/// Where an open range ends.
const LAST_PAGE: u32 = u32::MAX;

impl PageSelection {
    /// Sorts the ranges and joins those that touch.
    fn of_ranges(mut ranges: Vec<RangeInclusive<u32>>) -> Self {
        ranges.sort_by_key(|range| *range.start());
        let mut joined: Vec<RangeInclusive<u32>> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => joined.push(range),
            }
        }
        Self(joined)
    }

    /// Whether page `page` (1-based) is selected.
    #[must_use]
    pub fn contains(&self, page: u32) -> bool {
        self.0.iter().any(|range| range.contains(&page))
    }

    /// How many pages of a document of `page_count` pages are selected.
    #[must_use]
    pub fn count(&self, page_count: u32) -> u32 {
        self.0
            .iter()
            .map(|range| {
                (*range.end())
                    .min(page_count)
                    .saturating_sub(range.start() - 1)
            })
            .sum()
    }
}

impl FromStr for PageSelection {
    type Err = String;

    fn from_str(list: &str) -> Result<Self, String> {
        let number = |text: &str| match text.parse::<u32>() {
            Ok(0) => Err("pages count from 1".to_owned()),
            Ok(page) => Ok(page),
            Err(_) => Err(format!(
                "'{text}' is not a page number; write pages and ranges like 1-3,7 or 5- or -3"
            )),
        };
        let range = |part: &str| {
            let (first, last) = match part
                .split_once('-')
                .map(|(first, last)| (first.trim(), last.trim()))
            {
                None => (number(part)?, number(part)?),
                Some(("", last)) => (1, number(last)?),
                Some((first, "")) => (number(first)?, LAST_PAGE),
                Some((first, last)) => (number(first)?, number(last)?),
            };
            if last < first {
                return Err(format!(
                    "the range {first}-{last} runs backwards; write {last}-{first}"
                ));
            }
            Ok(first..=last)
        };
        Ok(Self::of_ranges(
            list.split(',')
                .map(|part| range(part.trim()))
                .collect::<Result<_, _>>()?,
        ))
    }
}

impl fmt::Display for PageSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match (range.start(), range.end()) {
                (first, &LAST_PAGE) => write!(f, "{first}-")?,
                (first, last) if first == last => write!(f, "{first}")?,
                (first, last) => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_selection_takes_pages_ranges_and_open_ranges() {
        let taken = |list: &str| {
            let selection: PageSelection = list.parse().unwrap();
            (1..=9)
                .filter(|&page| selection.contains(page))
                .collect::<Vec<_>>()
        };
        assert_eq!(taken("1-3,7"), [1, 2, 3, 7]);
        assert_eq!(taken("7-"), [7, 8, 9]);
        assert_eq!(taken("-2, 8 - 9"), [1, 2, 8, 9]);
        assert_eq!(taken("4"), [4]);
        assert_eq!(taken("10-12"), [] as [u32; 0]);
    }

    #[test]
    fn a_wrong_selection_is_answered_with_what_would_be_right() {
        for (list, hint) in [
            ("", "write pages and ranges like 1-3,7"),
            ("one", "'one' is not a page number"),
            ("0", "count from 1"),
            ("3-1", "write 1-3"),
            ("1,,2", "is not a page number"),
            ("-", "is not a page number"),
            ("1-2-3", "'2-3' is not a page number"),
            ("99999999999", "is not a page number"),
        ] {
            let message = list.parse::<PageSelection>().unwrap_err();
            assert!(message.contains(hint), "{list:?}: {message}");
        }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let shown = |list: &str| list.parse::<PageSelection>().unwrap().to_string();
        assert_eq!(shown("7, 1-2,3,2-4"), "1-4,7");
        assert_eq!(shown("9-,-3,5-20"), "1-3,5-");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_takes_it_prints(text in "[0-9, -]{0,12}|.{0,12}") {
            if let Ok(selection) = text.parse::<PageSelection>() {
                prop_assert_eq!(selection.to_string().parse::<PageSelection>(), Ok(selection));
            }
        }

        #[test]
        fn a_selection_means_the_same_after_being_printed(ranges in prop::collection::vec((1u32..99, 0u32..99, any::<bool>()), 1..5)) {
            let list: Vec<_> = ranges
                .iter()
                .map(|&(first, more, open)| if open { format!("{first}-") } else { format!("{first}-{}", first + more) })
                .collect();
            let selection: PageSelection = list.join(",").parse().unwrap();
            prop_assert_eq!(&selection.to_string().parse::<PageSelection>().unwrap(), &selection);
            for page in 1..200 {
                let meant = ranges.iter().any(|&(first, more, open)| page >= first && (open || page <= first + more));
                prop_assert_eq!(selection.contains(page), meant);
            }
            prop_assert_eq!(selection.count(120) as usize, (1..=120).filter(|&page| selection.contains(page)).count());
        }
    }
}
