//! What preparation promises: upright pages at the model's size, in order, a few ahead; and for every bad file an error
//! that a person understands.

use std::{
    fs::{self, File},
    io::Cursor,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use image::{
    DynamicImage, ExtendedColorType, GrayAlphaImage, ImageBuffer, ImageEncoder, ImageFormat, Luma,
    LumaA, Rgb, RgbImage, RgbaImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
};
use omnidocs::{
    document::{Document, Format, Needs, PageSelection, Preparation, PreparedPage, Source},
    error::{ErrorKind, PageError, Stage},
    journal::{Recorded, Resume},
    prepare::{
        self, Done, Raster, Settings,
        resize::{PixelBudget, resize, smart_resize},
    },
};
use proptest::prelude::*;
use tempfile::TempDir;
use tiff::encoder::{TiffEncoder, colortype};

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const WHITE: [u8; 3] = [255, 255, 255];

/// A budget that leaves a page of up to ten million pixels as it is.
const AS_IT_IS: PixelBudget = PixelBudget {
    factor: 1,
    min_pixels: 1,
    max_pixels: 10_000_000,
};
const QWEN: PixelBudget = PixelBudget {
    factor: 32,
    min_pixels: 65_536,
    max_pixels: 2_097_152,
};
const EVERYTHING: Needs = Needs {
    pixels: true,
    text: true,
};

/// One pixel per point.
fn settings() -> Settings {
    Settings {
        raster: Raster {
            dpi: 72.0,
            budget: AS_IT_IS,
        },
        selection: None,
        needs: EVERYTHING,
        workers: 2,
        prefetch: 2,
        retries: 0,
        page_timeout: Duration::from_secs(60),
        program: env!("CARGO_BIN_EXE_omnidocs").into(),
    }
}

fn sources(paths: &[PathBuf]) -> Vec<Source> {
    let source = |path: &PathBuf| Source {
        path: path.clone(),
        size_bytes: None,
        error: None,
    };
    paths.iter().map(source).collect()
}

fn prepare_all(paths: &[PathBuf], settings: Settings) -> Vec<Preparation> {
    prepare::pages(sources(paths), settings).unwrap().collect()
}

/// The only page of a file.
fn only(path: &Path, settings: Settings) -> Preparation {
    let mut pages = prepare_all(&[path.to_owned()], settings);
    assert_eq!(pages.len(), 1, "{pages:?}");
    pages.remove(0)
}

/// The only page of a file with these bytes.
fn page_of(bytes: &[u8]) -> PreparedPage {
    let (_folder, path) = file("page", bytes);
    only(&path, settings()).result.unwrap()
}

fn pixels_of(bytes: &[u8]) -> RgbImage {
    page_of(bytes).pixels.unwrap()
}

/// Why a file with these bytes gives no page.
fn error_of(name: &str, bytes: &[u8]) -> (u32, PageError) {
    let (_folder, path) = file(name, bytes);
    error_at(&path)
}

fn error_at(path: &Path) -> (u32, PageError) {
    let preparation = only(path, settings());
    (preparation.page.number, preparation.result.unwrap_err())
}

fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn data(name: &str) -> Vec<u8> {
    fs::read(Path::new("tests/data").join(name)).unwrap()
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    encode(image, ImageFormat::Png)
}

/// Left half red, right half blue.
fn flag(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| {
        Rgb(if x < width / 2 { RED } else { BLUE })
    })
}

#[track_caller]
fn assert_near(pixel: Rgb<u8>, expected: [u8; 3], tolerance: u8) {
    let near = pixel
        .0
        .iter()
        .zip(expected)
        .all(|(&a, b)| a.abs_diff(b) <= tolerance);
    assert!(near, "{:?}, expected {expected:?}", pixel.0);
}

