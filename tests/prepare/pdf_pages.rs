//! PDF pages that vanish easily: images that can't be decoded, fonts that are missing, hidden text, odd boxes.

use super::*;

/// A PDF of one page, 200 × 100 points, whose parts a test sets; object 5 is the first of `objects`.
#[derive(Default)]
struct OnePage<'a> {
    content: &'a str,
    /// Entries of the content stream.
    encoding: &'a str,
    /// Entries of the page.
    page: &'a str,
    /// Entries of its resources, with the font `/F`.
    resources: &'a str,
    catalog: &'a str,
    objects: &'a [String],
}

impl OnePage<'_> {
    fn bytes(&self) -> Vec<u8> {
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

    fn page(&self) -> PreparedPage {
        page_of(&self.bytes())
    }

    fn text(&self) -> String {
        self.page().text.unwrap().0
    }

    fn error(&self) -> PageError {
        error_of("a.pdf", &self.bytes()).1
    }
}

const HELVETICA: &str = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>";
/// Its letters A, B, C are Cyrillic, and it is not part of the file.
const CYRILLIC: &str = "<< /Type /Font /Subtype /TrueType /BaseFont /ArialMT /FirstChar 65 /LastChar 67 \
                        /Widths [700 700 700] /Encoding << /Type /Encoding /BaseEncoding /WinAnsiEncoding \
                        /Differences [65 /afii10017 /afii10018 /afii10019] >> >>";
/// Draws the image or form `/I` over the whole page.
const WHOLE_PAGE: &str = "q 200 0 0 100 0 0 cm /I Do Q ";

fn words(text: &str, (x, y): (u32, u32)) -> String {
    format!("BT /F 12 Tf {x} {y} Td ({text}) Tj ET ")
}

fn image(entries: &str, data: &str) -> String {
    let size = "/Width 20 /Height 10 /ColorSpace /DeviceGray /BitsPerComponent 8";
    stream(
        &format!("/Type /XObject /Subtype /Image {size} {entries}"),
        data,
    )
}

/// A form on the whole page.
fn form(resources: &str, entries: &str, content: &str) -> String {
    let entries = format!(
        "/Type /XObject /Subtype /Form /BBox [0 0 200 100] /Resources << /Font << /F {HELVETICA} >> {resources} >> {entries}"
    );
    stream(&entries, content)
}

#[test]
fn image_that_cannot_be_decoded_fails_its_page() {
    let named = "/XObject << /I 5 0 R >>";
    for (what, filter, data) in [
        ("JPEG", "/Filter /DCTDecode", "no jpeg"),
        ("JPEG 2000", "/Filter /JPXDecode", "no jpeg"),
        (
            "JBIG2",
            "/Filter /JBIG2Decode",
            "\u{1}garbage garbage garbage",
        ),
        (
            "fax",
            "/Filter /CCITTFaxDecode /DecodeParms << /K -1 /Columns 20 /Rows 10 >>",
            "",
        ),
        ("deflated", "/Filter /FlateDecode", "not deflated"),
        ("unknown filter", "/Filter /NewDecode", "?"),
    ] {
        let error = OnePage {
            content: WHOLE_PAGE,
            resources: named,
            objects: &[image(filter, data)],
            ..OnePage::default()
        }
        .error();
        assert_eq!(error.kind, ErrorKind::Render, "{what}: {error}");
        assert!(
            error.message.contains("cannot be decoded"),
            "{what}: {error}"
        );
    }
}

