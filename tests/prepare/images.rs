//! Image files of every format as upright RGB on white.

use super::*;

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
fn photos_are_rotated_by_exif() {
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
fn images_are_rotated_by_xmp_where_exif_does_not_say() {
    let (as_attribute, as_element) = (
        "tiff:Orientation=\"6\"",
        "<tiff:Orientation>6</tiff:Orientation>",
    );
    for property in [as_attribute, as_element] {
        let xmp = format!("<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">{property}</x:xmpmeta>");
        let image = flag(32, 16);
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 95)
            .write_image(&image, 32, 16, ExtendedColorType::Rgb8)
            .unwrap();
        let segment = [b"http://ns.adobe.com/xap/1.0/\0", xmp.as_bytes()].concat();
        let length = (segment.len() as u16 + 2).to_be_bytes();
        let jpeg = [&jpeg[..2], &[0xFF, 0xE1], &length, &segment, &jpeg[2..]].concat();
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, 32, 16);
        encoder.set_color(png::ColorType::Rgb);
        encoder
            .add_itxt_chunk("XML:com.adobe.xmp".to_owned(), xmp)
            .unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&image).unwrap();
        writer.finish().unwrap();
        for bytes in [jpeg, png] {
            let pixels = pixels_of(&bytes);
            assert_eq!(pixels.dimensions(), (16, 32), "{property}");
            assert_near(*pixels.get_pixel(8, 4), RED, 6);
        }
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
    assert_eq!(pixels[0], RgbImage::from_pixel(4, 2, Rgb(RED)).into());
    assert_eq!(pixels[1], RgbImage::from_pixel(2, 2, Rgb([128; 3])).into());
    assert_eq!(pixels[2], RgbImage::from_pixel(1, 3, Rgb(WHITE)).into());
}

#[test]
fn scanner_tiffs_are_read() {
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
