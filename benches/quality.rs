//! Error rates of a model on drawn pages:
//! `cargo bench --bench quality -- [--model FOLDER] [--pages N] [--sizes 640x448,..] [--dtypes f32,q8_0,q4_k]`.
//!
//! Pages of each size are drawn from fixed seeds, with words that are held out of the reader's training and layouts that
//! it does not draw. The program reads them in four forms:
//!
//! - `pdf`: born-digital, in the eight faces that the reader is trained in (skipped unless all are installed);
//! - `image`: the same pixels as a PNG;
//! - `scan`: rotated by up to 1°, blurred, noisy, and compressed as a JPEG before it became a PNG;
//! - `other`: PNGs of other pages, in two typefaces that are not in the training data, PDFium's Helvetica and Times.
//!
//! Sizes beyond the model's own limits are skipped, since it would see them scaled down. It prints tables in Markdown:
//! by form and by print size in the first dtype, and by dtype over all forms. Columns: the share of wrong characters and words
//! of the Markdown, white space normalised; of wrong printed characters, without Markdown's marks; the F1 of heading lines and
//! of table cells. 95 % intervals are bootstrapped over pages. Two more tables tell how well the blocks of each type are read,
//! and how well confidence finds pages with errors. Tesseract reads the same pages if it is installed.

#[path = "quality/blocks.rs"]
mod blocks;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "quality/faces.rs"]
mod faces;
#[path = "quality/pages.rs"]
mod pages;
#[path = "quality/scores.rs"]
mod scores;
#[path = "quality/sheet.rs"]
mod sheet;
#[path = "quality/stack.rs"]
mod stack;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
    process::Command,
    time::Instant,
};

use clap::Parser;
use common::{Ran, Room};
use image::RgbImage;
use omnidocs::{models::pixel_budget, record::Confidence};
use pages::Page;
use scores::{Share, differences, separation, with_interval};
use stack::Stack;

const SIZES: [(u32, u32); 5] = [(160, 32), (256, 64), (320, 128), (448, 224), (640, 448)];
const FORMS: [&str; 4] = ["pdf", "image", "scan", "other"];

/// Sizes of print that are told apart, in pixels, from the smallest that is drawn to beyond the largest.
const PRINT: [f64; 5] = [15.0, 17.0, 19.0, 22.0, 28.0];

/// Limits of the worst stretch's log-probability, one of which a warning might be given below.
const LIMITS: [f64; 3] = [-0.01, -0.02, -0.05];

const TESSERACT: &str = "tesseract";

type Score = fn(&str, &str) -> Share;