#[test]
fn missing_image_or_unreadable_content_fails_its_page() {
    let broken = image("/Filter /DCTDecode", "no jpeg");
    let ocr = format!("{WHOLE_PAGE} BT 3 Tr /F 12 Tf 9 9 Td (recognized) Tj ET");
    let stamped = format!("{WHOLE_PAGE}{}", words("12", (180, 5)));
    let inner = form("/XObject << /I 6 0 R >>", "", WHOLE_PAGE);
    let named = "/XObject << /I 5 0 R >>";
    for (what, content, encoding, resources, objects) in [
        (
            "no such object",
            WHOLE_PAGE,
            "",
            "/XObject << /I 9 0 R >>",
            vec![],
        ),
        ("no such name", WHOLE_PAGE, "", "", vec![]),
        ("under recognized text", &ocr, "", "", vec![]),
        ("content's filter", "abc", "/Filter /NewDecode", "", vec![]),
        (
            "inline",
            "BI /W 9 /H 9 /CS /G /BPC 8 /F /DCT ID no EI",
            "",
            "",
            vec![],
        ),
        (
            "with a page number",
            &stamped,
            "",
            named,
            vec![broken.clone()],
        ),
        ("in a form", "/I Do", "", named, vec![inner, broken]),
    ] {
        let error = OnePage {
            content,
            encoding,
            resources,
            objects: &objects,
            ..OnePage::default()
        }
        .error();
        assert_eq!(error.kind, ErrorKind::Render, "{what}: {error}");
    }
}

#[test]
fn page_without_anything_to_see_is_blank() {
    let white = image("/Filter /ASCIIHexDecode", &"ff".repeat(200));
    let scan = format!("{WHOLE_PAGE} BT 3 Tr /F 12 Tf 9 9 Td (l) Tj ET");
    for (what, content, objects) in [
        ("empty", "", vec![]),
        ("only a clip", "q 0 0 9 9 re W n Q", vec![]),
        (
            "hidden text",
            "BT 3 Tr /F 12 Tf 9 9 Td (hidden) Tj ET",
            vec![],
        ),
        ("white text", "1 g BT /F 12 Tf 9 9 Td (white) Tj ET", vec![]),
        ("empty form", "/I Do", vec![form("", "", "")]),
        ("white scan with a hidden letter", &scan, vec![white]),
    ] {
        let page = OnePage {
            content,
            resources: "/XObject << /I 5 0 R >>",
            objects: &objects,
            ..OnePage::default()
        }
        .page();
        assert!(page.blank, "{what}");
        assert_eq!(page.warnings, [], "{what}");
    }
}

#[test]
fn text_at_the_edge_or_in_light_grey_is_read() {
    for (what, content) in [
        (
            "edge",
            "BT /F 1 Tf 5 98.8 Td (Header that is all there is on this page) Tj ET",
        ),
        ("grey", "0.93 g BT /F 12 Tf 9 50 Td (light grey) Tj ET"),
    ] {
        let page = OnePage {
            content,
            ..OnePage::default()
        };
        let (_folder, path) = file("a.pdf", &page.bytes());
        let page = only(&path, settings_for(400.0, AS_IT_IS)).result.unwrap();
        assert!(!page.blank, "{what}");
    }
}

/// Runs where no font is installed but PDFium's own.
fn without_fonts(page: &OnePage) -> Preparation {
    let (folder, path) = file("a.pdf", &page.bytes());
    // A script in front of the program, since the environment of tests is shared.
    let script = folder.path().join("omnidocs");
    let program = env!("CARGO_BIN_EXE_omnidocs");
    let fonts = folder.path().display();
    fs::write(
        &script,
        format!("#!/bin/sh\nOMNIDOCS_FONTS='{fonts}' exec '{program}' \"$@\"\n"),
    )
    .unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let settings = Settings {
        decoder: prepare::DecoderChoice::Workers(script),
        ..settings_for(150.0, AS_IT_IS)
    };
    only(&path, settings)
}

#[cfg(unix)]
#[test]
fn missing_fonts_have_a_warning_or_fail_the_page() {
    let letters = "BT /C 12 Tf 9 50 Td (ABC) Tj ET ";
    let with_title = format!("{} {letters}", words("Latin title", (9, 80)));
    let content = with_title.as_str();
    let page = without_fonts(&OnePage {
        content,
        ..OnePage::default()
    });
    let page = page.result.unwrap();
    assert_eq!(page.warnings, [Warning::MissingGlyphs]);
    assert_eq!(page.text.unwrap().0, "Latin title\nАБВ");

    let content = letters;
    let error = without_fonts(&OnePage {
        content,
        ..OnePage::default()
    });
    let error = error.result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Render);
    assert!(error.message.contains("Cyrillic letters"), "{error}");
    assert!(error.message.contains("fonts-dejavu"), "{error}");
}

