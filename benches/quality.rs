//! How well a model reads: `cargo bench --bench quality -- [--model FOLDER] [--pages N] [--dtypes f32,q8_0,q4_k]`.
//!
//! Pages of each size are drawn from fixed seeds, with words that are held out of the reader's training, layouts that it
//! does not draw and two typefaces that it does not know (PDFium's Helvetica and Times). The program reads each page as a
//! born-digital PDF, as a clean image of the same pixels, and as a noisy one; sizes beyond the model's own limits are left
//! out, since it would see them shrunk. Printed are the shares of characters and words of the Markdown that are wrong,
//! space made equal; of characters printed, without Markdown's marks; the F1 of heading lines; the share of a table's
//! cells that are right: with 95 % intervals, drawn from the pages. Where Tesseract is installed, it reads the same pages.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "quality/pages.rs"]
mod pages;
#[path = "quality/scores.rs"]
mod scores;
#[path = "quality/sheet.rs"]
mod sheet;

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use clap::Parser;
use common::{Ran, Room};
use fastrand::Rng;
use image::{RgbImage, imageops};
use omnidocs::{
    document::{Needs, Source},
    prepare::{self, Raster, resize::PixelBudget},
    qwen_vl::config::pixel_budget,
};
use pages::{Page, between, is_strip, page};
use scores::{Share, differences, with_interval};
use sheet::FACES;

const SIZES: [(u32, u32); 5] = [(160, 32), (256, 64), (320, 128), (448, 224), (640, 448)];
const FORMS: [&str; 3] = ["pdf", "clean", "noisy"];

const TESSERACT: &str = "tesseract";

type Score = fn(&str, &str) -> Share;
const SCORES: [(&str, Score); 5] = [
    ("characters wrong", scores::characters),
    ("words wrong", scores::words),
    ("printed ones wrong", scores::printed),
    ("headings right", scores::headings),
    ("cells right", scores::cells),
];

#[derive(Parser)]
struct Options {
    /// Folder of a model
    #[arg(long, default_value = "examples/reader")]
    model: PathBuf,
    /// Pages of each size; of strips, which hold few words, four times as many
    #[arg(long, default_value_t = 12)]
    pages: usize,
    /// What the model is run in
    #[arg(long, value_delimiter = ',', default_value = "f32,q8_0,q4_k")]
    dtypes: Vec<String>,
    /// Cargo gives this to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// Who reads, and what was read, by file and page.
struct Reading {
    engine: String,
    answers: HashMap<(String, u32), String>,
}

/// The pages of one size.
struct Stack {
    size: (u32, u32),
    pages: Vec<Page>,
}

fn main() {
    let options = Options::parse();
    let model = fs::canonicalize(&options.model).expect("--model is the folder of a model");
    let limit = pixel_budget(&model).expect("the model's limits");
    let room = Room::new();
    let mut stacks = Vec::new();
    for (width, height) in SIZES {
        let (min, max) = (limit.min_pixels, limit.max_pixels);
        if (min..=max).contains(&u64::from(width * height)) {
            stacks.push(draw(&room, (width, height), options.pages));
        } else {
            println!("{width}x{height} is left out: the model takes {min} to {max} pixels");
        }
    }
    assert!(!stacks.is_empty(), "the model takes none of the sizes");
    let mut readings: Vec<Reading> = Vec::new();
    for dtype in &options.dtypes {
        let folder = model.to_str().expect("a path in UTF-8");
        readings.push(read(&room, dtype, &["--dtype", dtype, "--model", folder]));
    }
    let differences = compare(&stacks, &readings);
    if Command::new("tesseract").arg("--version").output().is_ok() {
        readings.push(read(&room, TESSERACT, &["--engine", TESSERACT]));
    }
    print(&stacks, &readings);
    println!("{differences}");
}

/// Pages of one size as a PDF, and clean and noisy images of them, in the room's folder `pages`.
fn draw(room: &Room, size: (u32, u32), pages: usize) -> Stack {
    let (width, height) = size;
    let count = if is_strip(height) { 4 * pages } else { pages };
    let mut rng = Rng::with_seed(u64::from(width * height));
    let pages: Vec<Page> = (0..count).map(|_| page(&mut rng, width, height)).collect();
    let name = |form| file(size, form, 0);
    room.put(&format!("pages/{}", name("pdf")), pdf(&pages));
    let images = render(room.path("pages").join(name("pdf")));
    assert_eq!(images.len(), count);
    for (number, image) in images.into_iter().enumerate() {
        assert_eq!(image.dimensions(), size);
        let put = |form, image: &RgbImage| {
            let path = room.path("pages").join(file(size, form, number));
            image.save(path).expect("an image is written");
        };
        put("clean", &image);
        put("noisy", &noisy(&mut rng, &image));
    }
    Stack { size, pages }
}

/// Name of the file with page `number` (from 0); a PDF has all of them.
fn file((width, height): (u32, u32), form: &str, number: usize) -> String {
    match form {
        "pdf" => format!("{width}x{height}.pdf"),
        _ => format!("{width}x{height}-{form}-{number:03}.png"),
    }
}

fn pdf(pages: &[Page]) -> Vec<u8> {
    let first = 3 + FACES.len();
    let kids = (0..pages.len()).map(|page| format!("{} 0 R ", first + 2 * page));
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {} >>",
            kids.collect::<String>(),
            pages.len()
        ),
    ];
    objects.extend(FACES.iter().map(|face| {
        format!(
            "<< /Type /Font /Subtype /Type1 /BaseFont /{} /Encoding /WinAnsiEncoding >>",
            face.name
        )
    }));
    for page in pages {
        objects.extend(page.sheet.objects(objects.len() + 1));
    }
    common::pdf_of(&objects)
}

