//! Bad files: for each an error that a person understands. And pages with nothing on them.

use super::*;

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
fn missing_pdf_page_fails_only_itself() {
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
fn encrypted_pdf_asks_for_a_password() {
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
    let dot = only(&path, settings_for(72.0, QWEN));
    assert_eq!(
        dot.result.unwrap().pixels.unwrap(),
        RgbImage::from_pixel(256, 256, Rgb(RED)).into()
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
    for format in [WebP, Gif] {
        let whole = encode(noise.clone(), format);
        for tenths in [5, 9] {
            let (_, error) = error_of("half", &whole[..whole.len() * tenths / 10]);
            assert_eq!(error.kind, ErrorKind::Unreadable, "{format:?}: {error}");
        }
    }
    // Of the others what is there is read, if that is more than a few rows.
    for format in [Png, Jpeg, Tiff, Bmp] {
        let whole = encode(noise.clone(), format);
        let (_, error) = error_of("start", &whole[..whole.len() / 40]);
        assert_eq!(error.kind, ErrorKind::Unreadable, "{format:?}: {error}");
    }
}

#[test]
fn jpeg_with_trailing_bytes_is_read() {
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
fn vanished_file_is_unreadable() {
    let (page, error) = error_at(Path::new("tests/data/there is no such file.pdf"));
    assert_eq!(
        (page, error.kind, error.stage),
        (0, ErrorKind::Unreadable, Stage::Open)
    );
    assert!(error.message.contains("does not exist"), "{error}");
}

#[test]
fn discovery_errors_become_records() {
    let error = PageError::new(ErrorKind::Unreadable, Stage::Open, "the folder is locked");
    let source = Source {
        path: "x".into(),
        size_bytes: None,
        error: Some(error.clone()),
    };
    let pages: Vec<_> = prepare::pages(vec![source], settings(), &Cancel::default())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(pages.len(), 1);
    assert_eq!(
        (pages[0].page.number, pages[0].result.as_ref()),
        (0, Err(&error))
    );
}
