//! The sizes at which pages are seen, and the resampling to them.

use image::GrayImage;

use super::*;

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

    #[test]
    fn no_page_has_more_pixels_than_max_resized_pixels(height in 1_u32..20_000, width in 1_u32..20_000, factor in 1_u32..64, min in 0_u64..100_000, max in 0_u64..5_000_000) {
        prop_assume!(height.max(width) <= 200 * height.min(width));
        let budget = PixelBudget { factor, min_pixels: min, max_pixels: max };
        let (h, w) = smart_resize(height, width, &budget).unwrap();
        prop_assert!(u64::from(h) * u64::from(w) <= max_resized_pixels(&budget));
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
        only(&path, settings_for(72.0, budget))
            .result
            .unwrap()
            .pixels,
        Some(noise.into())
    );
}

#[test]
fn empty_page_is_blank() {
    let (_folder, path) = file("a.pdf", &pdf(&[("/MediaBox [0 0 600 800]", "")], &[]));
    assert!(only(&path, settings()).result.unwrap().blank);
    assert!(page_of(&png(RgbImage::from_pixel(600, 800, Rgb(WHITE)))).blank);
    let written = pdf(&[("/MediaBox [0 0 600 800]", &text_page("7"))], &[]);
    assert!(!page_of(&written).blank);
}

#[test]
fn strongly_reduced_page_is_not_blank() {
    let (_folder, path) = file("a.png", &png(RgbImage::from_pixel(3000, 4000, Rgb(WHITE))));
    let small = PixelBudget {
        factor: 32,
        min_pixels: 1,
        max_pixels: 16_384,
    };
    let page = only(&path, settings_for(72.0, small));
    assert!(!page.result.unwrap().blank);
}

#[test]
fn faint_print_that_fades_at_the_models_size_is_not_blank() {
    let paper = 200;
    let mut page = GrayImage::from_pixel(1200, 1600, Luma([paper]));
    for line in (400..1200).step_by(80) {
        for x in 300..900 {
            for y in [line, line + 1] {
                page.put_pixel(x, y, Luma([paper - 16]));
            }
        }
    }
    let small = PixelBudget {
        max_pixels: 150_000,
        ..QWEN
    };
    let blank = |page: &GrayImage| {
        let (_folder, path) = file("page.png", &encode(page.clone(), ImageFormat::Png));
        let preparation = only(&path, settings_for(200.0, small));
        preparation.result.unwrap().blank
    };
    assert!(!blank(&page));
    assert!(blank(&GrayImage::from_pixel(1200, 1600, Luma([paper]))));
}
