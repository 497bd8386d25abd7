//! The text of PDF pages: what is on the page is in it, in the order of reading, and nothing else.

use super::{
    one_page::{OnePage, WHOLE_PAGE, form, image, words},
    *,
};

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
        assert_eq!(page.text.unwrap().text, "Name:\nVALUE", "{what}");
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
            (page.is_scan, page.text.unwrap().text.as_str()),
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