#[derive(Parser)]
struct Options {
    /// Folder of a model
    #[arg(long, default_value = "examples/reader")]
    model: PathBuf,
    /// Pages of each size and form; of strips, which hold few words, four times as many
    #[arg(long, default_value_t = 12)]
    pages: usize,
    /// Sizes of the pages, as WIDTHxHEIGHT; all when left out
    #[arg(long, value_delimiter = ',', value_parser = size)]
    sizes: Vec<(u32, u32)>,
    /// Number types of the model
    #[arg(long, value_delimiter = ',', default_value = "f32,q8_0,q4_k")]
    dtypes: Vec<String>,
    /// Number of worst pages of each size and form whose truth and answer are printed
    #[arg(long, default_value_t = 0)]
    worst: usize,
    /// Cargo gives this to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// A reader's name, and its text by file and page, with how sure it was.
struct Reading {
    engine: String,
    answers: HashMap<(String, u32), (String, Option<Confidence>)>,
}

/// The pages of one size: those in trained faces, if there are any, and those in others.
struct Sized {
    size: (u32, u32),
    trained: Vec<Page>,
    others: Vec<Page>,
}

fn main() {
    let options = Options::parse();
    let model = fs::canonicalize(&options.model).expect("--model is the folder of a model");
    let limit = pixel_budget(&model).expect("the model's limits");
    let room = Room::new();
    let mut sizes = Vec::new();
    for (width, height) in SIZES {
        if !options.sizes.is_empty() && !options.sizes.contains(&(width, height)) {
            continue;
        }
        let (min, max) = (limit.min_pixels, limit.max_pixels);
        if (min..=max).contains(&u64::from(width * height)) {
            sizes.push(draw(&room, (width, height), options.pages));
        } else {
            println!("{width}x{height} is left out: the model takes {min} to {max} pixels");
        }
    }
    assert!(!sizes.is_empty(), "the model takes none of the sizes");
    if sizes[0].trained.is_empty() {
        println!("The faces that the reader is trained in are not all installed.");
    }
    let mut readings: Vec<Reading> = Vec::new();
    for dtype in &options.dtypes {
        let folder = model.to_str().expect("a path in UTF-8");
        readings.push(read(&room, dtype, &["--dtype", dtype, "--model", folder]));
    }
    let yardstick = Command::new(TESSERACT).arg("--version").output().is_ok();
    let yardstick = yardstick.then(|| read(&room, TESSERACT, &["--engine", TESSERACT]));
    worst(&sizes, &readings[0], options.worst);
    by_form(&sizes, &readings[0], yardstick.as_ref());
    by_print(&sizes, &readings[0]);
    by_dtype(&sizes, &readings);
    by_block(&sizes, &readings[0]);
    by_confidence(&sizes, &readings);
}

/// The entry of [`SIZES`] with this name.
fn size(name: &str) -> Result<(u32, u32), String> {
    let mut sizes = SIZES.into_iter();
    let named = sizes.find(|(width, height)| format!("{width}x{height}") == name);
    named.ok_or_else(|| format!("it is none of {SIZES:?}"))
}

/// The pages of one size, in the room's folder `pages`.
fn draw(room: &Room, size: (u32, u32), count: usize) -> Sized {
    let path = |form, number| room.path("pages").join(file(size, form, number));
    let save = |form, number, image: &RgbImage| {
        let saved = image.save(path(form, number));
        saved.expect("an image is written");
    };
    fs::create_dir_all(room.path("pages")).expect("a folder");
    let others = Stack::new(size, count, faces::others());
    // The program is not to read this PDF.
    let images = others.write_pdf(&room.path("others.pdf"));
    for (number, image) in images.iter().enumerate() {
        save("other", number, image);
    }
    let faces = faces::trained();
    let mut trained = Stack::new(size, if faces.is_empty() { 0 } else { count }, faces);
    if !trained.pages.is_empty() {
        let images = trained.write_pdf(&path("pdf", 0));
        for (number, image) in images.iter().enumerate() {
            save("image", number, image);
            save("scan", number, &trained.scanned(image));
        }
    }
    Sized {
        size,
        trained: trained.pages,
        others: others.pages,
    }
}

/// Name of the file with page `number` (from 0); a PDF has all of them.
fn file((width, height): (u32, u32), form: &str, number: usize) -> String {
    match form {
        "pdf" => format!("{width}x{height}.pdf"),
        _ => format!("{width}x{height}-{form}-{number:03}.png"),
    }
}

/// Reads all pages; one that fails has an empty answer.
fn read(room: &Room, engine: &str, args: &[&str]) -> Reading {
    // A point of a PDF is a pixel of the images.
    let mut command = room.omnidocs("extract pages -q --dpi 72 --batch-size 4");
    let begin = Instant::now();
    let ran = Ran::of(command.args(args));
    assert!(matches!(ran.code, Some(0 | 3)), "{}", ran.stderr);
    let records = ran.records();
    let failed = records.iter().filter(|record| record.error.is_some());
    println!(
        "{engine}: {} pages in {:.0} s, {} failed",
        records.len(),
        begin.elapsed().as_secs_f64(),
        failed.count()
    );
    let answers = records.into_iter().map(|record| {
        let key = (record.filename, record.page);
        (key, (record.content.unwrap_or_default(), record.confidence))
    });
    Reading {
        engine: engine.to_owned(),
        answers: answers.collect(),
    }
}

/// Truth and answer of the `count` pages of each size and form with the most wrong characters.
fn worst(sizes: &[Sized], reading: &Reading, count: usize) {
    for sized in sizes {
        for form in FORMS {
            let shares = sized.shares(form, scores::characters, reading);
            let mut order: Vec<usize> = (0..shares.len()).collect();
            order.sort_by(|&a, &b| shares[b].part.total_cmp(&shares[a].part));
            for number in order.into_iter().take(count) {
                let Share { part, whole } = shares[number];
                let (truth, answer) = sized.page(form, number, reading);
                let name = file(sized.size, form, number);
                println!(
                    "\n--- {name}, page {number}: {part} of {whole} wrong\n{truth}\n--- read as\n{answer}"
                );
            }
        }
    }
}

/// One dtype's scores by size and form, and Tesseract's, which writes no Markdown, of what is printed.
fn by_form(sizes: &[Sized], reading: &Reading, yardstick: Option<&Reading>) {
    let mut rows = Vec::new();
    for sized in sizes {
        for form in FORMS {
            let figure = |score| percent(&sized.shares(form, score, reading));
            let tesseract = yardstick.map(|other| sized.shares(form, scores::printed, other));
            rows.push(vec![
                sized.name(),
                form.to_owned(),
                figure(scores::characters),
                figure(scores::words),
                figure(scores::printed),
                percent(&tesseract.unwrap_or_default()),
                figure(scores::headings),
                figure(scores::cells),
            ]);
        }
    }
    println!(
        "\n{}, percent, in brackets 95 %. Wrong: characters, words, printed characters. Right: headings, cells.\n",
        reading.engine
    );
    let head = [
        "pages",
        "form",
        "characters",
        "words",
        "printed",
        "Tesseract's",
        "headings",
        "cells",
    ];
    print(head, &rows);
}

/// One dtype's share of wrong characters by size of print and form, on pages of all sizes.
fn by_print(sizes: &[Sized], reading: &Reading) {
    let scored = FORMS.map(|form| {
        let pages = sizes.iter().flat_map(|sized| {
            let prints = sized.pages(form).iter().map(|page| page.print);
            prints.zip(sized.shares(form, scores::characters, reading))
        });
        pages.collect::<Vec<_>>()
    });
    let mut rows = Vec::new();
    for band in PRINT.windows(2) {
        let mut row = vec![format!("{}–{}", band[0], band[1])];
        for pages in &scored {
            let within = pages
                .iter()
                .filter(|(print, _)| (band[0]..band[1]).contains(print));
            row.push(percent(
                &within.map(|&(_, share)| share).collect::<Vec<_>>(),
            ));
        }
        rows.push(row);
    }
    println!("\nWrong characters, percent, by size of the print in pixels.\n");
    print(["print", FORMS[0], FORMS[1], FORMS[2], FORMS[3]], &rows);
}

/// The scores of each dtype by size, over all forms, and how many more characters are wrong than in the first one.
fn by_dtype(sizes: &[Sized], readings: &[Reading]) {
    let mut rows = Vec::new();
    for sized in sizes {
        let all = |score: Score, reading| {
            let shares = FORMS.map(|form| sized.shares(form, score, reading));
            shares.concat()
        };
        for reading in readings {
            let first = all(scores::characters, &readings[0]);
            let more = differences(&first, &all(scores::characters, reading));
            let is_first = reading.engine == readings[0].engine;
            rows.push(vec![
                sized.name(),
                reading.engine.clone(),
                percent(&all(scores::characters, reading)),
                percent(&all(scores::words, reading)),
                percent(&all(scores::headings, reading)),
                percent(&all(scores::cells, reading)),
                if is_first {
                    "-".to_owned()
                } else {
                    points(&more)
                },
            ]);
        }
    }
    println!("\nAll forms together; last, how many points more of the characters are wrong.\n");
    let more = format!("more than {}", readings[0].engine);
    let head = [
        "pages",
        "dtype",
        "characters",
        "words",
        "headings",
        "cells",
        &more,
    ];
    print(head, &rows);
}

/// How well the blocks of each type are read, in all forms.
fn by_block(sizes: &[Sized], reading: &Reading) {
    let mut by_type = BTreeMap::new();
    for (sized, form) in sizes
        .iter()
        .flat_map(|sized| FORMS.map(|form| (sized, form)))
    {
        for number in 0..sized.pages(form).len() {
            let (truth, answer) = sized.page(form, number, reading);
            blocks::add(&mut by_type, truth, answer);
        }
    }
    let rows: Vec<_> = by_type
        .into_iter()
        .map(|(kind, found)| {
            let count = found.typed.len().to_string();
            vec![kind, count, percent(&found.typed), percent(&found.wrong)]
        })
        .collect();
    println!(
        "\nBlocks by type, percent: found as a block of their type, and their wrong characters.\n"
    );
    print(["type", "blocks", "found", "wrong"], &rows);
}

/// How well confidence tells pages with wrong characters from those without, and what share of each the warning names.
fn by_confidence(sizes: &[Sized], readings: &[Reading]) {
    let mut rows = Vec::new();
    for reading in readings {
        let mut pages = Vec::new();
        for (sized, form) in sizes
            .iter()
            .flat_map(|sized| FORMS.map(|form| (sized, form)))
        {
            let shares = sized.shares(form, scores::characters, reading);
            for (number, share) in shares.into_iter().enumerate() {
                if let (_, Some(confidence)) = sized.answer(form, number, reading) {
                    pages.push((*confidence, share.part > 0.0));
                }
            }
        }
        let told = |number: fn(&Confidence) -> f64| {
            let pages: Vec<_> = pages
                .iter()
                .map(|(confidence, wrong)| (number(confidence), *wrong))
                .collect();
            separation(&pages).map_or("-".to_owned(), |share| format!("{share:.3}"))
        };
        let below = |limit: f64, wrong: bool| {
            let kind = pages.iter().filter(|(_, is_wrong)| *is_wrong == wrong);
            let named = kind
                .clone()
                .filter(|(confidence, _)| confidence.worst < limit);
            format!("{} of {}", named.count(), kind.count())
        };
        let mut row = vec![
            reading.engine.clone(),
            told(|confidence| confidence.mean),
            told(|confidence| confidence.worst),
        ];
        for limit in LIMITS {
            row.push(format!("{}, {}", below(limit, true), below(limit, false)));
        }
        rows.push(row);
    }
    println!(
        "\nPages with and without wrong characters told apart by confidence (1: always, 0.5: by chance), then how many with and \
         without have a worst stretch below a limit.\n"
    );
    let limits = LIMITS.map(|limit| format!("below {limit}"));
    let head = ["dtype", "mean", "worst", &limits[0], &limits[1], &limits[2]];
    print(head, &rows);
}

impl Sized {
    fn name(&self) -> String {
        let (width, height) = self.size;
        format!("{width}×{height}")
    }