/// A PDF of these pages: each one's own dictionary entries, its content, and further objects, which the entries can
/// name as `4 0 R` and so on if there is one page.
fn pdf(pages: &[(&str, &str)], further: &[&str]) -> Vec<u8> {
    let kids: Vec<_> = (0..pages.len())
        .map(|page| format!("{} 0 R", 3 + further.len() + 2 * page))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [3 0 R] >> >>".to_owned(),
        format!(
            "<< /Type /Pages /Count {} /Kids [{}] >>",
            pages.len(),
            kids.join(" ")
        ),
    ];
    objects.extend(further.iter().map(|&object| object.to_owned()));
    for (entries, content) in pages {
        let content_object = objects.len() + 2;
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /Contents {content_object} 0 R /Resources << /Font << /F \
             << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> {entries} >>"
        ));
        objects.push(stream("", content));
    }
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", index + 1).bytes());
    }
    let table = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for offset in offsets {
        bytes.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    let size = objects.len() + 1;
    bytes.extend(
        format!("trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n").bytes(),
    );
    bytes
}

fn stream(entries: &str, content: &str) -> String {
    format!(
        "<< /Length {} {entries} >>\nstream\n{content}\nendstream",
        content.len()
    )
}

fn text_page(text: &str) -> String {
    format!("BT /F 12 Tf 10 50 Td ({text}) Tj ET")
}

// ---- PDF -----------------------------------------------------------------------------------------------------------

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
    assert_eq!(page.text.unwrap().0, "Good morning");
}

#[test]
fn a_pdf_page_has_the_size_of_smart_resize_at_its_dpi() {
    let (_folder, path) = file("a.pdf", &pdf(&[("/MediaBox [0 0 612 792]", "")], &[]));
    let letter = only(
        &path,
        Settings {
            raster: Raster {
                dpi: 200.0,
                budget: QWEN,
            },
            ..settings()
        },
    );
    let (height, width) = smart_resize(2200, 1700, &QWEN).unwrap();
    assert_eq!(
        letter.result.unwrap().pixels.unwrap().dimensions(),
        (width, height)
    );

    // The largest page that PDF knows would have 1.6 thousand million pixels at this resolution.
    let (_folder, path) = file("a.pdf", &pdf(&[("/MediaBox [0 0 14400 14400]", "")], &[]));
    let poster = only(
        &path,
        Settings {
            raster: Raster {
                dpi: 200.0,
                budget: QWEN,
            },
            ..settings()
        },
    );
    assert_eq!(
        poster.result.unwrap().pixels.unwrap().dimensions(),
        (1440, 1440)
    );

    let (_folder, path) = file("a.pdf", &pdf(&[("/MediaBox [0 0 0.01 0.01]", "")], &[]));
    let speck = only(
        &path,
        Settings {
            raster: Raster {
                dpi: 200.0,
                budget: QWEN,
            },
            ..settings()
        },
    );
    assert_eq!(
        speck.result.unwrap().pixels.unwrap().dimensions(),
        (256, 256)
    );
}