/// The pages of a PDF, by the program's own preparation.
fn render(path: PathBuf) -> Vec<RgbImage> {
    let source = Source {
        path,
        size_bytes: None,
        error: None,
    };
    let settings = prepare::Settings {
        raster: Raster {
            dpi: 72.0,
            budget: PixelBudget {
                factor: 32,
                min_pixels: 1 << 10,
                max_pixels: 1 << 20,
            },
        },
        selection: None,
        needs: Needs {
            pixels: true,
            text: false,
        },
        draft: None,
        workers: 1,
        prefetch: 2,
        retries: 0,
        page_timeout: Duration::from_secs(60),
        program: env!("CARGO_BIN_EXE_omnidocs").into(),
    };
    let pages = prepare::pages(vec![source], settings).expect("preparation starts");
    pages
        .map(|page| page.result.expect("a page").pixels.expect("its pixels"))
        .collect()
}

/// A page as a scanner sees it: blurred, on paper that is not white, with ink that is not black, and grainy.
fn noisy(rng: &mut Rng, page: &RgbImage) -> RgbImage {
    let mut page = imageops::blur(page, between(rng, 0.2, 0.7) as f32);
    let (ink, paper) = (between(rng, 0.0, 70.0), between(rng, 225.0, 255.0));
    let grain = between(rng, 4.0, 16.0);
    for pixel in page.pixels_mut() {
        // The sum of twelve even deviates is as good as a normal one.
        let normal = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
        for channel in &mut pixel.0 {
            let value = ink + (paper - ink) * f64::from(*channel) / 255.0 + grain * normal;
            *channel = value.round().clamp(0.0, 255.0) as u8;
        }
    }
    page
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
        (key, record.content.unwrap_or_default())
    });
    Reading {
        engine: engine.to_owned(),
        answers: answers.collect(),
    }
}

fn print(stacks: &[Stack], readings: &[Reading]) {
    let headings = SCORES.map(|(heading, _)| format!("{heading:>21}"));
    println!("\n{:<31}{}", "percent, in brackets 95 %", headings.concat());
    for stack in stacks {
        let ((width, height), count) = (stack.size, stack.pages.len());
        let size = format!("{count}x {width}x{height}");
        for form in FORMS {
            for reading in readings {
                let figures = SCORES.map(|(heading, score)| {
                    // Tesseract writes no Markdown.
                    let shown = reading.engine != TESSERACT || heading.starts_with("printed");
                    let shares = shown.then(|| shares(score, stack, form, reading));
                    format!("{:>21}", percent(&shares.unwrap_or_default()))
                });
                let figures = figures.concat();
                println!("{size:<13} {form:<6} {:<10}{figures}", reading.engine);
            }
        }
    }
}

/// The score of each page.
fn shares(score: Score, stack: &Stack, form: &str, reading: &Reading) -> Vec<Share> {
    let pages = stack.pages.iter().enumerate();
    let shares = pages.map(|(number, page)| {
        let in_file = if form == "pdf" { number as u32 + 1 } else { 1 };
        let answer = &reading.answers[&(file(stack.size, form, number), in_file)];
        score(&page.markdown, answer)
    });
    shares.collect()
}

fn percent(shares: &[Share]) -> String {
    let Some((share, interval)) = with_interval(shares) else {
        return "-".to_owned();
    };
    let [share, low, high] = [share, interval.start, interval.end].map(|share| 100.0 * share);
    format!("{share:.1} ({low:.1}–{high:.1})")
}

/// How many more characters are wrong than in the first reading, on the same pages.
fn compare(stacks: &[Stack], readings: &[Reading]) -> String {
    let of_all = |reading: &Reading| -> Vec<Share> {
        let kinds = stacks
            .iter()
            .flat_map(|stack| FORMS.map(|form| (stack, form)));
        kinds
            .flat_map(|(stack, form)| shares(scores::characters, stack, form, reading))
            .collect()
    };
    let lines = readings.iter().skip(1).filter_map(|reading| {
        let pairs = differences(&of_all(&readings[0]), &of_all(reading));
        let (more, interval) = with_interval(&pairs)?;
        let [more, low, high] = [more, interval.start, interval.end].map(|share| 100.0 * share);
        Some(format!(
            "\n{} has {more:+.2} points ({low:+.2} to {high:+.2}) more characters wrong than {}",
            reading.engine, readings[0].engine
        ))
    });
    lines.collect()
}
