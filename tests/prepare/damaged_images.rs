//! Images as odd programs write them: read as they are meant, or refused by name, and never garbage.

use image::codecs::webp::WebPEncoder;

use super::*;

/// An EXIF block that says that the camera was turned by 90°: one entry, Orientation (0x112), short, 1 value: 6.
const TURNED: &[u8] = b"MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

#[test]
fn webp_exif_with_jpeg_prefix_is_applied() {
    let prefixed = [b"Exif\0\0", TURNED].concat();
    for exif in [TURNED.to_vec(), prefixed] {
        let mut webp = Vec::new();
        let mut encoder = WebPEncoder::new_lossless(&mut webp);
        encoder.set_exif_metadata(exif).unwrap();
        encoder
            .write_image(&flag(32, 16), 32, 16, ExtendedColorType::Rgb8)
            .unwrap();
        let pixels = pixels_of(&webp);
        assert_eq!(pixels.dimensions(), (16, 32));
        assert_eq!(pixels.get_pixel(8, 4).0, RED);
    }
}

/// A BMP of 4 × 3 pixels with a palette of green, red and black.
fn run_length_encoded_bmp(compression: u8, bits: u8, runs: &[u8]) -> Vec<u8> {
    let palette = [[0, 255, 0, 0], [0, 0, 255, 0], [0; 4]].concat();
    let start = 14 + 40 + palette.len() as u32;
    let mut bmp = b"BM\0\0\0\0\0\0\0\0".to_vec();
    bmp.extend(start.to_le_bytes());
    for value in [40, 4, 3] {
        bmp.extend(u32::to_le_bytes(value));
    }
    bmp.extend([1, 0, bits, 0, compression, 0, 0, 0]);
    for value in [runs.len() as u32, 0, 0, 3, 0] {
        bmp.extend(value.to_le_bytes());
    }
    bmp.extend(palette);
    bmp.extend(runs);
    bmp
}

#[test]
fn skipped_rle_bmp_pixels_have_the_first_colour() {
    // From the bottom: two red ones and the end of the line, a line of black, a jump over two pixels and the end.
    let eight = [2, 1, 0, 0, 4, 2, 0, 0, 0, 2, 2, 0, 1, 1, 0, 1];
    let four = [2, 0x11, 0, 0, 4, 0x22, 0, 0, 0, 2, 2, 0, 1, 0x11, 0, 1];
    for bmp in [
        run_length_encoded_bmp(1, 8, &eight),
        run_length_encoded_bmp(2, 4, &four),
    ] {
        let pixels = pixels_of(&bmp);
        let row = |y| [0, 1, 2, 3].map(|x| pixels.get_pixel(x, y).0);
        assert_eq!(row(2), [RED, RED, GREEN, GREEN]);
        assert_eq!(row(1), [[0; 3]; 4]);
        assert_eq!(row(0), [GREEN, GREEN, RED, GREEN]);
    }
}

#[test]
fn kinds_of_jpeg_that_cannot_be_decoded_are_unsupported_by_name() {
    let jpeg = encode(flag(32, 16), ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xFF, 0xC0])
        .unwrap();
    for (marker, precision, name) in [
        (0xC3, 8, "lossless"),
        (0xC9, 8, "arithmetic"),
        (0xCA, 8, "arithmetic"),
        (0xC5, 8, "hierarchical"),
        (0xF7, 8, "JPEG-LS"),
    ] {
        let mut other = jpeg.clone();
        (other[frame + 1], other[frame + 4]) = (marker, precision);
        let (page, error) = error_of("a.jpg", &other);
        assert_eq!((page, error.kind), (1, ErrorKind::Unsupported), "{error}");
        assert!(error.message.contains(name), "{error}");
    }
}

const SHORT: u16 = 3;
const LONG: u16 = 4;

/// A page of a TIFF file: tags beside those of its strip, and the strip.
type TiffPage = (Vec<(u16, u16, Vec<u32>)>, Vec<u8>);