#[test]
fn a_rotated_page_stands_upright() {
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
    assert_eq!(page.text.unwrap().0, "turned");
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
    assert_eq!(page.text.unwrap().0, "inside");
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
fn lines_of_text_are_separated_by_newlines_and_no_other_control_characters_are_left() {
    let content = "BT /F 12 Tf 10 60 Td (first) Tj 0 -20 Td (sec\\001ond) Tj ET";
    let text = page_of(&pdf(&[("/MediaBox [0 0 100 80]", content)], &[]))
        .text
        .unwrap()
        .0;
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

// ---- Images --------------------------------------------------------------------------------------------------------

#[test]
fn every_image_format_is_read_by_its_content() {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    let formats = [
        (Png, Format::Png),
        (Jpeg, Format::Jpeg),
        (WebP, Format::Webp),
        (Bmp, Format::Bmp),
        (Gif, Format::Gif),
        (Tiff, Format::Tiff),
    ];
    for (format, expected) in formats {
        let (_folder, path) = file("named.pdf", &encode(flag(64, 32), format));
        let preparation = only(&path, settings());
        assert_eq!(preparation.page.document.format, Some(expected));
        assert_eq!(preparation.page.document.page_count, Some(1));
        let pixels = preparation.result.unwrap().pixels.unwrap();
        assert_eq!(pixels.dimensions(), (64, 32), "{format:?}");
        assert_near(*pixels.get_pixel(8, 16), RED, 6);
        assert_near(*pixels.get_pixel(56, 16), BLUE, 6);
    }
    let (_folder, path) = file("named.png", &pdf(&[("/MediaBox [0 0 100 80]", "")], &[]));
    assert_eq!(
        only(&path, settings()).page.document.format,
        Some(Format::Pdf)
    );
    let mut junk = b"junk before the header\n".to_vec();
    junk.extend(pdf(&[("/MediaBox [0 0 100 80]", "")], &[]));
    assert_eq!(pixels_of(&junk).dimensions(), (100, 80));
}

#[test]
fn grey_sixteen_bit_and_transparent_pixels_become_rgb_on_white() {
    let grey = ImageBuffer::from_pixel(1, 1, Luma([100_u8]));
    assert_eq!(pixels_of(&png(grey)).get_pixel(0, 0).0, [100; 3]);
    let deep = ImageBuffer::from_pixel(1, 1, Luma([0x8000_u16]));
    assert_eq!(pixels_of(&png(deep)).get_pixel(0, 0).0, [128; 3]);
    let deep = ImageBuffer::from_pixel(1, 1, Rgb([0xFFFF_u16, 0x8000, 0]));
    assert_eq!(pixels_of(&png(deep)).get_pixel(0, 0).0, [255, 128, 0]);

    let clear = RgbaImage::from_fn(3, 1, |x, _| {
        image::Rgba([255, 0, 0, [255, 128, 0][x as usize]])
    });
    let pixels = pixels_of(&png(clear));
    assert_eq!(
        [0, 1, 2].map(|x| pixels.get_pixel(x, 0).0),
        [RED, [255, 127, 127], WHITE]
    );
    let clear = GrayAlphaImage::from_pixel(1, 1, LumaA([0, 51]));
    assert_eq!(pixels_of(&png(clear)).get_pixel(0, 0).0, [204; 3]);
}

#[test]
fn palettes_become_rgb() {
    for name in ["palette.png", "palette.tif"] {
        let pixels = pixels_of(&data(name));
        assert_eq!(
            [0, 1, 2].map(|x| pixels.get_pixel(x, 0).0),
            [RED, GREEN, BLUE],
            "{name}"
        );
    }
    assert_eq!(
        pixels_of(&data("palette.png")).get_pixel(3, 0).0,
        WHITE,
        "transparent"
    );
}

#[test]
fn cmyk_becomes_rgb() {
    for name in ["cmyk.jpg", "cmyk.tif"] {
        let pixels = pixels_of(&data(name));
        assert_near(*pixels.get_pixel(4, 8), [255, 0, 255], 3);
        assert_near(*pixels.get_pixel(28, 8), [127; 3], 3);
    }
}

#[test]
fn photos_are_turned_as_their_exif_says() {
    // TIFF header, one entry: Orientation (0x112), short, 1 value: 6, the camera was turned by 90°.
    let exif = b"MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    let image = flag(32, 16);
    let mut jpeg = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 95);
    encoder.set_exif_metadata(exif.clone()).unwrap();
    encoder
        .write_image(&image, 32, 16, ExtendedColorType::Rgb8)
        .unwrap();
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(&mut png);
    encoder.set_exif_metadata(exif).unwrap();
    encoder
        .write_image(&image, 32, 16, ExtendedColorType::Rgb8)
        .unwrap();
    for bytes in [jpeg, png] {
        let pixels = pixels_of(&bytes);
        assert_eq!(pixels.dimensions(), (16, 32));
        assert_near(*pixels.get_pixel(8, 4), RED, 6);
        assert_near(*pixels.get_pixel(8, 28), BLUE, 6);
    }
}

#[test]
fn every_page_of_a_tiff_is_read() {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    encoder
        .write_image::<colortype::RGB8>(4, 2, &RED.repeat(8))
        .unwrap();
    encoder
        .write_image::<colortype::Gray16>(2, 2, &[0x8000; 4])
        .unwrap();
    encoder
        .write_image::<colortype::RGBA8>(1, 3, &[0, 0, 255, 0].repeat(3))
        .unwrap();
    let (_folder, path) = file("a.tif", bytes.get_ref());
    let pages = prepare_all(&[path], settings());
    assert_eq!(
        pages
            .iter()
            .map(|page| page.page.number)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(pages[0].page.document.page_count, Some(3));
    let pixels: Vec<_> = pages
        .into_iter()
        .map(|page| page.result.unwrap().pixels.unwrap())
        .collect();
    assert_eq!(pixels[0], RgbImage::from_pixel(4, 2, Rgb(RED)));
    assert_eq!(pixels[1], RgbImage::from_pixel(2, 2, Rgb([128; 3])));
    assert_eq!(pixels[2], RgbImage::from_pixel(1, 3, Rgb(WHITE)));
}

#[test]
fn scanners_tiffs_are_read() {
    let fax = pixels_of(&data("fax.tif"));
    assert_eq!(fax.dimensions(), (30, 20));
    assert_eq!(
        (fax.get_pixel(5, 10).0, fax.get_pixel(20, 10).0),
        ([0; 3], WHITE)
    );
    let scan = pixels_of(&data("scan.tif"));
    assert_eq!(scan.dimensions(), (16, 32), "its orientation says so");
    assert_near(*scan.get_pixel(8, 16), [200, 30, 30], 4);
}

// ---- Sizes ---------------------------------------------------------------------------------------------------------

#[test]
fn smart_resize_gives_the_sizes_of_the_reference() {
    let table = fs::read("tests/golden/smart_resize.json").unwrap();
    let table: Vec<[Option<u64>; 7]> = serde_json::from_slice(&table).unwrap();
    assert!(table.len() > 100);
    for [
        height,
        width,
        factor,
        min,
        max,
        expected_height,
        expected_width,
    ] in table
    {
        let [height, width, factor] = [height, width, factor].map(|value| value.unwrap() as u32);
        let budget = PixelBudget {
            factor,
            min_pixels: min.unwrap(),
            max_pixels: max.unwrap(),
        };
        let size = smart_resize(height, width, &budget).ok();
        let expected = expected_height.zip(expected_width);
        assert_eq!(
            size.map(|(height, width)| (u64::from(height), u64::from(width))),
            expected,
            "{height} × {width}, {budget:?}"
        );
    }
}

proptest! {
    #[test]
    fn smart_resize_keeps_to_the_budget(height in 1_u32..20_000, width in 1_u32..20_000) {
        prop_assume!(height.max(width) <= 200 * height.min(width));
        let (h, w) = smart_resize(height, width, &QWEN).unwrap();
        prop_assert!(h % 32 == 0 && w % 32 == 0 && h > 0 && w > 0);
        prop_assert!(u64::from(h) * u64::from(w) <= QWEN.max_pixels);
        prop_assert!(u64::from(h) * u64::from(w) >= QWEN.min_pixels);
    }
}

#[test]
fn resampling_is_within_two_levels_of_pil_on_every_pixel() {
    #[derive(serde::Deserialize)]
    struct Case {
        source: String,
        target: String,
        width: u32,
        height: u32,
    }
    let folder = Path::new("tests/golden/resize");
    let load = |name: &str| image::open(folder.join(name)).unwrap().into_rgb8();
    let cases = fs::read("tests/golden/resize.json").unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let resized = resize(load(&case.source), case.width, case.height).unwrap();
        let expected = load(&case.target);
        assert_eq!(resized.dimensions(), expected.dimensions());
        let worst = resized
            .iter()
            .zip(expected.iter())
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(worst <= Some(2), "{}: off by {worst:?}", case.target);
    }
}

#[test]
fn an_image_of_the_right_size_is_not_resampled() {
    let noise = RgbImage::from_fn(64, 96, |x, y| {
        Rgb([(x * 37 + y * 101) as u8, (x * y) as u8, (x ^ y) as u8])
    });
    let (_folder, path) = file("a.png", &png(noise.clone()));
    let budget = PixelBudget {
        min_pixels: 1024,
        ..QWEN
    };
    assert_eq!(
        only(
            &path,
            Settings {
                raster: Raster { dpi: 72.0, budget },
                ..settings()
            }
        )
        .result
        .unwrap()
        .pixels,
        Some(noise)
    );
}

// ---- Bad input -----------------------------------------------------------------------------------------------------

#[test]
fn an_empty_file_is_unreadable() {
    for name in ["empty.pdf", "empty.png"] {
        let (page, error) = error_of(name, b"");
        assert_eq!(
            (page, error.kind, error.stage),
            (0, ErrorKind::Unreadable, Stage::Open)
        );
        assert_eq!(error.message, "the file is empty");
    }
}

#[test]
fn text_named_pdf_is_unsupported() {
    let (page, error) = error_of("letter.pdf", b"Dear Sir or Madam,\n");
    assert_eq!(
        (page, error.kind, error.stage),
        (0, ErrorKind::Unsupported, Stage::Open)
    );
    assert!(
        error.message.contains("neither a PDF nor an image"),
        "{error}"
    );
}

#[test]
fn a_truncated_pdf_is_unreadable() {
    let whole = pdf(&[("/MediaBox [0 0 100 80]", &text_page("x"))], &[]);
    let (page, error) = error_of("a.pdf", &whole[..120]);
    assert_eq!(
        (page, error.kind, error.stage),
        (0, ErrorKind::Unreadable, Stage::Open)
    );
    assert!(error.message.contains("damaged or incomplete"), "{error}");
}

#[test]
fn a_page_that_is_missing_from_its_pdf_costs_only_that_page() {
    let pages = [("/MediaBox [0 0 100 80]", ""); 2];
    let damaged = String::from_utf8(pdf(&pages, &[]))
        .unwrap()
        .replace("[3 0 R 5 0 R]", "[3 0 R 9 0 R]");
    let (_folder, path) = file("a.pdf", damaged.as_bytes());
    let pages = prepare_all(&[path], settings());
    assert_eq!(pages.len(), 2);
    assert!(pages[0].result.is_ok());
    let error = pages[1].result.as_ref().unwrap_err();
    assert_eq!(
        (error.kind, error.stage),
        (ErrorKind::Unreadable, Stage::Prepare)
    );
}

#[test]
fn an_encrypted_pdf_says_that_it_wants_a_password() {
    let (page, error) = error_of("a.pdf", &data("encrypted.pdf"));
    assert_eq!(
        (page, error.kind, error.stage),
        (0, ErrorKind::Encrypted, Stage::Open)
    );
    assert!(error.message.contains("password"), "{error}");
}

#[test]
fn a_pdf_without_pages_is_unreadable() {
    let (page, error) = error_of("a.pdf", &pdf(&[], &["null"]));
    assert_eq!((page, error.kind), (0, ErrorKind::Unreadable));
    assert_eq!(error.message, "the PDF has no pages");
}

#[test]
fn extreme_images_are_enlarged_or_refused() {
    let (_folder, path) = file("dot.png", &png(RgbImage::from_pixel(1, 1, Rgb(RED))));
    let dot = only(
        &path,
        Settings {
            raster: Raster {
                dpi: 72.0,
                budget: QWEN,
            },
            ..settings()
        },
    );
    assert_eq!(
        dot.result.unwrap().pixels.unwrap(),
        RgbImage::from_pixel(256, 256, Rgb(RED))
    );

    let (page, error) = error_of("line.png", &png(RgbImage::new(1, 5000)));
    assert_eq!(
        (page, error.kind, error.stage),
        (1, ErrorKind::Render, Stage::Prepare)
    );
    assert!(error.message.contains("1 × 5000 pixels"), "{error}");
}

#[test]
fn a_decompression_bomb_is_too_large() {
    // The signature, a header of 30,000 × 30,000 RGB pixels with its checksum, and the start of the data.
    let bomb = b"\x89PNG\r\n\x1a\n\0\0\0\x0DIHDR\0\0\x75\x30\0\0\x75\x30\x08\x02\0\0\0\xe9\x45\x6f\xed\0\0\0\x08IDAT";
    let (page, error) = error_of("bomb.png", bomb);
    assert_eq!(
        (page, error.kind, error.stage),
        (1, ErrorKind::TooLarge, Stage::Prepare)
    );
    assert!(error.message.contains("30000 × 30000"), "{error}");
}

#[test]
fn a_truncated_image_is_unreadable() {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    let noise = RgbImage::from_fn(64, 64, |x, y| {
        Rgb([(x * 37 + y * 101) as u8, (x * y) as u8, (x ^ y) as u8])
    });
    for format in [Png, Jpeg, WebP, Bmp, Gif, Tiff] {
        let whole = encode(noise.clone(), format);
        for tenths in [5, 9] {
            let (_, error) = error_of("half", &whole[..whole.len() * tenths / 10]);
            assert_eq!(error.kind, ErrorKind::Unreadable, "{format:?}: {error}");
        }
    }
}

#[test]
fn a_whole_jpeg_with_something_after_it_is_read() {
    let mut jpeg = encode(flag(64, 32), ImageFormat::Jpeg);
    jpeg.extend(b"\0\0\0");
    assert_eq!(pixels_of(&jpeg).dimensions(), (64, 32));
    jpeg.extend(b"a camera's own notes");
    assert_eq!(pixels_of(&jpeg).dimensions(), (64, 32));
}

#[cfg(unix)]
#[test]
fn a_file_without_read_permission_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = file("a.png", &png(flag(4, 4)));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&path).is_ok() {
        return; // The superuser may read everything.
    }
    let (page, error) = error_at(&path);
    assert_eq!(
        (page, error.kind, error.stage),
        (0, ErrorKind::Unreadable, Stage::Open)
    );
    assert!(error.message.contains("permission"), "{error}");
}

