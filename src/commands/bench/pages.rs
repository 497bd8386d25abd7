//! Pages to measure with: a PDF of print, as office programs write it, with a heading, paragraphs and a table on each page.

use std::fmt::Write;

use crate::commands::made_pdf;

/// Words of the text.
const WORDS: [&str; 40] = [
    "the", "report", "of", "this", "year", "shows", "that", "costs", "for", "paper", "and", "post",
    "have", "grown", "by", "less", "than", "we", "expected", "while", "orders", "from", "other",
    "cities", "came", "in", "late", "because", "roads", "were", "closed", "after", "heavy", "rain",
    "until", "early", "summer", "when", "work", "resumed",
];
/// Paragraphs of a page.
const PARAGRAPHS: usize = 5;
/// Words of a paragraph.
const PARAGRAPH: usize = 60;
/// Characters of a line.
const COLUMNS: usize = 84;
/// Rows of a page's table.
const ROWS: usize = 6;

/// A PDF of so many A4 pages, no two of them alike.
pub(super) fn pdf(pages: usize) -> Vec<u8> {
    let kids: Vec<_> = (0..pages)
        .map(|page| format!("{} 0 R", 5 + 2 * page))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {pages} >>",
            kids.join(" ")
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold >>".to_owned(),
    ];
    for page in 0..pages {
        let drawn = draw(page);
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] \
             /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> /Contents {} 0 R >>",
            6 + 2 * page
        ));
        objects.push(format!(
            "<< /Length {} >>\nstream\n{drawn}\nendstream",
            drawn.len()
        ));
    }
    made_pdf::of(&objects)
}

/// The content of a page.
fn draw(page: usize) -> String {
    let mut random = Random(page as u64 + 1);
    let number = page + 1;
    let mut drawn = format!("BT /F2 18 Tf 64 770 Td (Report {number}) Tj ET\n");
    drawn += "BT /F1 11 Tf 14 TL 64 740 Td\n";
    for _ in 0..PARAGRAPHS {
        let mut line = String::new();
        for _ in 0..PARAGRAPH {
            let word = WORDS[random.below(WORDS.len())];
            if line.len() + word.len() >= COLUMNS {
                let _ = writeln!(drawn, "({line}) Tj T*");
                line.clear();
            }
            line += word;
            line.push(' ');
        }
        let _ = writeln!(drawn, "({}.) Tj T* T*", line.trim_end());
    }
    drawn += "ET\n";
    for row in 0..ROWS {
        let top = 200 - 18 * row;
        let what = ["Item", "paper", "post", "rent", "travel", "wages"][row % ROWS];
        let sum = match row {
            0 => "Sum".to_owned(),
            _ => format!("{}.{:02}", random.below(9000), random.below(100)),
        };
        let _ = writeln!(
            drawn,
            "64 {} 300 18 re S BT /F1 11 Tf 70 {top} Td ({what}) Tj 150 0 Td ({sum}) Tj ET",
            top - 5
        );
    }
    drawn
}

/// Numbers that are the same on every machine (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