#[test]
fn text_that_is_not_meant_to_be_seen_is_not_missing() {
    let title = words("Title", (9, 80));
    for (what, content) in [
        ("hidden", "BT 3 Tr /C 12 Tf 9 50 Td (ABC) Tj ET"),
        ("white", "1 g BT /C 12 Tf 9 50 Td (ABC) Tj ET"),
        (
            "cut away",
            "q 0 0 5 5 re W n BT /C 12 Tf 9 50 Td (ABC) Tj ET Q",
        ),
        ("off the page", "BT /C 12 Tf 900 50 Td (ABC) Tj ET"),
    ] {
        let content = format!("{title}{content}");
        let content = content.as_str();
        let page = OnePage {
            content,
            ..OnePage::default()
        }
        .page();
        assert_eq!(page.warnings, [], "{what}");
    }
}

#[test]
fn form_values_and_annotations_are_drawn_and_in_the_text() {
    let field = "/Type /Annot /Subtype /Widget /FT /Tx /T (n) /Rect [9 20 150 40] /F 4 /DA (/Helv 10 Tf 0 g)";
    let appearance = form("", "", &words("VALUE", (2, 6)));
    let acro_form = "/AcroForm << /Fields [5 0 R] /DA (/Helv 10 Tf 0 g) /NeedAppearances true >>";
    for (what, annotation, catalog) in [
        ("no form", format!("<< {field} /V (VALUE) /AP << /N 6 0 R >> >>"), ""),
        ("a form", format!("<< {field} /V (VALUE) /AP << /N 6 0 R >> >>"), acro_form),
        ("no appearance", format!("<< {field} /V (VALUE) >>"), acro_form),
        (
            "annotation",
            "<< /Type /Annot /Subtype /FreeText /Contents (VALUE) /Rect [9 20 150 40] /F 4 /AP << /N 6 0 R >> >>".to_owned(),
            "",
        ),
    ] {
        let page = OnePage {
            content: &words("Name:", (9, 80)),
            page: "/Annots [5 0 R]",
            catalog,
            objects: &[annotation, appearance.clone()],
            ..OnePage::default()
        }
        .page();
        assert_eq!(page.text.unwrap().0, "Name:\nVALUE", "{what}");
        let pixels = page.pixels.unwrap();
        let lower_half = pixels.rows().skip(50).flatten();
        assert!(lower_half.copied().any(|pixel| pixel.0[0] < 128), "{what}: not drawn");
    }
    let hidden = format!("<< {} /AP << /N 6 0 R >> >>", field.replace("/F 4", "/F 2"));
    let text = OnePage {
        content: &words("Name:", (9, 80)),
        page: "/Annots [5 0 R]",
        objects: &[hidden, appearance],
        ..OnePage::default()
    }
    .text();
    assert_eq!(text, "Name:");
}

#[test]
fn text_of_switched_off_layers_is_left_out() {
    let seen = words("seen", (9, 80));
    let secret = words("SECRET", (9, 50));
    let off = "/OCProperties << /OCGs [5 0 R] /D << /OFF [5 0 R] >> >>";
    let on = "/OCProperties << /OCGs [5 0 R] /D << >> >>";
    let layer = "<< /Type /OCG /Name (Layer) >>".to_owned();
    let marked = format!("{seen} /OC /L BDC {secret} EMC");
    let in_form = format!("{seen} /I Do");
    let layered_form = form("", "/OC 5 0 R", &secret);
    let members = "<< /Type /OCMD /OCGs [5 0 R] >>".to_owned();
    for (what, content, resources, second) in [
        ("marked", &marked, "/Properties << /L 5 0 R >>", &layer),
        (
            "by membership",
            &marked,
            "/Properties << /L 6 0 R >>",
            &members,
        ),
        ("form", &in_form, "/XObject << /I 6 0 R >>", &layered_form),
    ] {
        for (catalog, expected) in [(off, "seen"), (on, "seen\nSECRET")] {
            let text = OnePage {
                content,
                resources,
                catalog,
                objects: &[layer.clone(), second.clone()],
                ..OnePage::default()
            }
            .text();
            assert_eq!(text, expected, "{what}, {catalog}");
        }
    }
}