#[test]
fn a_file_that_has_vanished_is_unreadable() {
    let (page, error) = error_at(Path::new("tests/data/there is no such file.pdf"));
    assert_eq!(
        (page, error.kind, error.stage),
        (0, ErrorKind::Unreadable, Stage::Open)
    );
    assert!(error.message.contains("not there"), "{error}");
}

#[test]
fn what_discovery_ran_into_is_passed_on() {
    let error = PageError::new(ErrorKind::Unreadable, Stage::Open, "the folder is locked");
    let source = Source {
        path: "x".into(),
        size_bytes: None,
        error: Some(error.clone()),
    };
    let pages: Vec<_> = prepare::pages(vec![source], settings()).unwrap().collect();
    assert_eq!(pages.len(), 1);
    assert_eq!(
        (pages[0].page.number, pages[0].result.as_ref()),
        (0, Err(&error))
    );
}

// ---- The stream ----------------------------------------------------------------------------------------------------

#[test]
fn documents_are_described() {
    let (_folder, path) = file("a.png", b"\x89PNG\r\n\x1a\nrest");
    let page = only(&path, settings()).page;
    let document = &page.document;
    assert_eq!(
        (document.size_bytes, document.page_count),
        (Some(12), Some(1))
    );
    let sha256sum = "f02a830cf03a1cf756c0461481db682bc9254a5a399f847494d33850c3ff7156";
    assert_eq!(document.doc_id.as_deref(), Some(sha256sum));
}

