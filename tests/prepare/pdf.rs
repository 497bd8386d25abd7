//! PDF pages as pixels and text.

use super::*;

#[test]
fn a_pdf_page_is_rendered_on_white_and_read() {
    let content = format!("1 0 0 rg 0 0 100 20 re f 0 g {}", text_page("Good morning"));
    let page = page_of(&pdf(&[("/MediaBox [0 0 100 80]", &content)], &[]));
    let pixels = page.pixels.unwrap();
    assert_eq!(pixels.dimensions(), (100, 80));
    assert_eq!(
        pixels.get_pixel(50, 70).0,
        RED,
        "the page's lower edge is the image's"
    );
    assert_eq!(pixels.get_pixel(95, 5).0, WHITE);
    assert!(
        pixels
            .pixels()
            .any(|pixel| pixel.0.iter().all(|&value| value < 100)),
        "no text is drawn"
    );
    assert_eq!(page.text.unwrap().text, "Good morning");
}

#[test]
fn a_pdf_page_has_the_size_of_smart_resize_at_its_dpi() {
    let (_folder, path) = file("a.pdf", &pdf(&[("/MediaBox [0 0 612 792]", "")], &[]));
    let letter = only(&path, settings_for(200.0, QWEN));
    let (height, width) = smart_resize(2200, 1700, &QWEN).unwrap();
    assert_eq!(
        letter.result.unwrap().pixels.unwrap().dimensions(),
        (width, height)
    );

    // The largest page that PDF knows would have 1.6 thousand million pixels at this resolution.
    let (_folder, path) = file("a.pdf", &pdf(&[("/MediaBox [0 0 14400 14400]", "")], &[]));
    let poster = only(&path, settings_for(200.0, QWEN));
    assert_eq!(
        poster.result.unwrap().pixels.unwrap().dimensions(),
        (1440, 1440)
    );

    let (_folder, path) = file("a.pdf", &pdf(&[("/MediaBox [0 0 0.01 0.01]", "")], &[]));
    let speck = only(&path, settings_for(200.0, QWEN));
    assert_eq!(
        speck.result.unwrap().pixels.unwrap().dimensions(),
        (256, 256)
    );
}

#[test]
fn rotated_page_is_upright() {
    // A red mark in the lower left corner goes to the upper left when the page is turned clockwise.
    let content = format!("1 0 0 rg 0 0 20 20 re f 0 g {}", text_page("turned"));
    let page = page_of(&pdf(
        &[("/MediaBox [0 0 100 300] /Rotate 90", &content)],
        &[],
    ));
    let pixels = page.pixels.unwrap();
    assert_eq!(pixels.dimensions(), (300, 100));
    assert_eq!(pixels.get_pixel(10, 10).0, RED);
    assert_eq!(pixels.get_pixel(10, 90).0, WHITE);
    assert_eq!(page.text.unwrap().text, "turned");
}

#[test]
fn only_the_crop_box_is_shown() {
    let content = "1 0 0 rg 0 0 500 500 re f 0 1 0 rg 300 300 100 50 re f \
                   BT 0 g /F 12 Tf 310 320 Td (inside) Tj ET";
    let entries = "/MediaBox [0 0 500 500] /CropBox [300 300 400 350]";
    let page = page_of(&pdf(&[(entries, content)], &[]));
    let pixels = page.pixels.unwrap();
    assert_eq!(pixels.dimensions(), (100, 50));
    for corner in [(0, 0), (99, 0), (0, 49), (99, 49)] {
        assert_eq!(pixels.get_pixel(corner.0, corner.1).0, GREEN);
    }
    assert_eq!(page.text.unwrap().text, "inside");
}

#[test]
fn annotations_and_form_fields_are_rendered() {
    let entries = "/MediaBox [0 0 100 100] /Annots [3 0 R 4 0 R]";
    let field = "<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /F 4 /Rect [0 0 50 50] /AP << /N 5 0 R >> >>";
    let note = "<< /Type /Annot /Subtype /Square /F 4 /Rect [50 50 100 100] /AP << /N 6 0 R >> >>";
    let form = "/Type /XObject /Subtype /Form /BBox [0 0 50 50]";
    let (blue, red) = (
        stream(form, "0 0 1 rg 0 0 50 50 re f"),
        stream(form, "1 0 0 rg 0 0 50 50 re f"),
    );
    let pixels = pixels_of(&pdf(&[(entries, "")], &[field, note, &blue, &red]));
    assert_eq!(pixels.get_pixel(25, 75).0, BLUE, "the form field");
    assert_eq!(pixels.get_pixel(75, 25).0, RED, "the annotation");
    assert_eq!(pixels.get_pixel(25, 25).0, WHITE);
}

#[test]
fn text_layer_has_newlines_and_no_other_controls() {
    let content = "BT /F 12 Tf 10 60 Td (first) Tj 0 -20 Td (sec\\001ond) Tj ET";
    let text = page_of(&pdf(&[("/MediaBox [0 0 100 80]", content)], &[]))
        .text
        .unwrap()
        .text;
    assert_eq!(text, "first\nsecond");
}

#[test]
fn only_what_the_engine_needs_is_prepared() {
    let (_folder, path) = file(
        "a.pdf",
        &pdf(&[("/MediaBox [0 0 100 80]", &text_page("x"))], &[]),
    );
    for (pixels, text) in [(true, false), (false, true)] {
        let page = only(
            &path,
            Settings {
                needs: Needs { pixels, text },
                ..settings()
            },
        )
        .result
        .unwrap();
        assert_eq!((page.pixels.is_some(), page.text.is_some()), (pixels, text));
    }
    let (_folder, path) = file("a.png", &png(flag(4, 4)));
    let page = only(
        &path,
        Settings {
            needs: Needs {
                pixels: false,
                text: true,
            },
            ..settings()
        },
    );
    assert_eq!(page.result.unwrap().pixels, None);
}
