//! The one table of input formats: a format is a row of it.
//!
//! Names in messages, extensions taken from folders, first bytes, and which decoder reads a format all come from
//! [`FORMATS`]. Formats that are recognised and can't be read have rows of their own, so that their message names them and
//! what converts them.

use image::ImageFormat;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, PageError, Stage};

/// A file format that can be read, by its content and not its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
    Jp2,
}

/// What turns files of a format into pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecoderKind {
    /// PDFium.
    Pdf,
    /// The TIFF decoder, the only one of images with several pages.
    Tiff,
    /// The JPEG decoder.
    Jpeg,
    /// The JPEG 2000 decoder.
    Jpeg2000,
    /// The image library's decoder of this format.
    Image(ImageFormat),
}

/// A row of the table.
#[derive(Debug)]
pub struct FormatInfo {
    /// The format; in records it is the variant's name in lower case.
    pub format: Format,
    /// Its name in messages.
    pub name: &'static str,
    /// The extensions of its files, in lower case; files that are called so are taken from folders.
    pub extensions: &'static [&'static str],
    /// Its media type.
    pub mime: &'static str,
    /// What reads it.
    pub decoder: DecoderKind,
    /// Whether a file with this beginning has this format.
    matches: fn(&[u8]) -> bool,
}

/// A format that is recognised and can't be read.
#[derive(Debug)]
struct UnreadableFormat {
    name: &'static str,
    /// The extensions of its files, in lower case. They are taken from folders too: who has such files learns that they
    /// were not read.
    extensions: &'static [&'static str],
    /// A command that makes something readable of it.
    convert: &'static str,
    matches: fn(&[u8]) -> bool,
}

/// All formats that can be read, in the order in which messages list them and first bytes are compared.
pub static FORMATS: [FormatInfo; 8] = [
    FormatInfo {
        format: Format::Pdf,
        name: "PDF",
        extensions: &["pdf"],
        mime: "application/pdf",
        decoder: DecoderKind::Pdf,
        matches: is_pdf,
    },
    FormatInfo {
        format: Format::Png,
        name: "PNG",
        extensions: &["png"],
        mime: "image/png",
        decoder: DecoderKind::Image(ImageFormat::Png),
        matches: |head| head.starts_with(b"\x89PNG\r\n\x1A\n"),
    },
    FormatInfo {
        format: Format::Jpeg,
        name: "JPEG",
        extensions: &["jpg", "jpeg", "jpe", "jfif"],
        mime: "image/jpeg",
        decoder: DecoderKind::Jpeg,
        matches: |head| head.starts_with(b"\xFF\xD8\xFF"),
    },
    FormatInfo {
        format: Format::Webp,
        name: "WebP",
        extensions: &["webp"],
        mime: "image/webp",
        decoder: DecoderKind::Image(ImageFormat::WebP),
        matches: |head| head.starts_with(b"RIFF") && at(head, 8).starts_with(b"WEBP"),
    },
    FormatInfo {
        format: Format::Bmp,
        name: "BMP",
        extensions: &["bmp", "dib"],
        mime: "image/bmp",
        decoder: DecoderKind::Image(ImageFormat::Bmp),
        matches: |head| head.starts_with(b"BM"),
    },
    FormatInfo {
        format: Format::Gif,
        name: "GIF",
        extensions: &["gif"],
        mime: "image/gif",
        decoder: DecoderKind::Image(ImageFormat::Gif),
        matches: |head| head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a"),
    },
    FormatInfo {
        format: Format::Tiff,
        name: "TIFF",
        extensions: &["tif", "tiff", "btf", "tf8"],
        mime: "image/tiff",
        decoder: DecoderKind::Tiff,
        // Version 43 is BigTIFF.
        matches: |head| {
            [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].map(|magic| head.starts_with(magic))
                != [false; 4]
        },
    },
    FormatInfo {
        format: Format::Jp2,
        name: "JP2",
        extensions: &["jp2", "j2k", "j2c", "jpf", "jpx", "jpc"],
        mime: "image/jp2",
        decoder: DecoderKind::Jpeg2000,
        // In boxes, or bare.
        matches: |head| {
            head.starts_with(b"\0\0\0\x0CjP  \r\n\x87\n") || head.starts_with(b"\xFF\x4F\xFF\x51")
        },
    },
];