#[test]
fn pages_come_in_input_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for index in 0..20 {
        // Large and small in turn, so that the later one is often ready first.
        let side = if index % 2 == 0 { 800 } else { 8 };
        let bytes = match index % 5 {
            0 => b"nothing that is known".to_vec(),
            1 => pdf(&[("/MediaBox [0 0 100 80]", ""); 3], &[]),
            _ => png(flag(side, side)),
        };
        paths.push(folder.path().join(format!("{index:02}")));
        fs::write(&paths[index as usize], bytes).unwrap();
    }
    let pages = prepare_all(
        &paths,
        Settings {
            workers: 4,
            prefetch: 8,
            ..settings()
        },
    );
    let expected: Vec<_> = (0..20)
        .flat_map(|index| {
            let pages = match index % 5 {
                0 => 0..=0,
                1 => 1..=3,
                _ => 1..=1,
            };
            pages.map(move |page| (index, page))
        })
        .map(|(index, page)| (paths[index].clone(), page))
        .collect();
    let found: Vec<_> = pages
        .iter()
        .map(|page| (page.page.document.path.clone(), page.page.number))
        .collect();
    assert_eq!(found, expected);
    let mut ids: Vec<_> = pages
        .iter()
        .filter_map(|page| Some(page.result.as_ref().ok()?.id))
        .collect();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "ids are unique");
}

