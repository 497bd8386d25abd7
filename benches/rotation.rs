//! Whether scans are turned upright: `cargo bench --bench rotation -- FOLDER [--tesseract]`.
//!
//! Each page of the PDFs and images in the folder is drawn at each of the four angles, and its print is looked at, as if it
//! were a scan: what PDFs have as text is not used. Pages are taken to lie upright in their files; those whose four answers
//! agree that they don't are named, and counted for themselves: look at them. Tesseract, if it is asked for, is asked where
//! the print says nothing, as a run does, which takes seconds a page.
//!
//! Goals: no wrong turn; of the turned pages with at least a few lines of print, half are turned back, and with Tesseract
//! four fifths.

use std::{env, path::Path, process::ExitCode, sync::atomic::AtomicUsize};

use image::RgbImage;
use omnidocs::{
    cancel::Cancel,
    discover::{Inputs, discover},
    page::{PixelBudget, Rotation},
    prepare::{
        self, DecoderChoice, Raster,
        orientation::{AutoRotate, count_print, print_rotation},
    },
    tesseract::Tesseract,
};

/// Neighbouring letters of a few lines of print.
const FEW_LINES: usize = 150;

#[derive(Default)]
struct Counts {
    pages: usize,
    with_print: usize,
    turned_back: usize,
    wrong: Vec<String>,
    turned_in_file: Vec<String>,
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let mut folders = args.iter().filter(|arg| !arg.starts_with("--"));
    let Some(folder) = folders.next() else {
        println!("rotation: no folder is given: cargo bench --bench rotation -- FOLDER");
        return ExitCode::SUCCESS;
    };
    let with_tesseract = args.iter().any(|arg| arg == "--tesseract");
    let tesseract = with_tesseract.then(|| Tesseract::find("--tesseract", "osd"));
    let tesseract = tesseract.transpose().expect("Tesseract with its osd data");
    let finder = AutoRotate::new(tesseract.map(Tesseract::on_one_core));
    let (mut print, mut both) = (Counts::default(), Counts::default());
    let mut failed = 0;
    for preparation in pages(Path::new(folder)) {
        let preparation = preparation.expect("preparation goes on");
        let name = format!(
            "{} p.{}",
            preparation.page.document.path.display(),
            preparation.page.number
        );
        let Some(page) = preparation.result.ok().and_then(|page| page.pixels) else {
            failed += 1;
            continue;
        };
        print.add(&name, &page, print_rotation);
        if with_tesseract {
            both.add(&name, &page, |page| {
                let found = finder.rotation_of(page, None, &Cancel::default());
                // It gives no turn also where it is not sure.
                Some(found).filter(|found| *found != Rotation::None)
            });
        }
    }
    println!("{failed} pages can't be drawn");
    let mut is_good = print.report("print", 0.5);
    if with_tesseract {
        is_good &= both.report("print and Tesseract", 0.8);
    }
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Counts {
    fn add(
        &mut self,
        name: &str,
        page: &RgbImage,
        rotation: impl Fn(&RgbImage) -> Option<Rotation>,
    ) {
        self.pages += 1;
        let found = Rotation::ALL.map(|turned| (turned, rotation(&turned.turn(page))));
        // How the page lies in its file, by each answer.
        let lies = found
            .iter()
            .filter_map(|(turned, found)| Some(found.as_ref()?.then(*turned)));
        let lies: Vec<Rotation> = lies.collect();
        let is_turned = lies.len() > 2 && lies[0] != Rotation::None;
        if is_turned && lies.iter().all(|other| *other == lies[0]) {
            self.turned_in_file.push(format!("{name}: {:?}", lies[0]));
            return;
        }
        let has_print = count_print(page) >= FEW_LINES;
        self.with_print += usize::from(has_print);
        for (turned, found) in found {
            match found {
                Some(found) if found != turned.reversed() => {
                    self.wrong
                        .push(format!("{name}: turned {turned:?}, found {found:?}"));
                }
                Some(_) if turned != Rotation::None && has_print => self.turned_back += 1,
                _ => {}
            }
        }
    }

    fn report(&self, what: &str, goal: f64) -> bool {
        let turned = 3 * self.with_print;
        let share = self.turned_back as f64 / turned.max(1) as f64;
        println!(
            "{what}: {} pages at four angles, {} wrong turns (none); of {turned} turned pages with print {} are turned back \
             ({:.0} %, at least {:.0} %)",
            self.pages,
            self.wrong.len(),
            self.turned_back,
            100.0 * share,
            100.0 * goal
        );
        for name in &self.wrong {
            println!("  wrong: {name}");
        }
        for name in &self.turned_in_file {
            println!("  turned in its file: {name}");
        }
        self.wrong.is_empty() && share >= goal
    }
}

/// The pages of the documents in a folder, as a model would see them.
fn pages(folder: &Path) -> prepare::Pages {
    let inputs = Inputs {
        paths: vec![folder.to_owned()],
        files_from: None,
        include: None,
        exclude: None,
    };
    let found = discover(&inputs, &AtomicUsize::new(0)).expect("a folder");
    let settings = prepare::Settings::of_pixels(
        Raster {
            dpi: 200.0,
            budget: PixelBudget {
                factor: 32,
                min_pixels: 65_536,
                max_pixels: 2_097_152,
            },
        },
        DecoderChoice::Workers(env!("CARGO_BIN_EXE_omnidocs").into()),
    );
    prepare::pages(found.sources, settings, &Cancel::default()).expect("preparation starts")
}
