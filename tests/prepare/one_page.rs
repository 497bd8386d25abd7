//! A small PDF of one page whose parts a test sets.

use super::*;

/// A PDF of one page, 200 × 100 points, whose parts a test sets; object 5 is the first of `objects`.
#[derive(Default)]
pub struct OnePage<'a> {
    pub content: &'a str,
    /// Entries of the content stream.
    pub encoding: &'a str,
    /// Entries of the page.
    pub page: &'a str,
    /// Entries of its resources, with the font `/F`.
    pub resources: &'a str,
    pub catalog: &'a str,
    pub objects: &'a [String],
}

impl OnePage<'_> {
    pub fn bytes(&self) -> Vec<u8> {
        let Self {
            content,
            encoding,
            page,
            resources,
            catalog,
            objects,
        } = self;
        let media_box = if page.contains("/MediaBox") {
            ""
        } else {
            "/MediaBox [0 0 200 100]"
        };
        let first = [
            format!("<< /Type /Catalog /Pages 2 0 R {catalog} >>"),
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
            format!(
                "<< /Type /Page /Parent 2 0 R {media_box} /Contents 4 0 R /Resources << /Font << /F {HELVETICA} \
                 /C {CYRILLIC} >> {resources} >> {page} >>"
            ),
            stream(encoding, content),
        ];
        let all: Vec<_> = first.iter().chain(objects.iter()).cloned().collect();
        common::pdf_of(&all)
    }

    pub fn page(&self) -> PreparedPage {
        page_of(&self.bytes())
    }

    pub fn text(&self) -> String {
        self.page().text.unwrap().text
    }

    pub fn error(&self) -> PageError {
        error_of("a.pdf", &self.bytes()).1
    }
}

const HELVETICA: &str = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>";
/// Its letters A, B, C are Cyrillic, and it is not part of the file.
const CYRILLIC: &str = "<< /Type /Font /Subtype /TrueType /BaseFont /ArialMT /FirstChar 65 /LastChar 67 \
                        /Widths [700 700 700] /Encoding << /Type /Encoding /BaseEncoding /WinAnsiEncoding \
                        /Differences [65 /afii10017 /afii10018 /afii10019] >> >>";
/// Draws the image or form `/I` over the whole page.
pub const WHOLE_PAGE: &str = "q 200 0 0 100 0 0 cm /I Do Q ";

pub fn words(text: &str, (x, y): (u32, u32)) -> String {
    format!("BT /F 12 Tf {x} {y} Td ({text}) Tj ET ")
}

pub fn image(entries: &str, data: &str) -> String {
    let size = "/Width 20 /Height 10 /ColorSpace /DeviceGray /BitsPerComponent 8";
    stream(
        &format!("/Type /XObject /Subtype /Image {size} {entries}"),
        data,
    )
}

/// A form on the whole page.
pub fn form(resources: &str, entries: &str, content: &str) -> String {
    let entries = format!(
        "/Type /XObject /Subtype /Form /BBox [0 0 200 100] /Resources << /Font << /F {HELVETICA} >> {resources} >> {entries}"
    );
    stream(&entries, content)
}