#[test]
fn only_selected_pages_are_prepared() {
    let (_folder, two) = file("two.pdf", &pdf(&[("/MediaBox [0 0 9 9]", ""); 2], &[]));
    let (_folder, five) = file("five.pdf", &pdf(&[("/MediaBox [0 0 9 9]", ""); 5], &[]));
    let selection: PageSelection = "3,5-".parse().unwrap();
    let settings = Settings {
        selection: Some(selection),
        ..settings()
    };
    let mut pages = prepare::pages(sources(&[two, five.clone()]), settings).unwrap();
    let found: Vec<_> = pages
        .by_ref()
        .map(|page| (page.page.document.path.clone(), page.page.number))
        .collect();
    assert_eq!(found, [(five.clone(), 3), (five, 5)]);
    assert_eq!(pages.unselected(), 1, "the document of two pages");
}

#[test]
fn at_most_prefetch_pages_are_prepared_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..12)
        .map(|index| folder.path().join(format!("{index:02}.png")))
        .collect();
    for path in &paths {
        fs::write(path, png(flag(8, 8))).unwrap();
    }
    let mut pages = prepare::pages(
        sources(&paths),
        Settings {
            prefetch: 2,
            ..settings()
        },
    )
    .unwrap();
    assert!(pages.next().unwrap().result.is_ok());
    thread::sleep(Duration::from_millis(300));
    for path in &paths {
        fs::remove_file(path).unwrap();
    }
    // Whatever was not prepared yet fails now.
    let rest: Vec<_> = pages.map(|page| page.result.is_ok()).collect();
    assert_eq!(rest.len(), 11);
    assert!(rest.iter().filter(|&&ok| ok).count() <= 2, "{rest:?}");
}

