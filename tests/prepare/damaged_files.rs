//! Files of which a part is missing: what is there is read, with a warning.

use omnidocs::page::Warning;

use super::*;

/// A page that tells at each height how far down that is, and has something to see everywhere.
fn ladder() -> RgbImage {
    RgbImage::from_fn(200, 200, |x, y| {
        Rgb([y as u8, if x / 10 % 2 == 0 { 0 } else { 200 }, 100])
    })
}

/// The page of a damaged file.
#[track_caller]
fn damaged_page(bytes: &[u8]) -> RgbImage {
    let page = page_of(bytes);
    assert_eq!(page.warnings, [Warning::DamagedFile]);
    std::sync::Arc::unwrap_or_clone(page.pixels.unwrap())
}

fn tiff_in_strips() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut page = encoder.new_image::<colortype::RGB8>(200, 200).unwrap();
    page.rows_per_strip(20).unwrap();
    page.write_data(ladder().as_raw()).unwrap();
    bytes.into_inner()
}

#[test]
fn half_an_image_is_read_with_a_warning() {
    let jpeg = encode(ladder(), ImageFormat::Jpeg);
    let png = png(ladder());
    for (name, whole, end) in [
        ("jpeg", &jpeg, &[][..]),
        ("jpeg with an end", &jpeg, &[0xFF, 0xD9]),
        ("png", &png, &[]),
    ] {
        assert_eq!(page_of(whole).warnings, [], "{name}");
        for tenths in [6, 9] {
            let cut = [&whole[..whole.len() * tenths / 10], end].concat();
            let pixels = damaged_page(&cut);
            assert_eq!(pixels.dimensions(), (200, 200), "{name}");
            assert_near(*pixels.get_pixel(5, 20), [20, 0, 100], 8);
            assert_eq!(pixels.get_pixel(5, 199).0, WHITE, "{name}, {tenths}");
        }
    }
}

#[test]
fn tiff_with_missing_strips_is_read_with_a_warning() {
    let whole = tiff_in_strips();
    assert_eq!(page_of(&whole).warnings, []);
    // The directory comes last, so the data are pushed beyond the end: each offset of the upper half of the strips.
    let offset = u32::from_le_bytes(*whole[4..].first_chunk().unwrap()) as usize;
    let count = usize::from(whole[offset]);
    let entries = whole[offset + 2..][..12 * count].chunks(12);
    let strips = entries.clone().find(|entry| entry[..2] == [17, 1]).unwrap();
    let number = u32::from_le_bytes(*strips[4..].first_chunk().unwrap()) as usize;
    assert!(number > 3, "{number}");
    let table = u32::from_le_bytes(*strips[8..].first_chunk().unwrap()) as usize;
    let mut damaged = whole.clone();
    for strip in number - 2..number {
        damaged[table + 4 * strip..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    }
    let pixels = damaged_page(&damaged);
    assert_eq!(pixels.get_pixel(5, 20).0, [20, 0, 100]);
    assert_eq!(pixels.get_pixel(5, 199).0, WHITE);
}

#[test]
fn png_without_its_end_is_read_with_a_warning() {
    let png = png(ladder());
    // The last chunk has twelve bytes.
    let pixels = damaged_page(&png[..png.len() - 12]);
    assert_eq!(pixels, ladder());
    // A wrong checksum of the pixels costs none of them.
    let mut wrong = png.clone();
    let at = wrong.len() - 14;
    wrong[at] ^= 1;
    assert_eq!(damaged_page(&wrong), ladder());
}

#[test]
fn hardly_anything_of_an_image_is_not_read() {
    let jpeg = encode(ladder(), ImageFormat::Jpeg);
    let start = jpeg
        .windows(2)
        .position(|pair| pair == [0xFF, 0xDA])
        .unwrap();
    let png = png(ladder());
    for bytes in [&jpeg[..start + 20], &png[..60]] {
        let (_, error) = error_of("start", bytes);
        assert_eq!(error.kind, ErrorKind::Unreadable, "{error}");
        assert!(error.message.contains("cut off or damaged"), "{error}");
    }
}

#[test]
fn png_is_turned_by_the_text_of_imagemagick() {
    let exif = b"MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let digits: String = exif.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("\nexif\n{:8}\n{digits}\n", exif.len());
    let whole = png(flag(32, 16));
    let content = [b"tEXtRaw profile type exif\0", text.as_bytes()].concat();
    let mut chunk = (content.len() as u32 - 4).to_be_bytes().to_vec();
    chunk.extend(&content);
    chunk.extend(crc32fast::hash(&content).to_be_bytes());
    // Behind the header, or behind the pixels.
    for at in [33, whole.len() - 12] {
        let turned = [&whole[..at], &chunk, &whole[at..]].concat();
        let pixels = pixels_of(&turned);
        assert_eq!(pixels.dimensions(), (16, 32));
        assert_eq!(pixels.get_pixel(8, 4).0, RED);
    }
}

#[test]
fn photos_in_folders_that_cannot_be_read_are_listed() {
    assert!(omnidocs::formats::is_known_extension("heic"));
    for extension in [
        "jpe", "jfif", "dib", "btf", "tf8", "j2k", "jp2", "avif", "jxl",
    ] {
        assert!(
            omnidocs::formats::is_known_extension(extension),
            "{extension}"
        );
    }
}
