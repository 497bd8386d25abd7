//! Pages of words that the reader never met: what is printed on them, and the Markdown for it.

use fastrand::Rng;

use crate::{faces::Face, sheet::Sheet};

/// A page, and what a perfect reader makes of it.
pub struct Page {
    pub sheet: Sheet,
    pub markdown: String,
    /// Size of its print, in points; headings are larger.
    pub print: f64,
}

/// A sheet, the type that it is set in, and how far down it is written.
struct Writer<'a> {
    rng: &'a mut Rng,
    sheet: Sheet,
    faces: &'a [Face],
    /// The regular face; the bold one comes after it.
    face: usize,
    size: f64,
    pitch: f64,
    left: f64,
    right: f64,
    y: f64,
}

/// Whether a page of this height holds a line for each 32 points of it, and nothing else.
pub fn is_strip(height: u32) -> bool {
    height <= 64
}

/// A page of `width` × `height` points in one of the faces, which are regular and bold by turns.
pub fn page(rng: &mut Rng, faces: &[Face], (width, height): (u32, u32)) -> Page {
    let strip = is_strip(height);
    let size = between(rng, 15.0, if strip { 21.0 } else { 28.0 });
    let mut writer = Writer {
        face: 2 * rng.usize(..faces.len() / 2),
        faces,
        size,
        pitch: size * between(rng, 1.2, 1.45),
        left: between(rng, 5.0, 16.0),
        right: f64::from(width) - between(rng, 5.0, 16.0),
        y: between(rng, 0.0, if strip { 3.0 } else { 12.0 }),
        sheet: Sheet::new(width, height),
        rng,
    };
    let blocks = if strip {
        writer.pitch = 30.0;
        vec![writer.paragraph(height / 32)]
    } else {
        writer.blocks()
    };
    Page {
        sheet: writer.sheet,
        markdown: blocks.join("\n\n"),
        print: size,
    }
}