#[test]
fn a_document_that_was_met_before_gives_no_pages_and_is_counted() {
    let (_folder, one) = file("one.png", &png(flag(8, 8)));
    let (_folder, copy) = file("copy.png", &png(flag(8, 8)));
    let (_folder, other) = file("other.png", &png(flag(8, 16)));
    let done = Resume::new(Recorded::default(), false);
    let sources = sources(&[one.clone(), copy, other.clone()]);
    let mut pages = prepare::pages_except(sources, settings(), Box::new(done)).unwrap();
    let read: Vec<_> = pages
        .by_ref()
        .map(|page| (page.page.document.path.clone(), page.passed_over))
        .collect();
    assert_eq!(read, [(one, 0), (other, 1)]);
    assert_eq!(pages.copies(), 1);
}

/// Says when the feeder has ended: its sender is gone.
struct Watch(#[allow(dead_code)] mpsc::Sender<()>);

impl Done for Watch {
    fn is_done(&self, _: &Document, _: u32) -> bool {
        false
    }

    fn is_copy(&mut self, _: &Document) -> bool {
        false
    }
}

#[test]
fn dropping_the_pages_early_ends_the_preparation() {
    let (_folder, path) = file("a.png", &png(flag(64, 64)));
    for taken in [0, 1, 5] {
        let (alive, ended) = mpsc::channel();
        let sources = vec![sources(std::slice::from_ref(&path)).remove(0); 10_000];
        let mut pages = prepare::pages_except(sources, settings(), Box::new(Watch(alive))).unwrap();
        assert_eq!(pages.by_ref().take(taken).count(), taken);
        drop(pages);
        let end = ended.recv_timeout(Duration::from_secs(10));
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
