//! A sheet of paper that is written on from the top down, as the content of a PDF page.

use std::fmt::Write;

/// A face that every reader of PDF has.
pub struct Face {
    pub name: &'static str,
    /// Of the characters from blank to tilde, in thousandths of the size.
    widths: [u16; 95],
}

/// Regular and bold by turns; the widths are those of Adobe's metrics.
pub const FACES: [Face; 4] = [
    Face {
        name: "Helvetica",
        widths: [
            278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556,
            556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667,
            667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722,
            667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500,
            556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278,
            556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
        ],
    },
    Face {
        name: "Helvetica-Bold",
        widths: [
            278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556,
            556, 556, 556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722,
            722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833, 722, 778, 667, 778, 722,
            667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, 333, 556, 611, 556,
            611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556, 333,
            611, 556, 778, 556, 556, 500, 389, 280, 389, 584,
        ],
    },
    Face {
        name: "Times-Roman",
        widths: [
            250, 333, 408, 500, 500, 833, 778, 180, 333, 333, 500, 564, 250, 333, 250, 278, 500,
            500, 500, 500, 500, 500, 500, 500, 500, 500, 278, 278, 564, 564, 564, 444, 921, 722,
            667, 667, 722, 611, 556, 722, 722, 333, 389, 722, 611, 889, 722, 722, 556, 722, 667,
            556, 611, 722, 722, 944, 722, 722, 611, 333, 278, 333, 469, 500, 333, 444, 500, 444,
            500, 444, 333, 500, 500, 278, 278, 500, 278, 778, 500, 500, 500, 500, 333, 389, 278,
            500, 500, 722, 500, 500, 444, 480, 200, 480, 541,
        ],
    },
    Face {
        name: "Times-Bold",
        widths: [
            250, 333, 555, 500, 500, 1000, 833, 278, 333, 333, 500, 570, 250, 333, 250, 278, 500,
            500, 500, 500, 500, 500, 500, 500, 500, 500, 333, 333, 570, 570, 570, 500, 930, 722,
            667, 722, 722, 667, 611, 778, 778, 389, 500, 778, 667, 944, 722, 778, 611, 778, 722,
            556, 667, 722, 722, 1000, 722, 722, 667, 333, 278, 333, 581, 500, 333, 500, 556, 444,
            556, 444, 333, 500, 556, 278, 333, 556, 278, 833, 556, 500, 556, 556, 444, 389, 333,
            556, 500, 722, 500, 500, 444, 394, 220, 394, 520,
        ],
    },
];

/// Sizes count in points, from the sheet's left upper corner; a pixel is one point.
pub struct Sheet {
    pub width: f64,
    pub height: f64,
    /// Operators of a PDF's content.
    pub content: String,
}

impl Sheet {
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            width: width.into(),
            height: height.into(),
            content: String::new(),
        }
    }

    /// Writes from `x` on, on a line at `y`.
    pub fn write(&mut self, face: usize, size: f64, x: f64, y: f64, text: &str) {
        let y = self.height - y;
        let text: String = text.chars().map(escaped).collect();
        let shown = format!("BT /F{face} {size:.2} Tf {x:.2} {y:.2} Td ({text}) Tj ET\n");
        self.content += &shown;
    }

    pub fn rule(&mut self, from: (f64, f64), to: (f64, f64)) {
        let (top, bottom) = (self.height - from.1, self.height - to.1);
        let (left, right) = (from.0, to.0);
        writeln!(
            self.content,
            "{left:.2} {top:.2} m {right:.2} {bottom:.2} l S"
        )
        .expect("a string takes all");
    }

    /// The page as PDF objects, the first of which is to have the number `number`; `/F0` to `/F3` are the objects 3 to 6.
    pub fn objects(&self, number: usize) -> [String; 2] {
        let Self {
            width,
            height,
            content,
        } = self;
        let page = format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Resources << /Font << /F0 3 0 R /F1 4 0 R \
             /F2 5 0 R /F3 6 0 R >> >> /Contents {} 0 R >>",
            number + 1
        );
        let stream = format!(
            "<< /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        );
        [page, stream]
    }
}

/// How wide `text` is when it is printed.
pub fn measure(face: usize, size: f64, text: &str) -> f64 {
    let widths = text.chars().map(|c| {
        let index = (c as usize).wrapping_sub(' ' as usize);
        // Both currencies beyond ASCII are as wide as a digit.
        FACES[face]
            .widths
            .get(index)
            .copied()
            .unwrap_or(FACES[face].widths[16])
    });
    widths.map(f64::from).sum::<f64>() * size / 1000.0
}

/// A character within a PDF's string, in `WinAnsiEncoding`.
fn escaped(character: char) -> String {
    match character {
        '(' | ')' | '\\' => format!("\\{character}"),
        '•' => r"\225".to_owned(),
        '€' => r"\200".to_owned(),
        '£' => r"\243".to_owned(),
        _ => character.to_string(),
    }
}