/// A grey page of 2 × 2 pixels of this value.
fn grey(value: u8) -> TiffPage {
    (tags(2, 2, &[8], 1), vec![value; 4])
}

/// Width, height, bits per sample, no compression, colour model, samples per pixel.
fn tags(width: u32, height: u32, bits: &[u32], photometric: u32) -> Vec<(u16, u16, Vec<u32>)> {
    vec![
        (256, LONG, vec![width]),
        (257, LONG, vec![height]),
        (258, SHORT, bits.to_vec()),
        (259, SHORT, vec![1]),
        (262, SHORT, vec![photometric]),
        (277, SHORT, vec![bits.len() as u32]),
    ]
}

fn with(page: TiffPage, tag: u16, values: &[u32]) -> TiffPage {
    let (mut tags, strip) = page;
    tags.retain(|(other, ..)| *other != tag);
    if !values.is_empty() {
        tags.push((tag, SHORT, values.to_vec()));
    }
    (tags, strip)
}

/// A TIFF file of these pages; says also where each one's directory is, and where the offset of the next one stands.
fn tiff_of(pages: &[TiffPage], big_endian: bool) -> (Vec<u8>, Vec<[usize; 2]>) {
    let short = |value: u32| {
        let value = value as u16;
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let long = |value: u32| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let mut file = if big_endian {
        b"MM\0*".to_vec()
    } else {
        b"II*\0".to_vec()
    };
    file.extend([0; 4]);
    let (mut link, mut places) = (4, Vec::new());
    for (tags, strip) in pages {
        let mut tags = tags.clone();
        tags.push((273, LONG, vec![file.len() as u32]));
        tags.push((279, LONG, vec![strip.len() as u32]));
        tags.sort();
        file.extend(strip);
        let mut entries = Vec::new();
        for (tag, kind, values) in tags {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|&value| match kind {
                    SHORT => short(value).to_vec(),
                    _ => long(value).to_vec(),
                })
                .collect();
            entries.extend(short(tag.into()));
            entries.extend(short(kind.into()));
            entries.extend(long(values.len() as u32));
            if bytes.len() > 4 {
                entries.extend(long(file.len() as u32));
                file.extend(bytes);
            } else {
                entries.extend(&bytes);
                entries.resize(entries.len() + 4 - bytes.len(), 0);
            }
        }
        let directory = file.len();
        file[link..link + 4].copy_from_slice(&long(directory as u32));
        file.extend(short((entries.len() / 12) as u32));
        file.extend(entries);
        link = file.len();
        file.extend([0; 4]);
        places.push([directory, link]);
    }
    (file, places)
}

/// What becomes of each page: the grey of its first pixel, or the kind of its error.
fn greys(file_bytes: &[u8]) -> Vec<(u32, Result<u8, ErrorKind>)> {
    let (_folder, path) = file("a.tif", file_bytes);
    let pages = prepare_all(&[path], settings()).into_iter();
    pages
        .map(|page| {
            let grey = page
                .result
                .map(|page| page.pixels.unwrap().get_pixel(0, 0).0[0]);
            (page.page.number, grey.map_err(|error| error.kind))
        })
        .collect()
}

#[test]
fn broken_tiff_page_does_not_hide_the_others() {
    for big_endian in [false, true] {
        for bad in 0..4_usize {
            // Without its colour model a page can't be read.
            let mut pages = [10, 20, 30, 40].map(grey);
            pages[bad] = with(pages[bad].clone(), 262, &[]);
            let read = greys(&tiff_of(&pages, big_endian).0);
            let expected: Vec<_> = (1..=4_u32)
                .map(|page| match page as usize - 1 {
                    index if index == bad => (page, Err(ErrorKind::Unsupported)),
                    _ => (page, Ok(page as u8 * 10)),
                })
                .collect();
            assert_eq!(read, expected);
        }
    }
}