#[test]
fn text_that_nobody_can_see_is_left_out() {
    for (what, hidden) in [
        ("off the page", words("OFF", (900, 50))),
        (
            "cut away",
            format!("q 0 0 5 5 re W n {} Q", words("CUT", (9, 50))),
        ),
        (
            "invisible over nothing",
            "BT 3 Tr /F 12 Tf 9 50 Td (HIDDEN) Tj ET".to_owned(),
        ),
    ] {
        let content = format!("{}{hidden}", words("seen", (9, 80)));
        let content = content.as_str();
        assert_eq!(
            OnePage {
                content,
                ..OnePage::default()
            }
            .text(),
            "seen",
            "{what}"
        );
    }
    let content = "1 g BT /F 12 Tf 9 50 Td (all of it white) Tj ET";
    assert_eq!(
        OnePage {
            content,
            ..OnePage::default()
        }
        .text(),
        ""
    );
}

#[test]
fn scan_with_recognized_text_is_no_stamped_scan() {
    let grey = image("/Filter /ASCIIHexDecode", &"80ff".repeat(100));
    let recognized = "words that a program has recognized on the scan of a page";
    let hidden = format!("BT 3 Tr /F 5 Tf 9 50 Td ({recognized}) Tj ET");
    for (over, is_scan, text) in [
        (hidden, false, recognized),
        (words("Page 3", (9, 9)), true, "Page 3"),
    ] {
        let page = OnePage {
            content: &format!("{WHOLE_PAGE}{over}"),
            resources: "/XObject << /I 5 0 R >>",
            objects: std::slice::from_ref(&grey),
            ..OnePage::default()
        }
        .page();
        assert_eq!(
            (page.is_scan, page.text.unwrap().0.as_str()),
            (is_scan, text)
        );
    }
}

#[test]
fn lines_in_any_direction_are_in_order() {
    let lines = |matrix: fn(usize) -> String| {
        let line = |at| {
            format!(
                "BT /F 8 Tf {} Tm (line {at} of the text) Tj ET ",
                matrix(at)
            )
        };
        (0..4).map(line).collect::<String>()
    };
    let expected = "line 0 of the text\nline 1 of the text\nline 2 of the text\nline 3 of the text";
    for (what, content) in [
        ("down", lines(|at| format!("0 -1 1 0 {} 90", 100 - 12 * at))),
        ("up", lines(|at| format!("0 1 -1 0 {} 9", 40 + 12 * at))),
        (
            "upside down",
            lines(|at| format!("-1 0 0 -1 190 {}", 20 + 12 * at)),
        ),
        (
            "from below",
            (0..4)
                .rev()
                .map(|at| {
                    format!(
                        "BT /F 8 Tf 9 {} Td (line {at} of the text) Tj ET ",
                        80 - 12 * at
                    )
                })
                .collect(),
        ),
    ] {
        let content = content.as_str();
        for page in ["", "/Rotate 90", "/Rotate 180"] {
            let text = OnePage {
                content,
                page,
                ..OnePage::default()
            }
            .text();
            assert_eq!(text, expected, "{what} {page}");
        }
    }
}

#[test]
fn columns_written_row_by_row_are_read_one_by_one() {
    let row = |at: usize| {
        let y = 90 - 8 * at;
        format!(
            "BT /F 6 Tf 9 {y} Td (left column, line {at}) Tj ET BT /F 6 Tf 110 {y} Td (right column, line {at}) Tj ET "
        )
    };
    let content: String = (0..6).map(row).collect();
    let text = OnePage {
        content: &content,
        ..OnePage::default()
    }
    .text();
    let sides: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(sides, [["left"; 6], ["right"; 6]].concat());
}

#[test]
fn junk_before_the_header_and_a_header_without_dash_are_read() {
    let content = words("read", (9, 50));
    let whole = OnePage {
        content: &content,
        ..OnePage::default()
    }
    .bytes();
    let without_dash = String::from_utf8(whole.clone())
        .unwrap()
        .replacen("%PDF-", "%PDF ", 1);
    let mut files = vec![without_dash.into_bytes()];
    for junk in [
        &b"\x00\xFF\xFE"[..],
        b"BM12",
        b"HTTP/1.1 200 OK\r\n\r\n",
        &[b'x'; 1000],
    ] {
        files.push([junk, &whole].concat());
    }
    for bytes in files {
        assert_eq!(page_of(&bytes).text.unwrap().0, "read");
    }
}