    fn pages(&self, form: &str) -> &[Page] {
        if form == "other" {
            &self.others
        } else {
            &self.trained
        }
    }

    /// What is on a page, as Markdown, and what was read.
    fn page<'a>(&'a self, form: &str, number: usize, reading: &'a Reading) -> (&'a str, &'a str) {
        let (answer, _) = self.answer(form, number, reading);
        (&self.pages(form)[number].markdown, answer)
    }

    fn answer<'a>(
        &self,
        form: &str,
        number: usize,
        reading: &'a Reading,
    ) -> &'a (String, Option<Confidence>) {
        let in_file = if form == "pdf" { number as u32 + 1 } else { 1 };
        &reading.answers[&(file(self.size, form, number), in_file)]
    }

    /// The score of each page in a form.
    fn shares(&self, form: &str, score: Score, reading: &Reading) -> Vec<Share> {
        let pages = 0..self.pages(form).len();
        let shares = pages.map(|number| {
            let (truth, answer) = self.page(form, number, reading);
            score(truth, answer)
        });
        shares.collect()
    }
}

/// Where no two pages differ, as when nothing is wrong, drawing from them tells nothing of the interval.
fn percent(shares: &[Share]) -> String {
    let Some((share, interval)) = with_interval(shares) else {
        return "-".to_owned();
    };
    let [share, low, high] = [share, interval.start, interval.end].map(|share| {
        let share = 100.0 * share;
        let digits = usize::from(share < 9.95);
        format!("{share:.digits$}")
    });
    if interval.is_empty() {
        return share;
    }
    format!("{share} ({low}–{high})")
}

/// As [`percent`], of differences.
fn points(shares: &[Share]) -> String {
    let Some((share, interval)) = with_interval(shares) else {
        return "-".to_owned();
    };
    let [share, low, high] = [share, interval.start, interval.end].map(|share| 100.0 * share);
    format!("{share:+.1} ({low:+.1} to {high:+.1})")
}

/// A table in Markdown, its columns aligned.
fn print<const N: usize>(head: [&str; N], rows: &[Vec<String>]) {
    let head = head.map(str::to_owned).to_vec();
    let wide = |column: usize| {
        let cells = rows
            .iter()
            .chain([&head])
            .map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(wide).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        println!("| {} |", cells.join(" | "));
    };
    line(&head);
    line(
        &widths
            .iter()
            .map(|&width| "-".repeat(width))
            .collect::<Vec<_>>(),
    );
    for row in rows {
        line(row);
    }
}
