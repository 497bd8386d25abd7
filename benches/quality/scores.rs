//! How far an answer is from the Markdown of a page, and how sure that is.

use std::ops::Range;

use fastrand::Rng;

/// A part of a whole: characters that are wrong, or cells that are right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    pub part: f64,
    pub whole: f64,
}

impl Share {
    fn new(part: usize, whole: usize) -> Self {
        Self {
            part: part as f64,
            whole: whole as f64,
        }
    }
}

/// Edits from `truth` to `answer`, of the characters of `truth`.
pub fn characters(truth: &str, answer: &str) -> Share {
    let (truth, answer) = (plain_blanks(truth), plain_blanks(answer));
    Share::new(strsim::levenshtein(&truth, &answer), truth.chars().count())
}

/// Edits from `truth` to `answer`, of the words of `truth`; marks of Markdown are words.
pub fn words(truth: &str, answer: &str) -> Share {
    let (truth, answer) = (plain_blanks(truth), plain_blanks(answer));
    let words = |text: &'_ str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (truth, answer) = (words(&truth), words(&answer));
    Share::new(strsim::generic_levenshtein(&truth, &answer), truth.len())
}

/// As [`characters`], but of what is printed alone, for engines that know no Markdown.
pub fn printed(truth: &str, answer: &str) -> Share {
    characters(&without_marks(truth), &without_marks(answer))
}

/// Heading lines in common: their F1, which is twice their number, of the headings of both sides.
pub fn headings(truth: &str, answer: &str) -> Share {
    let (truth, mut found) = (heading_lines(truth), heading_lines(answer));
    let whole = truth.len() + found.len();
    let mut hits = 0;
    for line in &truth {
        if let Some(index) = found.iter().position(|other| other == line) {
            found.swap_remove(index);
            hits += 1;
        }
    }
    Share::new(2 * hits, whole)
}

/// Cells that hold the right text at the right place of the right table: their F1, as of headings.
pub fn cells(truth: &str, answer: &str) -> Share {
    let (truth, answer) = (places(truth), places(answer));
    let hits = truth.iter().filter(|cell| answer.contains(cell)).count();
    Share::new(2 * hits, truth.len() + answer.len())
}

/// The share of all pages together, and the interval that holds it in 95 % of the samples that are drawn from the pages
/// with replacement; none where there is nothing to be counted.
pub fn with_interval(pages: &[Share]) -> Option<(f64, Range<f64>)> {
    const SAMPLES: usize = 2_000;
    let ratio = |shares: &mut dyn Iterator<Item = Share>| {
        let sum = shares.fold(Share::new(0, 0), |sum, share| Share {
            part: sum.part + share.part,
            whole: sum.whole + share.whole,
        });
        (sum.whole > 0.0).then_some(sum.part / sum.whole)
    };
    let whole = ratio(&mut pages.iter().copied())?;
    let mut rng = Rng::with_seed(95);
    let mut drawn: Vec<f64> = (0..SAMPLES)
        .filter_map(|_| ratio(&mut (0..pages.len()).map(|_| pages[rng.usize(..pages.len())])))
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[(share * (drawn.len() - 1) as f64).round() as usize];
    Some((whole, at(0.025)..at(0.975)))
}

/// How much more of the same pages is wrong in `others` than in `pages`.
pub fn differences(pages: &[Share], others: &[Share]) -> Vec<Share> {
    let pairs = pages.iter().zip(others);
    pairs
        .map(|(page, other)| Share {
            part: other.part - page.part,
            whole: page.whole,
        })
        .collect()
}

/// One blank for all space between two words, and the shortest rule below a table's head.
fn plain_blanks(markdown: &str) -> String {
    let words = markdown.lines().flat_map(|line| {
        let rule = is_rule(line).then(|| vec!["|---|"]);
        rule.unwrap_or_else(|| line.split_whitespace().collect())
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a line stands between a table's head and the rest.
fn is_rule(line: &str) -> bool {
    line.contains("--") && line.contains('|') && line.chars().all(|c| "|-: \t".contains(c))
}

/// Markdown's marks for headings, items and cells, and a printed bullet, are left out.
fn without_marks(markdown: &str) -> String {
    let lines = markdown.lines().filter(|line| !is_rule(line));
    let lines = lines.map(|line| {
        let line = line.replace('|', " ");
        let line = line.trim();
        match line.split_once(' ') {
            Some((first, rest)) if is_mark(first) => rest.to_owned(),
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_mark(word: &str) -> bool {
    matches!(word, "-" | "*" | "•") || word.chars().all(|c| c == '#')
}

fn heading_lines(markdown: &str) -> Vec<String> {
    let lines = markdown.lines().map(plain_blanks);
    lines
        .filter(|line| line.trim_start_matches('#').starts_with(' ') && line.starts_with('#'))
        .collect()
}

/// The rows of cells of each table.
fn tables(markdown: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables = Vec::new();
    let mut within = false;
    for line in markdown.lines().map(str::trim) {
        let Some(row) = line.strip_prefix('|') else {
            within = false;
            continue;
        };
        if !within {
            tables.push(Vec::new());
            within = true;
        }
        if !is_rule(line) {
            let row = row.strip_suffix('|').unwrap_or(row);
            let table: &mut Vec<_> = tables.last_mut().expect("a table was begun");
            table.push(row.split('|').map(plain_blanks).collect());
        }
    }
    tables
}

/// Each cell, with the numbers of its table, row and column.
fn places(markdown: &str) -> Vec<([usize; 3], String)> {
    let mut cells = Vec::new();
    for (table, rows) in tables(markdown).into_iter().enumerate() {
        for (row, texts) in rows.into_iter().enumerate() {
            let texts = texts.into_iter().enumerate();
            cells.extend(texts.map(|(column, text)| ([table, row, column], text)));
        }
    }
    cells
}

/// How well numbers tell pages with errors from those without: the share of pairs of one of each in which the page with errors
/// has the lower number, ties counted half (the area under the ROC curve); none if all pages are alike.
pub fn separation(pages: &[(f64, bool)]) -> Option<f64> {
    let numbers = |wrong| {
        let of_kind = pages.iter().filter(move |(_, is_wrong)| *is_wrong == wrong);
        of_kind.map(|&(number, _)| number)
    };
    let (mut pairs, mut told) = (0.0, 0.0);
    for with_errors in numbers(true) {
        for without in numbers(false) {
            pairs += 1.0;
            told += match with_errors.total_cmp(&without) {
                std::cmp::Ordering::Less => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Greater => 0.0,
            };
        }
    }
    (pairs > 0.0).then(|| told / pairs)
}