/// Formats that scanners, telephones and archives write, and that can't be read.
static UNREADABLE_FORMATS: [UnreadableFormat; 4] = [
    UnreadableFormat {
        name: "HEIC",
        extensions: &["heic", "heif", "hif"],
        convert: "heif-convert in.heic out.png",
        matches: |head| {
            let brands = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"];
            has_brand(head, &brands) || (has_brand(head, &[b"mif1", b"msf1"]) && !is_avif(head))
        },
    },
    UnreadableFormat {
        name: "AVIF",
        extensions: &["avif"],
        convert: "avifdec in.avif out.png",
        matches: is_avif,
    },
    UnreadableFormat {
        name: "JPEG XL",
        extensions: &["jxl"],
        convert: "djxl in.jxl out.png",
        matches: |head| {
            head.starts_with(b"\xFF\x0A") || head.starts_with(b"\0\0\0\x0CJXL \r\n\x87\n")
        },
    },
    UnreadableFormat {
        name: "DjVu",
        extensions: &["djvu", "djv"],
        convert: "ddjvu -format=pdf in.djvu out.pdf",
        matches: |head| head.starts_with(b"AT&TFORM"),
    },
];

/// A PDF may have other bytes before its header, within the first 1024 (PDF 1.7, appendix H, note 13).
const PDF_JUNK: usize = 1024;

impl Format {
    /// Number of leading bytes that [`Format::of`] needs.
    pub const HEAD: usize = PDF_JUNK + 16;

    /// The format that a file's first bytes show.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        let row = FORMATS.iter().find(|row| (row.matches)(head));
        row.map(|row| row.format)
    }

    /// As [`Format::of`], with the reason why a file can't be read.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], with the format's name and what converts it if it is known.
    pub fn identify(head: &[u8]) -> Result<Self, PageError> {
        Self::of(head).ok_or_else(|| {
            let known = UNREADABLE_FORMATS.iter().find(|row| (row.matches)(head));
            let message = match known {
                Some(UnreadableFormat { name, convert, .. }) => format!(
                    "the file is {name}, which is not supported; convert it, for example with `{convert}`"
                ),
                None => format!(
                    "the content is neither a PDF nor an image of a known format ({}), regardless of the file's name",
                    image_names().join(", ")
                ),
            };
            PageError::new(ErrorKind::Unsupported, Stage::Open, message)
        })
    }

    /// The format's row in the table.
    #[must_use]
    pub fn info(self) -> &'static FormatInfo {
        let row = FORMATS.iter().find(|row| row.format == self);
        row.unwrap_or(&FORMATS[0])
    }
}

/// Whether files with this extension, in lower case, are taken from folders.
#[must_use]
pub fn is_known_extension(extension: &str) -> bool {
    let readable = FORMATS.iter().map(|row| row.extensions);
    let unreadable = UNREADABLE_FORMATS.iter().map(|row| row.extensions);
    let mut all = readable.chain(unreadable);
    all.any(|extensions| extensions.contains(&extension))
}

/// The names of all formats for a sentence: `PDF, PNG or TIFF`.
#[must_use]
pub fn alternatives() -> String {
    let names = FORMATS.iter().map(|row| row.name).collect::<Vec<_>>();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn image_names() -> Vec<&'static str> {
    let images = FORMATS.iter().filter(|row| row.format != Format::Pdf);
    images.map(|row| row.name).collect()
}

fn at(head: &[u8], offset: usize) -> &[u8] {
    head.get(offset..).unwrap_or_default()
}

/// Whether there is a PDF's header at the start or behind other bytes, as [`PDF_JUNK`] allows. It is `%PDF-1.7`, and in
/// some files `%PDF 1.7`. The bytes before it may look like anything but a whole image of another format.
fn is_pdf(head: &[u8]) -> bool {
    let is_header = |bytes: &[u8]| {
        let version = bytes.strip_prefix(b"%PDF");
        version.is_some_and(|version| match version {
            [b'-', ..] => true,
            [b' ', digit, ..] | [digit, ..] => digit.is_ascii_digit(),
            [] => false,
        })
    };
    let within = &head[..head.len().min(PDF_JUNK + 8)];
    let found = (0..=PDF_JUNK.min(within.len())).any(|offset| is_header(&within[offset..]));
    found && !begins_like_an_image(head)
}