impl Writer<'_> {
    /// A heading and pieces of all kinds below it, until the page is full.
    fn blocks(&mut self) -> Vec<String> {
        let mut blocks = vec![self.heading(1)];
        loop {
            self.y += self.size * 0.6;
            if self.room() < 2 {
                return blocks;
            }
            blocks.push(match self.rng.u8(..6) {
                0 if self.room() > 3 => self.heading(2),
                1 => self.bullets(),
                2 => self.receipt(),
                3 | 4 if self.room() > 3 => self.table(),
                _ => {
                    let lines = self.rng.u32(1..5);
                    self.paragraph(lines)
                }
            });
        }
    }

    /// How many lines fit below.
    fn room(&self) -> usize {
        let rest = self.sheet.height - self.y - self.size * 1.25;
        if rest < 0.0 {
            return 0;
        }
        (rest / self.pitch) as usize + 1
    }

    fn heading(&mut self, level: usize) -> String {
        let size = self.size * if level == 1 { 1.45 } else { 1.2 };
        let (bold, room) = (self.face + 1, self.right - self.left);
        let part = between(self.rng, 0.4, 1.0);
        let line = self.words(bold, size, room * part);
        let base = self.y + size;
        self.sheet.write(bold, size, self.left, base, &line);
        self.y += size * 1.3;
        format!("{} {line}", "#".repeat(level))
    }

    fn paragraph(&mut self, lines: u32) -> String {
        let lines = (0..(lines as usize).min(self.room())).map(|_| {
            let line = self.words(self.face, self.size, self.right - self.left);
            self.line(self.left, &line);
            self.y += self.pitch;
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn bullets(&mut self) -> String {
        let count = self.rng.usize(2..5).min(self.room());
        let (indent, start) = (self.left + self.size * 0.5, self.left + self.size * 1.6);
        let items = (0..count).map(|_| {
            let part = between(self.rng, 0.4, 1.0);
            let item = self.words(self.face, self.size, (self.right - start) * part);
            self.line(indent, "•");
            self.line(start, &item);
            self.y += self.pitch;
            format!("- {item}")
        });
        items.collect::<Vec<_>>().join("\n")
    }

    /// A name at the left and a price at the right of each line.
    fn receipt(&mut self) -> String {
        let count = self.rng.usize(2..5).min(self.room());
        let lines = (0..count).map(|_| {
            let price = price(self.rng);
            let start = self.right - self.faces[self.face].measure(self.size, &price);
            let name = self.words(self.face, self.size, (start - self.left) * 0.7);
            self.line(self.left, &name);
            self.line(start, &price);
            self.y += self.pitch;
            format!("{name} {price}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Heads in bold type, a name in the first column, figures at the right of the others, and a rule below each row.
    fn table(&mut self) -> String {
        let columns = if self.right - self.left > 330.0 {
            self.rng.usize(2..4)
        } else {
            2
        };
        let wide = (self.right - self.left) / columns as f64;
        let (pitch, pad) = (self.size * 1.5, self.size * 0.4);
        let fit = ((self.sheet.height - self.y - 2.0) / pitch) as usize;
        let mut lines = Vec::new();
        for row in 0..self.rng.usize(3..6).min(fit) {
            let face = self.face + usize::from(row == 0);
            let cells = (0..columns).map(|column| {
                let mut cell = match (row, column) {
                    (0, _) | (_, 0) => self.word(),
                    _ => number(self.rng),
                };
                while self.faces[face].measure(self.size, &cell) > wide - 2.0 * pad {
                    cell = number(self.rng);
                }
                let from = self.left + wide * column as f64;
                let x = match column {
                    0 => from + pad,
                    _ => from + wide - pad - self.faces[face].measure(self.size, &cell),
                };
                self.sheet
                    .write(face, self.size, x, self.y + self.size * 1.1, &cell);
                cell
            });
            lines.push(format!("| {} |", cells.collect::<Vec<_>>().join(" | ")));
            if row == 0 {
                lines.push(format!("|{}", " --- |".repeat(columns)));
            }
            self.y += pitch;
            self.sheet.rule((self.left, self.y), (self.right, self.y));
        }
        lines.join("\n")
    }

    fn line(&mut self, x: f64, text: &str) {
        let (face, size) = (self.face, self.size);
        self.sheet.write(face, size, x, self.y + size, text);
    }

    /// Words that fill a line of `room` points, or a little less.
    fn words(&mut self, face: usize, size: f64, room: f64) -> String {
        let mut line = self.token();
        if self.faces[face].measure(size, &line) > room {
            line = self.rng.u32(10..100).to_string();
        }
        loop {
            let longer = format!("{line} {}", self.token());
            if self.faces[face].measure(size, &longer) > room {
                return line;
            }
            line = longer;
        }
    }

    /// A word, a number or a price as it stands in a line, one in six with a mark after it.
    fn token(&mut self) -> String {
        let mut token = match self.rng.u8(..20) {
            0 => price(self.rng),
            1 | 2 => number(self.rng),
            _ => self.word(),
        };
        if self.rng.u8(..6) == 0 {
            token.push_str(
                self.rng
                    .choice([",", ",", ".", ".", ":", ";", "!", "?"])
                    .expect("marks"),
            );
        }
        token
    }

    fn word(&mut self) -> String {
        let words = include_str!("words.txt").split_whitespace();
        let word = self.rng.choice(words.collect::<Vec<_>>()).expect("words");
        match self.rng.u8(..20) {
            0..3 => format!("{}{}", word[..1].to_uppercase(), &word[1..]),
            3 => word.to_uppercase(),
            _ => word.to_owned(),
        }
    }
}

fn number(rng: &mut Rng) -> String {
    match rng.u8(..6) {
        0 => format!("{}%", rng.u32(..101)),
        1 => format!("{}:{:02}", rng.u32(1..13), rng.u32(..60)),
        2 => format!(
            "{}-{:02}-{:02}",
            rng.u32(1900..2100),
            rng.u32(1..13),
            rng.u32(1..29)
        ),
        3 => format!("{},{:03}", rng.u32(1..1000), rng.u32(..1000)),
        4 => format!("{}.{}", rng.u32(..100), rng.u32(..100)),
        _ => rng.u32(1..100_000).to_string(),
    }
}

fn price(rng: &mut Rng) -> String {
    let currency = rng.choice(["$", "$", "", "€", "£"]).expect("currencies");
    let below = rng.choice([10, 100, 1000]).expect("limits");
    format!("{currency}{}.{:02}", rng.u32(..below), rng.u32(..100))
}

pub fn between(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.f64()
}
