//! The image files of a folder of problem files, where there is one: `$OMNIDOCS_CASES/image`, or `../shared/cases/image`
//! beside the project. What each must give is said in that folder's `README.md`, and here.

use std::env;

use omnidocs::page::Warning;

use super::*;

/// What must come of a file's first page.
enum Must {
    /// The page that all of them show.
    Page,
    /// The same, with the warning that the file is damaged.
    Damaged,
    /// A page of this size that is not blank.
    Shows(u32, u32),
    /// An error of this kind whose message has these words.
    Fail(ErrorKind, &'static [&'static str]),
}

/// The grey means of the first eight boxes in the third row, of 12 by 12.
const MEANS: [f64; 8] = [229.0, 217.0, 210.0, 210.0, 212.0, 213.0, 216.0, 216.0];
/// Pages of one bit are a little darker.
const TOLERANCE: f64 = 6.0;

fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases");
    let folder = env::var_os("OMNIDOCS_CASES").map_or_else(beside, PathBuf::from);
    let folder = folder.join("image");
    folder.is_dir().then_some(folder)
}

#[test]
fn problem_images_come_out_as_they_must() {
    use Must::{Damaged, Fail, Page, Shows};
    let Some(folder) = folder() else {
        return;
    };
    let mut files = vec![
        ("bigtiff.tif", Page),
        ("bw_zstd_p1.tif", Page),
        ("ccitt_g3.tif", Page),
        ("cut_with_eoi.jpg", Damaged),
        ("faint_text_blank.png", Shows(0, 0)),
        ("fillorder2_raw.tif", Page),
        ("g4_rowsperstrip_max.tif", Page),
        ("gray12in16_blank.tif", Page),
        ("gray_i8.tif", Page),
        ("jpeg12.jpg", Page),
        ("lossless.jpg", Fail(ErrorKind::Unsupported, &["lossless"])),
        ("noninterleaved_420.jpg", Page),
        ("ojpeg_ycbcr.tif", Page),
        ("orientation_exif_prefix.webp", Page),
        ("palette_8bit_map.tif", Page),
        ("palette_with_extra0.tif", Page),
        ("png_noiend.png", Damaged),
        ("predictor_tag_uncompressed.tif", Page),
        ("tiled_lzw_vips.tif", Page),
        ("tiled_planar.tif", Shows(896, 630)),
        (
            "x.heic",
            Fail(ErrorKind::Unsupported, &["HEIC", "heif-convert"]),
        ),
        ("x.jp2", Page),
        ("ycbcr422_lzw.tif", Page),
    ];
    if env::var_os("OMNIDOCS_LONG_TESTS").is_some() {
        files.extend([
            ("a0_300dpi_1bit.tif", Shows(9933, 14043)),
            ("a0_400dpi_1bit.tif", Shows(13244, 18724)),
            ("esize_600dpi_1bit.tif", Shows(20_000, 20_000)),
        ]);
    }
    for (name, must) in files {
        let preparation = only(&folder.join(name), settings_for(200.0, QWEN));
        let page = match (preparation.result, must) {
            (Err(error), Fail(kind, words)) => {
                assert_eq!(error.kind, kind, "{name}: {error}");
                let says = |word: &&str| error.message.contains(*word);
                assert!(words.iter().all(says), "{name}: {error}");
                continue;
            }
            (Ok(page), must) => (page, must),
            (Err(error), _) => panic!("{name}: {error}"),
        };
        let (page, must) = page;
        assert!(!page.blank, "{name}");
        let is_damaged = page.warnings.contains(&Warning::DamagedFile);
        assert_eq!(is_damaged, matches!(must, Damaged), "{name}");
        match must {
            Page => assert_means(name, &page),
            Shows(width @ 1.., height) => {
                assert_eq!(page.original, Some((width, height)), "{name}");
            }
            _ => {}
        }
    }
}

#[track_caller]
fn assert_means(name: &str, page: &PreparedPage) {
    assert_eq!(page.original, Some((900, 700)), "{name}");
    let pixels = page.pixels.as_deref().unwrap();
    let grey = image::imageops::grayscale(pixels);
    let side = |at: u32, all: u32| at * all / 12;
    for (index, expected) in MEANS.into_iter().enumerate() {
        let column = index as u32;
        let columns = side(column, grey.width())..side(column + 1, grey.width());
        let rows = side(2, grey.height())..side(3, grey.height());
        let count = f64::from((columns.end - columns.start) * (rows.end - rows.start));
        let all = rows.flat_map(|y| columns.clone().map(move |x| (x, y)));
        let sum: f64 = all.map(|(x, y)| f64::from(grey.get_pixel(x, y).0[0])).sum();
        let mean = sum / count;
        assert!(
            (mean - expected).abs() < TOLERANCE,
            "{name}: {mean} in box {column}"
        );
    }
}

#[test]
fn every_page_of_problem_tiffs_has_its_record() {
    let Some(folder) = folder() else {
        return;
    };
    let of = |name: &str| {
        let pages = prepare_all(&[folder.join(name)], settings()).into_iter();
        pages.map(|page| page.result.is_ok()).collect::<Vec<_>>()
    };
    assert_eq!(of("pages_after_a_bad_one.tif"), [true, false, true, true]);
    assert_eq!(of("thumbnail_as_page_raw.tif"), [true]);
    let bmp = only(&folder.join("rle8_short_lines.bmp"), settings());
    assert!(bmp.result.is_ok());
}