/// Whether a file begins with what only an image begins with. Two letters, as of a BMP, may be anything.
fn begins_like_an_image(head: &[u8]) -> bool {
    let images = FORMATS
        .iter()
        .filter(|row| !matches!(row.format, Format::Pdf | Format::Bmp));
    images.into_iter().any(|row| (row.matches)(head)) || is_certainly_bmp(head)
}

/// The reserved bytes of a BMP's file header are 0, and the header after it has one of a few sizes.
fn is_certainly_bmp(head: &[u8]) -> bool {
    let is_reserved = at(head, 6).starts_with(&[0; 4]);
    head.starts_with(b"BM")
        && is_reserved
        && matches!(
            at(head, 14),
            [12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0, ..]
        )
}

/// Whether an ISO base media file, as HEIC and AVIF are, names one of these brands (ISO/IEC 14496-12, 4.3).
fn has_brand(head: &[u8], brands: &[&[u8; 4]]) -> bool {
    let Some((length, rest)) = head.split_first_chunk::<4>() else {
        return false;
    };
    let Some(listed) = rest.strip_prefix(b"ftyp") else {
        return false;
    };
    let length = (u32::from_be_bytes(*length) as usize).saturating_sub(8);
    let listed = &listed[..length.min(listed.len())];
    // The second is a version number, which is no brand's name.
    listed
        .chunks_exact(4)
        .any(|brand| brands.iter().any(|&known| brand == known))
}

fn is_avif(head: &[u8]) -> bool {
    has_brand(head, &[b"avif", b"avis"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_has_one_row_and_its_record_name() {
        use Format::{Bmp, Gif, Jp2, Jpeg, Pdf, Png, Tiff, Webp};
        for format in [Pdf, Png, Jpeg, Webp, Bmp, Gif, Tiff, Jp2] {
            let info = format.info();
            assert_eq!(info.format, format);
            let recorded = serde_json::to_value(format).unwrap();
            assert_eq!(recorded, info.name.to_lowercase());
            assert!(is_known_extension(info.extensions[0]), "{format:?}");
        }
        assert!(!is_known_extension("txt"));
        assert_eq!(
            alternatives(),
            "PDF, PNG, JPEG, WebP, BMP, GIF, TIFF or JP2"
        );
    }

    #[test]
    fn pdf_header_is_found_behind_junk_and_without_dash() {
        let junk = |length: usize, header: &[u8]| [&vec![b'x'; length][..], header].concat();
        for head in [
            b"%PDF-1.4".to_vec(),
            b"%PDF 1.7\n".to_vec(),
            b"%PDF1.7\n".to_vec(),
            junk(1, b"%PDF-1.4"),
            junk(1024, b"%PDF-1.4"),
            b"BMW sent this\r\n%PDF-1.4".to_vec(),
            b"\0\xFF\xFE%PDF-1.4".to_vec(),
        ] {
            assert_eq!(Format::of(&head), Some(Format::Pdf), "{head:?}");
        }
        for head in [
            junk(1025, b"%PDF-1.4"),
            b"%PDF".to_vec(),
            b"a text about %PDF files".to_vec(),
            b"%PDX-1.4".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(Format::of(&head), None, "{head:?}");
        }
        let photo = b"\xFF\xD8\xFF\xE0 made from %PDF-1.4";
        assert_eq!(Format::of(photo), Some(Format::Jpeg));
    }

    #[test]
    fn unsupported_format_names_a_converter() {
        for (head, name, program) in [
            (
                &b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..],
                "HEIC",
                "heif-convert",
            ),
            (
                b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
                "HEIC",
                "heif-convert",
            ),
            (b"\0\0\0\x1Cftypmif1\0\0\0\0mif1avifmiaf", "AVIF", "avifdec"),
            (b"\0\0\0\x1Cftypavif\0\0\0\0avifmif1miaf", "AVIF", "avifdec"),
            (b"\xFF\x0A\xFA\x1F", "JPEG XL", "djxl"),
            (b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL", "djxl"),
            (b"AT&TFORM\0\0\0\x20DJVU", "DjVu", "ddjvu"),
        ] {
            let error = Format::identify(head).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported);
            assert!(error.message.contains(&format!("is {name},")), "{error}");
            assert!(error.message.contains(program), "{error}");
        }
        // A film is none of them.
        let error = Format::identify(b"\0\0\0\x18ftypisom\0\0\0\0isommp42").unwrap_err();
        assert!(
            error.message.contains("neither a PDF nor an image"),
            "{error}"
        );
    }
}
