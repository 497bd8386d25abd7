//! The text layer beside `pdftotext`: how many of its words are read, and how many of its pairs of neighbours stay
//! neighbours.
//!
//!     cargo bench --bench text_layer -- FOLDER
//!
//! Needs `pdftotext` and `pdfinfo` (package `poppler-utils`). Words outside of a page's crop box are left out on both sides.

#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    collections::{BTreeMap, HashMap},
    env,
    hash::Hash,
    path::Path,
    process::Command,
};

use common::{Ran, Room};

/// Pages of a document that are compared.
const MAX_PAGES: u32 = 12;
const MIN_RECALL: f64 = 0.99;

/// What is found again of what there is.
#[derive(Default)]
struct Found {
    of: usize,
    again: usize,
}

impl Found {
    fn add<T: Hash + Eq>(&mut self, reference: &[T], read: &[T]) {
        let mut left: HashMap<&T, usize> = HashMap::new();
        for item in read {
            *left.entry(item).or_default() += 1;
        }
        self.of += reference.len();
        for item in reference {
            if let Some(left) = left.get_mut(item).filter(|left| **left > 0) {
                *left -= 1;
                self.again += 1;
            }
        }
    }

    fn share(&self) -> f64 {
        self.again as f64 / self.of.max(1) as f64
    }
}

fn main() {
    // Cargo adds an argument of its own.
    let folder = env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let Some(folder) = folder else {
        println!(
            "text layer: skipped; name a folder with PDFs: cargo bench --bench text_layer -- FOLDER"
        );
        return;
    };
    if Command::new("pdftotext").arg("-v").output().is_err() {
        println!("text layer: skipped; there is no pdftotext");
        return;
    }
    let room = Room::new();
    let mut command = room.text_layer(&format!("--pages 1-{MAX_PAGES}"));
    let folder = Path::new(&folder).canonicalize().expect("a folder");
    let ran = Ran::of(command.arg(&folder));
    let (mut words, mut pairs) = (Found::default(), Found::default());
    let mut documents: BTreeMap<String, (Found, Found)> = BTreeMap::new();
    for record in ran.records().iter().filter(|record| record.page > 0) {
        let Some(reference) = pdftotext(&record.path, record.page) else {
            continue;
        };
        let reference = split(&reference);
        let read = split(record.content.as_deref().unwrap_or_default());
        let document = documents.entry(record.filename.clone()).or_default();
        for (all, of) in [(&mut words, &mut pairs), (&mut document.0, &mut document.1)] {
            all.add(&reference, &read);
            of.add(&neighbours(&reference), &neighbours(&read));
        }
    }
    for (name, (words, pairs)) in &documents {
        println!(
            "{:.4} words, {:.4} pairs  {name}",
            words.share(),
            pairs.share()
        );
    }
    println!(
        "text layer: {:.4} of {} words of pdftotext (at least {MIN_RECALL}), {:.4} of its pairs of neighbours",
        words.share(),
        words.of,
        pairs.share()
    );
    assert!(words.share() >= MIN_RECALL, "words are missing");
}

/// What pdftotext reads within the crop box.
fn pdftotext(path: &str, page: u32) -> Option<String> {
    let number = page.to_string();
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-f", &number, "-l", &number]).args(args);
        let output = command
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let info = run("pdfinfo", &[path])?;
    let value = |name: &str| {
        let line = info
            .lines()
            .find(|line| line.starts_with("Page ") && line.contains(name))?;
        Some(line.split_once(name)?.1.to_owned())
    };
    let size = value("size:")?;
    let sides: Vec<f64> = size
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let (&width, &height) = (sides.first()?, sides.get(1)?);
    let turned = value("rot:").is_some_and(|turn| matches!(turn.trim(), "90" | "270"));
    let (width, height) = if turned {
        (height, width)
    } else {
        (width, height)
    };
    let (width, height) = (format!("{width:.0}"), format!("{height:.0}"));
    let area = [
        "-cropbox", "-x", "0", "-y", "0", "-W", &width, "-H", &height,
    ];
    run(
        "pdftotext",
        &[&area[..], &["-enc", "UTF-8", path, "-"]].concat(),
    )
}

/// Words of letters and digits; ligatures are written out.
fn split(text: &str) -> Vec<String> {
    let ligatures = [
        ("ﬀ", "ff"),
        ("ﬁ", "fi"),
        ("ﬂ", "fl"),
        ("ﬃ", "ffi"),
        ("ﬄ", "ffl"),
    ];
    let text = ligatures
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let words = text.split(|c: char| !c.is_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn neighbours(words: &[String]) -> Vec<(&String, &String)> {
    words.iter().zip(words.iter().skip(1)).collect()
}
