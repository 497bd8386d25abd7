//! PDF pages that vanish easily: images that can't be decoded, fonts that are missing, hidden text, odd boxes.

use super::{
    one_page::{OnePage, WHOLE_PAGE, form, image, words},
    *,
};

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
    assert_eq!(page.text.unwrap().text, "Latin title\nАБВ");

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
        assert_eq!(page_of(&bytes).text.unwrap().text, "read");
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
        read(&["wrong", "secret"]).unwrap().text.unwrap().text,
        "secret"
    );
    let error = read(&["wrong"]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Encrypted);
    assert!(error.message.contains("--password-file"), "{error}");
    let error = read(&[]).unwrap_err();
    assert!(error.message.contains("--password"), "{error}");
}