#[test]
fn broken_tiff_directory_ends_the_pages() {
    let (tiff, places) = tiff_of(&[10, 20].map(grey), false);
    let linked = |to: u32| {
        let mut tiff = tiff.clone();
        let link = places[1][1];
        tiff[link..link + 4].copy_from_slice(&to.to_le_bytes());
        greys(&tiff)
    };
    let both = [(1, Ok(10)), (2, Ok(20))];
    assert_eq!(linked(0), both);
    assert_eq!(linked(places[0][0] as u32), both, "back to the first");
    let lost = (3, Err(ErrorKind::Unreadable));
    assert_eq!(linked(1 << 30), [both[0], both[1], lost]);
}

#[test]
fn thumbnails_and_masks_in_a_tiff_are_no_pages() {
    let reduced = with(grey(20), 254, &[1]);
    let mask = with(grey(30), 254, &[4]);
    let page = with(grey(40), 254, &[2]);
    let (tiff, _) = tiff_of(&[grey(10), reduced.clone(), mask, page], false);
    assert_eq!(greys(&tiff), [(1, Ok(10)), (2, Ok(40))]);
    // Where there is nothing else, it is better than nothing.
    assert_eq!(greys(&tiff_of(&[reduced], false).0), [(1, Ok(20))]);
}

#[test]
fn a_predictor_tag_on_data_that_has_none_is_ignored() {
    let strip = [RED, GREEN, BLUE].concat();
    let page = with((tags(3, 1, &[8; 3], 2), strip), 317, &[2]);
    let pixels = pixels_of(&tiff_of(&[page], false).0);
    assert_eq!(
        [0, 1, 2].map(|x| pixels.get_pixel(x, 0).0),
        [RED, GREEN, BLUE]
    );
}

#[test]
fn tiff_fill_order_is_corrected() {
    for big_endian in [false, true] {
        let page = (tags(8, 2, &[1], 1), vec![0b0000_0011, 0b1000_0000]);
        let page = with(page, 266, &[2]);
        let pixels = pixels_of(&tiff_of(&[page], big_endian).0);
        let white: Vec<_> = (0..16)
            .filter(|&at| pixels.get_pixel(at % 8, at / 8).0 == WHITE)
            .collect();
        assert_eq!(white, [0, 1, 15]);
    }
}

#[test]
fn tiff_colour_tables_with_extra_samples_are_read() {
    // Colours 0, 1 and 2: red, green, blue. The table is sorted by channel.
    let table = |scale: u32| {
        let mut table = vec![0; 3 * 256];
        for color in 0..3 {
            table[256 * color + color] = 255 * scale;
        }
        table
    };
    for (scale, bits, strip) in [
        (257, &[8][..], vec![0, 1, 2]),
        (1, &[8], vec![0, 1, 2]),
        (257, &[8, 8], vec![0, 7, 1, 8, 2, 9]),
    ] {
        let mut page = with((tags(3, 1, bits, 3), strip), 320, &table(scale));
        if bits.len() > 1 {
            page = with(page, 338, &[0]);
        }
        let pixels = pixels_of(&tiff_of(&[page], false).0);
        let colors = [0, 1, 2].map(|x| pixels.get_pixel(x, 0).0);
        assert_eq!(colors, [RED, GREEN, BLUE], "{scale}, {bits:?}");
    }
}

#[test]
fn unsupported_formats_name_a_converter() {
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic and so on";
    let (page, error) = error_of("photo.heic", heic);
    assert_eq!(
        (page, error.kind, error.stage),
        (0, ErrorKind::Unsupported, Stage::Open)
    );
    assert!(error.message.contains("HEIC"), "{error}");
    assert!(error.message.contains("heif-convert"), "{error}");
}

#[test]
fn a_pdf_header_without_its_dash_or_behind_junk_is_read() {
    let pdf = pdf(&[("/MediaBox [0 0 100 80]", "")], &[]);
    let mut spaced = pdf.clone();
    spaced[4] = b' ';
    let junk = [&b"\0\xFF junk \x89"[..], &pdf].concat();
    for bytes in [spaced, junk] {
        assert_eq!(pixels_of(&bytes).dimensions(), (100, 80));
    }
}
