use super::*;

const BUDGET: PixelBudget = PixelBudget {
    factor: 32,
    min_pixels: 65_536,
    max_pixels: 500_000,
};

fn cut(page: &RgbImage) -> Vec<Part> {
    parts(page, page.width().max(page.height()), &BUDGET)
}

fn page(width: u32, height: u32) -> RgbImage {
    RgbImage::from_pixel(width, height, [255; 3].into())
}

fn fill(page: &mut RgbImage, [left, top, right, bottom]: [u32; 4]) {
    for (x, y) in (left..right).flat_map(|x| (top..bottom).map(move |y| (x, y))) {
        page.put_pixel(x, y, [20; 3].into());
    }
}

/// Lines of letters of 8 pixels from column to column, one every 24 pixels.
fn print(page: &mut RgbImage, [left, top, right, bottom]: [u32; 4]) {
    for line in (top..bottom - 8).step_by(24) {
        for x in (left..right - 6).step_by(8) {
            fill(page, [x, line, x + 6, line + 8]);
        }
    }
}

/// All of a page is in a part, and no part is larger than the model takes.
fn check(page: &RgbImage, parts: &[Part]) {
    let (width, height) = page.dimensions();
    let mut seen = vec![false; (width * height) as usize];
    for part in parts {
        let [left, top, right, bottom] = part.area;
        let (across, down) = part.size();
        assert!(u64::from(across * down) <= BUDGET.max_pixels, "{part:?}");
        assert!(down <= 4 * across, "{part:?}");
        for y in top..bottom {
            seen[(y * width + left) as usize..(y * width + right) as usize].fill(true);
        }
    }
    assert!(seen.into_iter().all(|seen| seen));
}

#[test]
fn pages_that_the_model_takes_are_not_cut() {
    let mut whole = page(600, 800);
    print(&mut whole, [40, 40, 560, 760]);
    assert_eq!(cut(&whole), []);
    assert_eq!(cut(&page(1, 4)), []);
    assert_eq!(cut(&page(60, 900)), [], "a strip");
}

#[test]
fn receipt_is_cut_between_lines() {
    let mut receipt = page(300, 4000);
    // Names on the left, prices on the right.
    print(&mut receipt, [20, 20, 180, 3980]);
    print(&mut receipt, [240, 20, 280, 3980]);
    let parts = cut(&receipt);
    check(&receipt, &parts);
    assert_eq!(parts.len(), 5);
    for part in &parts[1..] {
        assert_eq!(part.joint, Joint::Line);
        let in_line = (part.area[1] - 20) % 24;
        assert!((8..24).contains(&in_line), "{part:?} cuts a line");
    }
}

#[test]
fn columns_of_running_text_are_read_one_after_the_other() {
    let mut newspaper = page(1200, 1600);
    print(&mut newspaper, [40, 40, 1160, 80]);
    print(&mut newspaper, [40, 160, 580, 1560]);
    print(&mut newspaper, [620, 172, 1160, 1560]);
    let parts = cut(&newspaper);
    check(&newspaper, &parts);
    let lefts: Vec<_> = parts.iter().map(|part| part.area[0]).collect();
    let first_right = lefts.iter().position(|&left| left > 500).unwrap();
    assert!(first_right > 1, "{parts:?}");
    assert!(lefts[..first_right].iter().all(|&left| left == 0));
    assert!(
        lefts[first_right..]
            .iter()
            .all(|&left| left == lefts[first_right])
    );
}

#[test]
fn tables_are_not_cut_between_their_columns() {
    let mut table = page(1200, 1600);
    for left in [40, 340, 640, 940] {
        print(&mut table, [left, 40, left + 90, 1560]);
        fill(&mut table, [left - 20, 20, left - 18, 1580]);
    }
    let parts = cut(&table);
    check(&table, &parts);
    assert!(parts.iter().all(|part| part.size().0 == 1200), "{parts:?}");
    assert!(parts[1..].iter().all(|part| part.joint == Joint::Line));
}

#[test]
fn parts_overlap_where_there_is_no_place_to_cut() {
    let mut picture = page(800, 1600);
    for x in (0..800_u32).step_by(3) {
        for y in 0..1600 {
            if (x / 3 + y / 40) % 2 == 0 {
                picture.put_pixel(x, y, [20; 3].into());
            }
        }
    }
    let parts = cut(&picture);
    check(&picture, &parts);
    assert!(parts.len() > 2, "{parts:?}");
    for pair in parts.windows(2) {
        let shared = pair[0].area[3] - pair[1].area[1];
        assert!(shared > 20, "{pair:?}");
        assert_eq!(pair[1].joint, Joint::Overlap(shared));
    }
}