#[test]
fn odd_boxes_and_units_give_the_page_its_size() {
    let content = words("x", (9, 50));
    let size = |page: &str| {
        let page = OnePage {
            content: &content,
            page,
            ..OnePage::default()
        };
        pixels_of(&page.bytes()).dimensions()
    };
    assert_eq!(size(""), (200, 100));
    assert_eq!(size("/CropBox [900 900 950 950]"), (200, 100));
    assert_eq!(size("/CropBox [150 0 950 100]"), (50, 100));
    assert_eq!(size("/UserUnit 2.5"), (500, 250));
    assert_eq!(size("/UserUnit 10 /MediaBox [0 0 20 10]"), (200, 100));
    assert_eq!(size("/UserUnit -3"), (200, 100));
}

#[test]
fn xml_form_and_portfolio_have_the_placeholder_warning() {
    let note = "Please wait... If this message is not eventually replaced by the proper contents";
    let wait = format!("BT /F 4 Tf 9 50 Td ({note}) Tj ET");
    let cover = words("cover sheet", (9, 50));
    let xml = stream("", "<xdp:xdp/>");
    let file = "<< /Type /Filespec /F (a.txt) /EF << /F 6 0 R >> >>".to_owned();
    let embedded = stream("/Type /EmbeddedFile", "hello");
    let files = "/Names << /EmbeddedFiles << /Names [(a.txt) 5 0 R] >> >>";
    let alone = "/AcroForm << /Fields [] /XFA 5 0 R >> /NeedsRendering true";
    let beside = "/AcroForm << /Fields [] /XFA 5 0 R >>";
    let portfolio = format!("/Collection << /View /D >> {files}");
    for (what, content, catalog, objects, is_placeholder) in [
        ("dynamic form", &wait, alone, vec![xml.clone()], true),
        ("its text", &wait, beside, vec![xml.clone()], true),
        ("static form", &cover, beside, vec![xml], false),
        (
            "portfolio",
            &cover,
            &portfolio,
            vec![file.clone(), embedded.clone()],
            true,
        ),
        ("attachment", &cover, files, vec![file, embedded], false),
    ] {
        let page = OnePage {
            content,
            catalog,
            objects: &objects,
            ..OnePage::default()
        }
        .page();
        assert_eq!(
            page.warnings.contains(&Warning::Placeholder),
            is_placeholder,
            "{what}"
        );
    }
}

#[test]
fn a_password_opens_an_encrypted_pdf() {
    let (_folder, path) = file("a.pdf", &data("encrypted.pdf"));
    let read = |passwords: &[&str]| {
        let passwords = passwords.iter().map(|&password| password.to_owned());
        let settings = Settings {
            passwords: Passwords::new(passwords),
            ..settings()
        };
        only(&path, settings).result
    };
    assert_eq!(
        read(&["wrong", "secret"]).unwrap().text.unwrap().0,
        "secret"
    );
    let error = read(&["wrong"]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Encrypted);
    assert!(error.message.contains("--password-file"), "{error}");
    let error = read(&[]).unwrap_err();
    assert!(error.message.contains("--password"), "{error}");
}

#[test]
fn pixels_are_left_out_where_the_text_says_what_the_page_shows() {
    let content = words("born digital", (9, 50));
    let born_digital = OnePage {
        content: &content,
        ..OnePage::default()
    }
    .bytes();
    let empty = OnePage {
        content: "0 0 99 50 re f",
        ..OnePage::default()
    }
    .bytes();
    for (bytes, has_pixels) in [(born_digital, false), (empty, true)] {
        let (_folder, path) = file("a.pdf", &bytes);
        let settings = Settings {
            text_first: true,
            ..settings()
        };
        let page = only(&path, settings).result.unwrap();
        assert_eq!(page.pixels.is_some(), has_pixels);
    }
}
